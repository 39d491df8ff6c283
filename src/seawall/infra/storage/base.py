"""The storage interface.

A stored blob is named by an opaque key that the domain chooses (`StorageKey`: lower-case hex, dashes and
dots, at most 200 characters) and never overwritten: a key is written once and later deleted. That is what
makes garbage collection safe without a read-only window, since a blob pushed again gets a new key.

Upload sessions: `open_upload` gives a writer positioned at `offset`; bytes are appended, then either the
session is paused (`pause`, its state kept for any instance to go on) or `commit`ted under a key. When
`commit` returns, the bytes are durable (on the filesystem: file and directory fsynced). After the metadata
are committed too, `finish` clears up; `release` lets go of the session without recording anything.
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol


@dataclass(frozen=True, slots=True)
class Location:
    """Where a reader finds a blob's bytes: exactly one of a local `path` and a `url` that needs no login.

    Both None: the backend can only stream (use `BlobStorage.stream`).
    """

    path: Path | None = None
    url: str | None = None


@dataclass(frozen=True, slots=True)
class StoredObject:
    """One listed object: key, size in bytes, modification time (Unix seconds)."""

    key: str
    size: int
    modified: float


class UploadWriter(Protocol):
    """Appends to one upload session. Not safe for concurrent use."""

    @property
    def offset(self) -> int:
        """Bytes the session holds."""

    async def write(self, data: bytes | bytearray | memoryview) -> None:
        """Append `data`, hashing it on the way."""

    @property
    def surplus(self) -> bool:
        """Whether the session has bytes past the offset that it was opened at; the first write drops them."""

    async def pause(self, *, held: bool = False) -> dict[str, Any]:
        """Close the writer; returns the JSON-able state that `open_upload` needs to go on elsewhere.

        `held`: a backend that locks sessions keeps others out until `leave`.
        """

    async def leave(self) -> None:
        """Let others write to a session that was paused with `held`."""

    async def digest(self, algorithm: str) -> str:
        """Hex digest of all bytes so far, from the running hash or else by reading them again."""

    async def commit(self, key: str) -> str:
        """Make the bytes durable and end the session; returns the key they have.

        That is `key`, unless the backend stores them under another one already and spares the copy.
        """

    async def finish(self) -> None:
        """The metadata name the committed key: remove what the session no longer needs."""

    async def abort(self) -> None:
        """Drop the session's bytes. Only for the caller that ended its record, or where there is none."""

    async def release(self) -> None:
        """Let go of the session as it was before this writer; what it wrote may be lost."""


class BlobStorage(Protocol):
    """What the domain may ask of a storage backend."""

    @property
    def locks_sessions(self) -> bool:
        """Whether the backend itself refuses a second writer to a session, on any instance."""

    async def begin_upload(self, upload_id: str) -> bool:
        """Make a session that is there without a record of it; False where the backend keeps none by itself.

        Its state is `{"begun": 0}` until a writer has paused.
        """

    async def upload_size(self, upload_id: str) -> int | None:
        """Bytes of a session that the backend keeps by itself; None when it is not there, or ended."""

    async def open_upload(
        self, upload_id: str, offset: int, state: dict[str, Any], *, last: bool = False
    ) -> UploadWriter:
        """Open session `upload_id` at `offset`; its first write drops what a broken request left past it.

        `last`: the request ends the session, so a few bytes may be written with the commit. Another writer is
        noticed only then.

        Raises UploadBusyError while another request holds the session, UploadLostError when its bytes
        are gone.
        """

    async def drop_upload(self, upload_id: str, state: dict[str, Any]) -> None:
        """Forget a session and its bytes; unknown ones are ignored."""

    async def drop_resting(self, before: float) -> int:
        """Forget the sessions that the backend keeps by itself and nobody has written to since `before`.

        `before` is in Unix seconds. Returns how many there were.
        """

    async def drop_broken(self, before: float) -> int:
        """Give back what writes that began before that time (Unix seconds) and never ended left unseen.

        Returns how many there were; 0 where nothing is left unseen, or the store needs another setting.
        """

    async def put(self, key: str, data: bytes) -> None:
        """Store `data` durably under `key` in one go."""

    async def size(self, key: str) -> int | None:
        """Size in bytes, or None when the key is absent."""

    def locate(self, key: str) -> Location:
        """Where the bytes can be reached without Python in between."""

    def stream(self, key: str, start: int, end: int) -> AsyncIterator[bytes]:
        """Bytes `start` to `end` (exclusive). Raises FileNotFoundError."""

    async def delete(self, key: str) -> None:
        """Delete; an absent key is not an error."""

    async def delete_all(self, keys: Sequence[str]) -> None:
        """`delete` of several; an object store is asked once for many of them."""

    def list(self, prefix: str = "") -> AsyncIterator[StoredObject]:
        """Every stored blob, in no order; only those whose key starts with `prefix` (2 characters at least).

        Bytes of upload sessions may be among them, dated into the future as long as a session may need them.
        """

    def list_tree(self) -> AsyncIterator[StoredObject]:
        """Every blob of a Distribution's tree below the same root, in no order (see `storage.tree`)."""

    async def check(self) -> None:
        """Readiness probe: raises OSError when the backend cannot be read now.

        Raises WritesRefusedError (StorageFullError) when it can be read and takes no writes.
        """


class UploadBusyError(Exception):
    """Another request is writing to the upload session."""


class UploadLostError(Exception):
    """The session's bytes are missing or shorter than the recorded offset."""
