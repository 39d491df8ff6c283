"""Blob bytes: a small interface, and the backends behind it."""

from seawall.infra.storage.base import BlobStorage, Location, UploadWriter
from seawall.infra.storage.filesystem import FilesystemStorage
from seawall.infra.storage.objects import ObjectStorage

__all__ = ["BlobStorage", "FilesystemStorage", "Location", "ObjectStorage", "UploadWriter"]
