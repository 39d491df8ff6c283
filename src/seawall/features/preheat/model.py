"""What the parts of preheating hand to each other: instances, policies with their checks, executions."""

from __future__ import annotations

import json
import re
import time
from dataclasses import dataclass, field
from typing import Any

from seawall.features.preheat.drivers import SCOPES
from seawall.kernel import globs
from seawall.kernel.cron import next_time
from seawall.kernel.errors import InvalidError

TRIGGERS = ("manual", "scheduled", "event_based")
FILTERS = {"repository": str, "tag": str, "label": str, "signature": bool, "vulnerability": int}
_NAME = re.compile(r"[A-Za-z0-9]+(?:[._-][A-Za-z0-9]+)*")


@dataclass(frozen=True, slots=True)
class InstanceRow:
    """An instance as it may be shown: without its credentials."""

    id: int
    name: str
    description: str
    vendor: str
    endpoint: str
    auth_mode: str
    enabled: bool
    is_default: bool
    insecure: bool
    created_at: float


@dataclass(slots=True)
class InstanceValues:
    """What an instance is made of or changed to; None keeps what it was."""

    name: str | None = None
    description: str | None = None
    vendor: str | None = None
    endpoint: str | None = None
    auth_mode: str | None = None
    auth_info: dict[str, str] | None = None
    enabled: bool | None = None
    is_default: bool | None = None
    insecure: bool | None = None


@dataclass(slots=True)
class PreheatPolicy:
    """Which artifacts of a project go to which network, and when."""

    name: str
    provider_id: int
    description: str = ""
    filters: list[dict[str, Any]] = field(default_factory=list)
    trigger: str = "manual"
    cron: str = ""
    enabled: bool = True
    extra: dict[str, Any] = field(default_factory=dict)
    project_id: int = 0
    id: int = 0
    provider_name: str = ""
    created_at: float = 0
    updated_at: float = 0

    def check(self) -> None:
        """Raise InvalidError with what is wrong."""
        check_name(self.name)
        if self.trigger not in TRIGGERS:
            raise InvalidError(f"trigger.type must be one of {', '.join(TRIGGERS)}")
        if self.trigger == "scheduled":
            next_time(self.cron, time.time())
        seen = set()
        for item in self.filters:
            kind, value = item.get("type"), item.get("value")
            wanted = FILTERS.get(kind) if isinstance(kind, str) else None
            if wanted is None:
                raise InvalidError(f"a filter's type must be one of {', '.join(FILTERS)}")
            # bool is an int to Python
            if not isinstance(value, wanted) or (wanted is int and isinstance(value, bool)):
                raise InvalidError(f"the value of filter {kind} must be of type {wanted.__name__}")
            if kind in seen:
                raise InvalidError(f"filter {kind} is given twice")
            if kind in ("repository", "tag"):
                globs.check(str(value))
            seen.add(kind)
        scope, clusters = self.extra.get("scope"), self.extra.get("cluster_ids")
        if scope and scope not in SCOPES:
            raise InvalidError(f"extra_attrs.scope must be one of {', '.join(SCOPES)}")
        if clusters is not None and not (
            isinstance(clusters, list) and all(isinstance(n, int) and n >= 0 for n in clusters)
        ):
            raise InvalidError("extra_attrs.cluster_ids must be a list of numbers")


@dataclass(frozen=True, slots=True)
class PreheatExecution:
    """One run of a policy: Running, Success, Error or Stopped. Times are Unix seconds."""

    id: int
    policy_id: int
    status: str
    message: str
    trigger: str
    started_at: float
    ended_at: float | None
    counts: dict[str, int]


def check_name(name: str) -> None:
    """Raise InvalidError unless instances and policies may have the name."""
    if len(name) > 255 or not _NAME.fullmatch(name):
        raise InvalidError("a name has letters, digits and single . _ - between them")


def parse_json(text: str | None, what: str, kind: type) -> Any:
    """The value that a policy's field holds as JSON text; empty for none. Raises InvalidError."""
    if not text:
        return kind()
    try:
        value = json.loads(text)
    except (ValueError, RecursionError):
        raise InvalidError(f"{what} is not valid JSON") from None
    if value is None:
        return kind()
    if not isinstance(value, kind):
        raise InvalidError(f"{what} must be a JSON {'list' if kind is list else 'object'}")
    return value
