"""The part of a room that takes part in what happens to content."""

from __future__ import annotations

from dataclasses import dataclass

from seawall.infra.part import Part
from seawall.registry.hooks import ContentHook


@dataclass(frozen=True, slots=True, kw_only=True)
class ContentPart(Part):
    """A `Part` with hooks, which run in the order of the parts."""

    hooks: tuple[ContentHook, ...] = ()
