"""Errors of object stores, as obstore tells them, in Seawall's classes."""

from __future__ import annotations

import contextlib
import re
from collections.abc import Iterator
from typing import TYPE_CHECKING

from seawall.kernel.errors import StorageFullError, UnavailableError, WritesRefusedError
from seawall.kernel.extras import optional

if TYPE_CHECKING:
    from obstore import exceptions
else:
    exceptions = optional("obstore.exceptions")

# How stores say that a quota is used up or that they are full: Ceph, MinIO, OpenStack Swift, RFC 4918.
_FULL = re.compile(
    r"QuotaExceeded|StorageFull|InsufficientStorage|InsufficientCapacity|EntityTooLargeQuota|\b507\b"
    r"|Upload exceeds quota|AccountOverQuota",
    re.IGNORECASE,
)


@contextlib.contextmanager
def faults() -> Iterator[None]:
    """An object store that fails is an UnavailableError; an absent object stays FileNotFoundError."""
    try:
        yield
    except exceptions.BaseError as error:
        why = reason(error)
        if _FULL.search(str(error)):
            raise StorageFullError(f"storage is full: {why}") from error
        if isinstance(error, exceptions.PermissionDeniedError):
            raise WritesRefusedError(f"storage takes no writes: {why}") from error
        raise UnavailableError(f"storage: {why}") from error


def reason(error: exceptions.BaseError) -> str:
    """The first line of obstore's text; the rest is for its developers."""
    return str(error).strip().splitlines()[0][:300]
