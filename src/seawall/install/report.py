"""What a preparation did, for the operator."""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path

from seawall.install.marked import Finding
from seawall.install.owner import Owner


@dataclass(slots=True)
class PrepareReport:
    """What `prepare` did: paths by outcome, and what is worth knowing about harbor.yml."""

    written: list[Path] = field(default_factory=list)
    unchanged: list[Path] = field(default_factory=list)
    made_keys: list[Path] = field(default_factory=list)
    kept_keys: list[Path] = field(default_factory=list)
    owner: Owner | None = None
    notes: list[Finding] = field(default_factory=list)
