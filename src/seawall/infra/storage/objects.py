"""Blobs in an object store (S3, Google Cloud Storage, Azure), through obstore.

Layout below the configured prefix: `blobs/<2 hex>/<key>` for blobs and `uploads/<session>/<part>` for what a
session has received: one object for each request that brought bytes, written while they arrive (as a
multipart upload once they are more than one part). Nothing is ever appended to or overwritten, so any
instance can go on with a session, and two that try to at once cannot mix their bytes: each writes objects of
its own, and only the one whose state the database accepts counts.

`commit` makes no copy in the usual case, where one request brought all bytes: that object *is* the blob from
then on, under a key that says where it is (`upload.<session>.<part>`). A blob below one part's size goes to
`blobs/` in a single PUT. Only a session of several requests is read and written once more, into one object.

The sweep for orphans (garbage collection) sees the parts of running sessions among the blobs. A session is
therefore refused after `SESSION_SECONDS`, and `list` dates its parts that much later than they are: a part
is swept only when no session can need it any more.
"""

from __future__ import annotations

import asyncio
import os
import re
import socket
import time
from collections import OrderedDict
from collections.abc import AsyncIterator, Iterable, Sequence
from datetime import timedelta
from typing import TYPE_CHECKING, Any

from seawall.infra.storage.base import Location, StoredObject, UploadLostError
from seawall.infra.storage.multipart import S3Multipart
from seawall.infra.storage.object_faults import faults, reason
from seawall.infra.storage.object_upload import ObjectWriter
from seawall.infra.storage.rooms import PlainTree, Room, Tree
from seawall.infra.storage.spool import Memory
from seawall.infra.storage.tree import TREE, key_at, tree_path
from seawall.kernel.extras import optional

if TYPE_CHECKING:
    import obstore
    from obstore import Attributes, exceptions
else:
    obstore = optional("obstore")
    exceptions = optional("obstore.exceptions")

MIB = 1024 * 1024
SESSION_SECONDS = 7 * 86400.0
_SESSION_MARGIN = 86400.0  # for clocks that differ
_KEY = re.compile(r"upload\.(?P<session>[0-9a-f-]{1,64})\.(?P<part>[0-9a-f]{16})")
_READ = 4 * MIB
_READ_AHEAD = 4
_CHECK_SECONDS = 4.0


class ObjectStorage:
    """Storage in one bucket; see the module text for layout and guarantees."""

    locks_sessions = False

    def __init__(
        self,
        store: Any,
        *,
        prefix: str = "",
        redirect: bool = False,
        signer: Any = None,
        redirect_seconds: int = 1200,
        part_bytes: int = 10 * MIB,
        parallel: int = 3,
        upload_memory: int = 128 * MIB,
        multipart: S3Multipart | None = None,
        attributes: Attributes | None = None,
        tree: Tree | None = None,
    ) -> None:
        """`store`: an obstore store. `redirect`: readers are sent to presigned URLs.

        `signer`: the same bucket at the address that clients use, when it is another. `part_bytes` and
        `parallel`: size of a multipart upload's parts, and how many are sent at a time. `upload_memory`:
        bytes of unfinished uploads that are kept in memory (see `spool`). `attributes`: what the store is
        given with each new object, for instance its storage class. `tree`: where a Distribution's tree is
        when it is not simply below the prefix.
        """
        self.store = store
        self.part_bytes = part_bytes
        self.parallel = parallel
        self.memory = Memory(upload_memory)
        self._multipart = multipart
        self.attributes: Attributes = attributes or {}
        self._prefix = f"{prefix.strip('/')}/" if prefix.strip("/") else ""
        self._redirect = redirect
        self._room = Room(store, signer or store, self._prefix)
        self._tree = tree or PlainTree(self._room)
        self._expires = timedelta(seconds=redirect_seconds)
        # Running hashes of paused sessions: the next request often comes to the same process.
        self.hashes: OrderedDict[tuple[str, str], Any] = OrderedDict()
        self._probe = (
            f"{self._prefix}probes/{re.sub('[^A-Za-z0-9-]', '-', socket.gethostname())}-{os.getpid()}"
        )

    async def begin_upload(self, upload_id: str) -> bool:
        """See BlobStorage.begin_upload: what is written of an object is seen by nobody before its end."""
        del upload_id
        return False

    async def upload_size(self, upload_id: str) -> int | None:
        """See BlobStorage.upload_size."""
        del upload_id
        return None

    async def open_upload(
        self, upload_id: str, offset: int, state: dict[str, Any], *, last: bool = False
    ) -> ObjectWriter:
        """See BlobStorage.open_upload."""
        del last
        if offset and time.time() - float(state.get("since", 0)) > SESSION_SECONDS - _SESSION_MARGIN:
            raise UploadLostError("the session is too old")
        if sum(size for _, size in state.get("parts", [])) != offset:
            raise UploadLostError("its record is incomplete")
        return ObjectWriter(self, upload_id, offset, state)

    async def drop_upload(self, upload_id: str, state: dict[str, Any]) -> None:
        """See BlobStorage.drop_upload."""
        del state  # also what broken requests left is removed
        names = []
        with faults():
            async for batch in obstore.list(self.store, prefix=f"{self._prefix}uploads/{upload_id}/"):
                names += [item["path"] for item in batch]
        await self.remove(names)

    async def drop_resting(self, before: float) -> int:
        """See BlobStorage.drop_resting."""
        del before
        return 0

    async def drop_broken(self, before: float) -> int:
        """See BlobStorage.drop_broken: multipart uploads that a killed instance left."""
        if self._multipart is None:
            return 0
        return await self._multipart.abort_older(self._prefix, before)

    async def put(self, key: str, data: bytes | bytearray) -> None:
        """See BlobStorage.put."""
        room, path = await self._place(key)
        with faults():
            await obstore.put_async(room.store, path, data, use_multipart=False, attributes=self.attributes)

    async def size(self, key: str) -> int | None:
        """See BlobStorage.size."""
        room, path = await self._place(key)
        try:
            with faults():
                return int((await obstore.head_async(room.store, path))["size"])
        except FileNotFoundError:
            return None

    def locate(self, key: str) -> Location:
        """See BlobStorage.locate."""
        adopted = tree_path(key)
        room = self._room if adopted is None else self._tree.known()
        if not self._redirect or room is None:
            return Location()
        path = self.path(key) if adopted is None else room.prefix + adopted
        with faults():
            return Location(url=obstore.sign(room.signer, "GET", path, self._expires))

    async def stream(self, key: str, start: int, end: int) -> AsyncIterator[bytes]:
        """See BlobStorage.stream.

        Ranges are fetched ahead of the reader, more of them while it has to wait for the store, fewer while
        it is the slower one: many slow readers then hold little memory.
        """
        room, path = await self._place(key)
        ahead: list[asyncio.Future[Any]] = []
        # One at first: an absent object costs one request, not several.
        wanted = 1
        try:
            while start < end or ahead:
                while start < end and len(ahead) < wanted:
                    until = min(start + _READ, end)
                    ahead.append(
                        asyncio.ensure_future(
                            obstore.get_range_async(room.store, path, start=start, end=until)
                        )
                    )
                    start = until
                following = ahead.pop(0)
                wanted = max(wanted - 1, 1) if following.done() else min(wanted + 1, _READ_AHEAD)
                with faults():
                    data = bytes(await following)
                if not data:
                    raise OSError(f"blob {key} is shorter than its record says")
                yield data
        finally:
            for future in ahead:
                future.cancel()

    async def delete(self, key: str) -> None:
        """See BlobStorage.delete."""
        room, path = await self._place(key)
        await room.remove([path])

    async def delete_all(self, keys: Sequence[str]) -> None:
        """See BlobStorage.delete_all."""
        adopted = [item for item in map(tree_path, keys) if item is not None]
        if adopted:
            room = await self._tree.find()
            await room.remove_all([room.prefix + item for item in adopted])
        await self._room.remove_all([self.path(key) for key in keys if tree_path(key) is None])

    async def list(self, prefix: str = "") -> AsyncIterator[StoredObject]:
        """See BlobStorage.list."""
        for room, later in (("blobs", 0.0), ("uploads", SESSION_SECONDS)):
            # Object stores list whole folders in one way; a part of a name is looked at here.
            shard = f"{prefix[:2]}/" if prefix and room == "blobs" else ""
            with faults():
                async for batch in obstore.list(self.store, prefix=f"{self._prefix}{room}/{shard}"):
                    for item in batch:
                        name = item["path"].removeprefix(f"{self._prefix}{room}/")
                        parent, _, last = name.rpartition("/")
                        key = last if room == "blobs" else f"upload.{parent}.{last}"
                        if key.startswith(prefix):
                            yield StoredObject(key, item["size"], item["last_modified"].timestamp() + later)

    async def list_tree(self) -> AsyncIterator[StoredObject]:
        """See BlobStorage.list_tree."""
        room = await self._tree.find()
        root = f"{room.prefix}{TREE}/"
        async for item in room.items(f"{TREE}/"):
            key = key_at(item["path"].removeprefix(root))
            if key is not None:
                yield StoredObject(key, item["size"], item["last_modified"].timestamp())

    async def check(self) -> None:
        """See BlobStorage.check."""
        try:
            async with asyncio.timeout(_CHECK_SECONDS):
                await obstore.put_async(self.store, self._probe, b"x", use_multipart=False)
                await obstore.delete_async(self.store, self._probe)
        except TimeoutError:
            raise OSError(5, "storage does not answer") from None
        except exceptions.BaseError as error:
            await self._check_reading(error)

    async def _check_reading(self, refused: exceptions.BaseError) -> None:
        """A write was refused. Raises WritesRefusedError when reading works all the same, else OSError."""
        try:
            async with asyncio.timeout(_CHECK_SECONDS):
                async for _ in obstore.list(self.store, prefix=f"{self._prefix}blobs/", chunk_size=1):
                    break
        except (TimeoutError, exceptions.BaseError):
            raise OSError(5, reason(refused)) from refused
        with faults():
            raise refused

    def path(self, key: str) -> str:
        """The name of an object that Seawall wrote; keys come from the domain, never from a client."""
        part = _KEY.fullmatch(key)
        if part is not None:
            return f"{self._prefix}uploads/{part['session']}/{part['part']}"
        return f"{self._prefix}blobs/{key[:2]}/{key}"

    async def _place(self, key: str) -> tuple[Room, str]:
        adopted = tree_path(key)
        if adopted is None:
            return self._room, self.path(key)
        room = await self._tree.find()
        return room, room.prefix + adopted

    async def remove(self, paths: Iterable[str]) -> None:
        """Delete objects; absent ones are ignored."""
        await self._room.remove(paths)
