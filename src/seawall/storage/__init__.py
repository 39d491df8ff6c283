"""Blob bytes: a small interface, and the backends behind it."""

from seawall.storage.base import BlobStorage, Location, UploadWriter
from seawall.storage.filesystem import FilesystemStorage
from seawall.storage.objects import ObjectStorage

__all__ = ["BlobStorage", "FilesystemStorage", "Location", "ObjectStorage", "UploadWriter"]
