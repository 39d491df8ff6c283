"""What the management API shows of a manifest, and all that belongs to it."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass, field
from typing import Any

from seawall.kernel.errors import (
    InvalidError,
)
from seawall.registry import index
from seawall.registry.manifest import DOCKER_LIST, OCI_INDEX

INDEXES = frozenset({OCI_INDEX, DOCKER_LIST})


@dataclass(frozen=True, slots=True)
class Artifact:
    """A manifest row with its repository's name; `size` counts everything it names, in bytes."""

    id: int
    repository_id: int
    repository: str
    project_id: int
    digest: str
    manifest_media_type: str
    artifact_type: str | None
    config_media_type: str | None
    stored_kind: str | None
    size: int
    pushed_at: float
    pulled_at: float | None
    annotations: dict[str, str] | None
    attributes: dict[str, Any] | None
    accessory_type: str | None
    accessory_of: str | None

    @property
    def kind(self) -> str:
        """IMAGE, CHART, ..."""
        return self.stored_kind or index.kind_of(
            self.manifest_media_type, self.artifact_type, self.config_media_type, self.annotations
        )

    @property
    def media_type(self) -> str:
        """Harbor's `media_type`: the config's, or the manifest's where there is none."""
        return self.config_media_type or self.manifest_media_type

    @property
    def is_index(self) -> bool:
        """Whether it names other manifests."""
        return self.manifest_media_type in INDEXES


@dataclass(frozen=True, slots=True)
class Tag:
    """A tag of an artifact."""

    repository_id: int
    artifact_id: int
    name: str
    pushed_at: float
    pulled_at: float | None

    @property
    def id(self) -> int:
        """A number as Harbor's clients expect; tags are known by name here, so it is made from that."""
        text = f"{self.repository_id}/{self.name}".encode()
        return int.from_bytes(hashlib.sha256(text).digest()[:6], "big") + 1


@dataclass(frozen=True, slots=True)
class Label:
    """A label; `project_id` None for global ones."""

    id: int
    name: str
    description: str
    color: str
    project_id: int | None
    created_at: float
    updated_at: float


@dataclass(frozen=True, slots=True)
class Reference:
    """A child of an index; `child_id` is 0 when the child is not there any more."""

    parent_id: int
    child_id: int
    child_digest: str
    platform: dict[str, Any] | None
    annotations: dict[str, str] | None
    urls: list[str] | None


@dataclass(slots=True)
class Belongings:
    """What a page of artifacts has, by artifact id."""

    tags: dict[int, list[Tag]] = field(default_factory=dict)
    labels: dict[int, list[Label]] = field(default_factory=dict)
    accessories: dict[int, list[Artifact]] = field(default_factory=dict)
    references: dict[int, list[Reference]] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Cursor:
    """A place in a list by push time, newest first: the last artifact of the page before."""

    pushed_at: float
    id: int
    # Of a filtered list: how many there were when the first page was asked for.
    total: int | None = None

    def __str__(self) -> str:
        counted = "" if self.total is None else f"_{self.total}"
        return f"{self.pushed_at!r}_{self.id}{counted}"

    @classmethod
    def parse(cls, text: str) -> Cursor:
        """Reverse of str. Raises InvalidError."""
        time_text, *numbers = text.split("_")
        try:
            if len(text) > 64 or len(numbers) not in (1, 2):
                raise ValueError
            if not all(n.isascii() and n.isdigit() and int(n) < 2**63 for n in numbers):
                raise ValueError
            return cls(float(time_text), *map(int, numbers))
        except ValueError:
            raise InvalidError("after is not a cursor of this list") from None
