"""What immutable tags add to a process."""

from __future__ import annotations

from seawall.features.immutability.rules import ImmutableTags
from seawall.registry.part import ContentPart


def part() -> ContentPart:
    """Refuse pushes and deletions that would change an immutable tag."""
    return ContentPart(hooks=(ImmutableTags(),))
