"""What other instances with storage of their own have, and this one does not have yet."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Protocol


class Elsewhere(Protocol):
    """Other instances, with storage of their own, that may have content before this one does."""

    async def announced(self, repositories: Sequence[str]) -> bool:
        """Bring what they have announced about the repositories; whether there was any."""

    async def catch_up(self) -> bool:
        """Take what they have new; whether each of them could be asked."""

    async def ready_repository(self, repository: str) -> None:
        """Bring what they have announced about one repository: its tags, manifests, and labels on these."""

    async def ready_tags(self, repository: str, tags: Sequence[str]) -> Mapping[str, str]:
        """Bring those of the tags that they have announced; digests of those that did not come in time."""


class Nowhere:
    """An installation without peers."""

    async def announced(self, repositories: Sequence[str]) -> bool:
        """See Elsewhere.announced."""
        return False

    async def catch_up(self) -> bool:
        """See Elsewhere.catch_up."""
        return True

    async def ready_repository(self, repository: str) -> None:
        """See Elsewhere.ready_repository."""

    async def ready_tags(self, repository: str, tags: Sequence[str]) -> Mapping[str, str]:
        """See Elsewhere.ready_tags."""
        return {}
