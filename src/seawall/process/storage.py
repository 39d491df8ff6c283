"""The blob storage that the settings choose: apart from the wiring, which a command need not import."""

from __future__ import annotations

from seawall.infra.settings import Settings
from seawall.infra.storage import BlobStorage, FilesystemStorage
from seawall.infra.storage.blob_cache import BlobCache, NoCache
from seawall.infra.storage.cache import DiskCache
from seawall.infra.storage.connect import open_objects


def open_cache(settings: Settings) -> BlobCache:
    """The local cache of what an object store has. Raises ConfigError where its root cannot be a folder."""
    cache = settings.storage.cache
    return DiskCache(cache.root.absolute(), cache.bytes) if cache.root else NoCache()


def open_storage(settings: Settings) -> BlobStorage:
    """The storage backend that the settings choose."""
    if settings.storage.driver == "filesystem":
        return FilesystemStorage(settings.storage_root)
    return open_objects(settings.storage)
