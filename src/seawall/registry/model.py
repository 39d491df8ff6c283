"""What content is made of: repositories, blobs, manifests and upload sessions, as their rows say."""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from seawall.kernel.errors import RegistryError

# Entries of one page of a list, at most.
PAGE_LIMIT = 1000


@dataclass(frozen=True, slots=True)
class Repository:
    """A repository row: ids, full name, and whether its project is public."""

    id: int
    name: str
    project_id: int
    public: bool


@dataclass(frozen=True, slots=True)
class Blob:
    """A blob of a repository: digest, size in bytes, storage key."""

    digest: str
    size: int
    key: str


@dataclass(frozen=True, slots=True)
class StoredManifest:
    """A manifest as it was pushed, byte for byte.

    `guarded`: its project may hold it back (`ContentHook.policies`). False only where the look-up that found
    the manifest has also seen that no policy of the project is on.
    """

    digest: str
    media_type: str
    payload: bytes
    guarded: bool = True


@dataclass(frozen=True, slots=True)
class Upload:
    """An upload session: `offset` bytes received so far; `state` belongs to the storage backend.

    `recorded`: the database has a row of it; storage alone has the others (`BlobStorage.begin_upload`).
    """

    id: str
    repository: Repository
    offset: int
    state: dict[str, Any]
    recorded: bool = True


@dataclass(frozen=True, slots=True)
class OpenBlob:
    """A blob that is to be sent: digest, size in bytes, and the ways to its bytes.

    `data`: all of them. `url`: where a client may fetch them itself. `path`: a file that has them.
    `read(start, end)`: the bytes from `start` up to `end`, which is not included.
    """

    digest: str
    size: int
    read: Callable[[int, int], AsyncIterator[bytes]]
    data: bytes | None = None
    url: str | None = None
    path: Path | None = None


@dataclass(frozen=True, slots=True)
class Chunk:
    """Bytes for an upload session, as they arrive.

    `position`: first and last byte (inclusive) as the client gives them, None when it does not. `length`: how
    many bytes it announces.
    """

    body: AsyncIterator[bytes]
    position: tuple[int, int] | None = None
    length: int | None = None


class UploadPositionError(RegistryError):
    """A chunk is not the next one of its session, which has `offset` bytes."""

    def __init__(self, message: str, offset: int) -> None:
        super().__init__("BLOB_UPLOAD_INVALID", message, status=416)
        self.offset = offset
