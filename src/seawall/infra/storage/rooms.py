"""Where the objects of a Distribution's tree are: the client that names them, and their prefix.

The Distribution's driver for Azure up to release 2.8, which Harbor has, begins the name of every blob with a
slash: `/docker/registry/v2/...`. obstore takes a leading slash off each name. It joins address, container and
name, though: with the container in the address, and an empty name in its place, there is a slash before the
name, as in the URL that the Distribution's driver asks for. Lists are asked for with the whole container (a
prefix with a slash cannot be said), and obstore leaves the slash out of the names that come back.
"""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncIterator, Iterable, Sequence
from datetime import timedelta
from typing import TYPE_CHECKING, Any, Protocol

import httpx

from seawall.infra.storage.object_faults import faults
from seawall.infra.storage.tree import TREE
from seawall.kernel.errors import UnavailableError
from seawall.kernel.extras import optional

if TYPE_CHECKING:
    import obstore
    from obstore import ObjectMeta
else:
    obstore = optional("obstore")

# Objects of one request to delete; S3 takes no more.
_DELETE_AT_ONCE = 1000
_SIGNED = timedelta(minutes=5)
_DELETE_SECONDS = 30.0


class Room:
    """Objects of one bucket below a prefix. `signer`: the same bucket at the address that clients use."""

    def __init__(self, store: Any, signer: Any, prefix: str) -> None:
        self.store = store
        self.signer = signer
        self.prefix = prefix

    async def items(self, folder: str) -> AsyncIterator[ObjectMeta]:
        """Every object below `folder`."""
        with faults():
            async for batch in obstore.list(self.store, prefix=self.prefix + folder):
                for item in batch:
                    yield item

    async def remove(self, paths: Iterable[str]) -> None:
        """Delete objects; absent ones are ignored."""
        for path in paths:
            with contextlib.suppress(FileNotFoundError), faults():
                await obstore.delete_async(self.store, path)

    async def remove_all(self, paths: Sequence[str]) -> None:
        """The same in few requests."""
        for start in range(0, len(paths), _DELETE_AT_ONCE):
            part = list(paths[start : start + _DELETE_AT_ONCE])
            try:
                # S3 takes them in one request; the client sends several at once where a store cannot.
                with faults():
                    await obstore.delete_async(self.store, part)
            except (FileNotFoundError, UnavailableError):
                # One that is absent ends it in some stores, and some that speak S3 have no such request.
                await self.remove(part)


class SlashedRoom(Room):
    """Objects of an Azure container whose names begin with a slash; no prefix is before it."""

    def __init__(self, store: Any, signer: Any, whole: Any) -> None:
        """`whole`: the container, as a store that lists it."""
        super().__init__(store, signer, "")
        self._whole = whole

    async def items(self, folder: str) -> AsyncIterator[ObjectMeta]:
        """See Room.items."""
        with faults():
            async for batch in obstore.list(self._whole):
                for item in batch:
                    if item["path"].startswith(folder):
                        yield item

    async def remove(self, paths: Iterable[str]) -> None:
        """See Room.remove. obstore deletes many at once, which the store refuses at such an address."""
        async with httpx.AsyncClient(timeout=_DELETE_SECONDS) as client:
            for path in paths:
                with faults():
                    url = await obstore.sign_async(self.store, "DELETE", path, _SIGNED)
                try:
                    answer = await client.delete(url)
                except httpx.HTTPError as error:
                    raise UnavailableError(f"storage: {type(error).__name__}") from None
                if answer.status_code not in (202, 404):
                    raise UnavailableError(f"storage: a DELETE was answered {answer.status_code}")

    async def remove_all(self, paths: Sequence[str]) -> None:
        """See Room.remove_all."""
        await self.remove(paths)


class Tree(Protocol):
    """The tree of a Distribution in the bucket."""

    async def find(self) -> Room:
        """Where it is."""

    def known(self) -> Room | None:
        """The same without asking the store; None while that is not known."""


class PlainTree:
    """A tree whose place is known from the settings."""

    def __init__(self, room: Room) -> None:
        self._room = room

    async def find(self) -> Room:
        """See Tree.find."""
        return self._room

    def known(self) -> Room:
        """See Tree.known."""
        return self._room


class AzureTree:
    """A tree whose names begin with a slash, unless there is one without.

    The store is asked once: the tree is there before any of its blobs is adopted, and nothing renames it.
    """

    def __init__(self, plain: Room, slashed: SlashedRoom) -> None:
        self._plain = plain
        self._slashed = slashed
        self._found: Room | None = None
        self._lock = asyncio.Lock()

    async def find(self) -> Room:
        """See Tree.find."""
        async with self._lock:
            if self._found is None:
                self._found = self._slashed
                async for _ in self._plain.items(f"{TREE}/"):
                    self._found = self._plain
                    break
            return self._found

    def known(self) -> Room | None:
        """See Tree.known."""
        return self._found
