"""Whether the files and folders that settings name are there, and may be used by this user.

Nothing is made or changed. What a start makes by itself (the data directory, the folder of blobs) may be
missing when it could be made.
"""

from __future__ import annotations

import os
import stat
from collections.abc import Callable, Iterator
from pathlib import Path
from urllib.parse import parse_qs

from sqlalchemy.engine import make_url

from seawall.infra.roots import read_bundle
from seawall.infra.secrets.master import load_master_key, read_master_key
from seawall.infra.settings import Settings
from seawall.install.certificates import CertificateError, check_pair
from seawall.kernel.errors import ConfigError

# What the setting names, and how it is looked at: a file to read, a folder to write, either of them to read.
_FILES = (
    "keys.private_key_file",
    "keys.root_crt_file",
    "keys.csrf_key_file",
    "keys.secret_key_file",
    "database.sslrootcert",
    "database.sslcert",
    "database.sslkey",
    "storage.s3.cacert",
    "storage.gcs.keyfile",
    "redis.tls_ca_file",
    "redis.tls_certificate",
    "redis.tls_key",
    "dr.ca_file",
)
_OF_LIBPQ = ("sslrootcert", "sslcert", "sslkey")


def path_faults(settings: Settings) -> list[str]:
    """A line for each setting whose file or folder would not do: the setting, the path, what is wrong."""
    return [fault for fault in _faults(settings) if fault]


def _faults(settings: Settings) -> Iterator[str]:
    if keeps_in_data_dir(settings):
        yield _folder("data_dir", settings.data_dir)
    source = "master_key" if settings.master_key_file is None else "master_key_file"
    yield _own(source, lambda: _master(settings))
    other = settings.other_master_key_file
    if other is not None:
        yield _own("other_master_key_file", lambda: read_master_key(other))
    if settings.ca_download is not None:
        yield _readable("ca_download", settings.ca_download, folders=True)
    bundle = settings.ca_bundle
    if bundle is not None:
        yield _own("ca_bundle", lambda: read_bundle(bundle))
    for name in _FILES:
        path = _value(settings, name)
        if path is not None:
            yield _readable(name, path)
    yield from _database(settings)
    certificate, key = settings.http.tls_certificate, settings.http.tls_key
    if certificate is not None and key is not None:
        yield _pair(certificate, key)
    if settings.storage.driver == "filesystem" and settings.storage.root is not None:
        yield _folder("storage.root", settings.storage_root)
    if settings.storage.cache.root is not None:
        yield _folder("storage.cache.root", settings.storage.cache.root)


def keeps_in_data_dir(settings: Settings) -> bool:
    """Whether anything is kept in the data directory: the database, blobs, or a master key that is made."""
    master = settings.master_key is not None or settings.master_key_file is not None
    blobs = settings.storage.driver == "filesystem" and settings.storage.root is None
    return not settings.database.url or blobs or not master


def _value(settings: Settings, name: str) -> Path | None:
    here: object = settings
    for part in name.split("."):
        here = getattr(here, part)
    return here if isinstance(here, Path) else None


def _master(settings: Settings) -> None:
    given = settings.master_key is not None or settings.master_key_file is not None
    # Without any a start makes one.
    if not given and not (settings.data_dir / "master.key").exists():
        return
    load_master_key(settings, create=False)


def _own(name: str, look: Callable[[], object]) -> str:
    """The line of a reader that checks what is in the file too."""
    try:
        look()
    except ConfigError as error:
        return str(error) if str(error).startswith(name) else f"{name}: {error}"
    except OSError as error:
        return f"{name}: {error.filename}: {error.strerror}"
    return ""


def _database(settings: Settings) -> Iterator[str]:
    url = settings.database.url or ""
    if url.startswith("sqlite"):
        place = Path(make_url(url).database or "").absolute()
        if place.is_dir():
            yield f"database.url: {place}: is a folder; name a file"
        elif not place.exists():
            yield _folder("database.url", place.parent, made=False)
        return
    given = parse_qs(url.partition("?")[2])
    for name in _OF_LIBPQ:
        # `system` stands for the authorities of the host.
        for value in given.get(name, []):
            if value != "system":
                yield _readable(f"database.url: {name}", Path(value))


def _pair(certificate: Path, key: Path) -> str:
    try:
        check_pair(certificate, key)
    except CertificateError as error:
        return f"http.tls_{error.part.removeprefix('private_')}: {error}"
    return ""


def _readable(name: str, path: Path, *, folders: bool = False) -> str:
    """Why a file, or with `folders` a folder, cannot be read."""
    place = path.absolute()
    try:
        mode = place.stat().st_mode
        if stat.S_ISDIR(mode):
            if not folders:
                return f"{name}: {place}: is a folder; name a file"
            os.listdir(place)
        else:
            # Not blocking: a named pipe would wait for its writer.
            os.close(os.open(place, os.O_RDONLY | os.O_NONBLOCK | os.O_CLOEXEC))
    except OSError as error:
        cure = "; run this as the user who runs Seawall" if isinstance(error, PermissionError) else ""
        return f"{name}: {place}: {error.strerror}{cure}"
    return ""


def _folder(name: str, path: Path, *, made: bool = True) -> str:
    """Why nothing can be kept in a folder. `made`: a start makes it when it is missing."""
    place = path.absolute()
    there = place
    try:
        while not there.exists() and there != there.parent:
            there = there.parent
    except OSError as error:
        return f"{name}: {place}: {error.strerror}; run this as the user who runs Seawall"
    if not there.is_dir():
        return f"{name}: {place}: {'is a file' if there == place else f'{there} is a file'}; name a folder"
    if there != place and not made:
        return f"{name}: {place}: No such folder; make it first"
    if not os.access(there, os.W_OK | os.X_OK):
        what = "cannot be written" if there == place else f"cannot be made: {there} cannot be written"
        return f"{name}: {place}: {what} by this user"
    return ""
