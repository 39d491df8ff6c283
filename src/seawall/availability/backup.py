"""Backup and restore, consistent while the registry runs.

A backup is a directory: `blobs/<2 hex>/<algorithm>-<hex>` (content-addressed, so a later backup into the same
directory copies only what is new), `metadata-<time>/<table>.jsonl` and, written last, `backup.json`, which
names that folder. A directory without `backup.json` is not a backup. Until a later one has written its own,
the directory is the earlier one, whole.

Consistency: blobs are copied first, then the metadata snapshot is taken, then the blobs that this snapshot
names and the first pass did not have. Whatever the snapshot names is therefore copied already or still
stored: bytes that garbage collection lets go of stay for the readers' grace, and the second pass has only
what was pushed during the first.

Keys stay encrypted in the metadata: to restore, the master key is needed too, and it is not in the backup.
"""

from __future__ import annotations

import contextlib
import fcntl
import hashlib
import json
import os
import re
import shutil
import time
from collections.abc import AsyncIterator, Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from sqlalchemy import Connection, select

from seawall import __version__
from seawall.infra.db import dump, migrate
from seawall.infra.private import open_private, private_folder, sync_folder, write_whole
from seawall.infra.storage import BlobStorage
from seawall.kernel import progress
from seawall.kernel.errors import ConfigError
from seawall.registry.tables import blobs

FORMAT = 1
_CHUNK = 1024 * 1024


@dataclass(slots=True)
class BackupReport:
    """What was done: blobs copied and found there already, bytes copied, rows."""

    copied: int = 0
    kept: int = 0
    bytes: int = 0
    rows: int = 0


async def backup(url: str, storage: BlobStorage, directory: Path) -> BackupReport:
    """Back up the database at `url` and its blobs to `directory`. Raises ConfigError for a damaged blob.

    What the directory holds already stays a whole backup until the new one is complete.
    """
    report = BackupReport()
    # Password hashes and private blobs are in it.
    private_folder(directory)
    with _alone(directory):
        await _backup(url, storage, directory, report)
    return report


async def _backup(url: str, storage: BlobStorage, directory: Path, report: BackupReport) -> None:
    last = ""
    with contextlib.suppress(ConfigError):
        last = _read(directory)["metadata"]
    _remove_rows(directory, but=last)
    with dump.snapshot(url) as connection:
        first = _blobs(connection)
    # Not all of these need be there any more when their turn comes; the second pass decides.
    await _copy(storage, first, directory, report, lenient=True)
    # A folder of its own: until backup.json names it, the last backup is whole.
    folder = f"metadata-{time.time_ns()}"
    with dump.snapshot(url) as connection:
        revision = migrate.current(connection)
        listed = dump.write_tables(connection, directory / folder)
        sync_folder(directory / folder)
        named = _blobs(connection)
    await _copy(storage, named, directory, report, lenient=False)
    report.rows = sum(item["rows"] for item in listed.values())
    content = {
        "format": FORMAT,
        "seawall": __version__,
        "revision": revision,
        "created_at": time.time(),
        "metadata": folder,
        "tables": listed,
        "blobs": len(named),
    }
    write_whole(directory / "backup.json", json.dumps(content, indent=2).encode())
    _remove_rows(directory, but=folder)
    wanted = {blob_file(directory, digest) for digest, _, _ in named}
    for path in (directory / "blobs").glob("*/*"):
        if path not in wanted:
            path.unlink()


@contextlib.contextmanager
def _alone(directory: Path) -> Iterator[None]:
    """Raises ConfigError while another backup writes into the directory, where its file system can tell."""
    with open_private(directory / ".lock", "ab") as lock:
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            raise ConfigError(f"another backup is writing into {directory}; wait for it") from None
        except OSError:
            pass
        yield


def _remove_rows(directory: Path, but: str) -> None:
    """Remove the rows of earlier and of interrupted backups."""
    for path in directory.glob("metadata*"):
        if path.name != but:
            shutil.rmtree(path, ignore_errors=True)


async def verify(directory: Path) -> AsyncIterator[str]:
    """Read the whole backup; yields a line for each fault. Raises ConfigError when it is not a backup."""
    content = _read(directory)
    metadata = directory / content["metadata"]
    for name, item in content["tables"].items():
        path = metadata / f"{name}.jsonl"
        if not path.exists():
            yield f"{path.name}: missing"
        elif _hash(path, "sha256") != item["sha256"]:
            yield f"{path.name}: damaged"
    for number, row in enumerate(dump.read_rows(metadata, "blobs"), 1):
        progress.step("blobs of the backup checked", number, content["blobs"])
        path = blob_file(directory, row["digest"])
        algorithm, _, value = row["digest"].partition(":")
        if not path.exists():
            yield f"{row['digest']}: missing"
        elif _hash(path, algorithm) != value:
            yield f"{row['digest']}: damaged"


async def restore(url: str, open_storage: Callable[[], BlobStorage], directory: Path) -> int:
    """Restore into an empty database and storage; returns the number of blobs.

    Blobs go first and the rows in one transaction last, so an interrupted restore leaves an empty database.
    Raises ConfigError when the backup is damaged or the database is not empty; nothing is made then, also
    not the folders of the storage.
    """
    content = _read(directory)
    async for fault in verify(directory):
        raise ConfigError(f"backup {directory}: {fault}")
    if content["revision"] not in migrate.revisions():
        raise ConfigError(
            f"backup {directory} was made by a newer Seawall ({content['seawall']}); restore it with that one"
        )
    dump.check_empty(url)
    storage = open_storage()
    count, moved = 0, {}
    metadata = directory / content["metadata"]
    for row in dump.read_rows(metadata, "blobs"):
        if await storage.size(row["storage_key"]) != row["size"]:
            moved[row["storage_key"]] = await _put(
                storage, row["storage_key"], blob_file(directory, row["digest"])
            )
        count += 1
        progress.step("blobs restored", count, content["blobs"])
    dump.load_tables(url, metadata, content["revision"], moved)
    return count


def blob_file(directory: Path, digest: str) -> Path:
    """Where a backup keeps a blob."""
    algorithm, _, value = digest.partition(":")
    return directory / "blobs" / value[:2] / f"{algorithm}-{value}"


def _blobs(connection: Connection) -> list[tuple[str, int, str]]:
    query = select(blobs.c.digest, blobs.c.size, blobs.c.storage_key).order_by(blobs.c.digest)
    return [(row[0], row[1], row[2]) for row in connection.execute(query)]


async def _copy(
    storage: BlobStorage,
    wanted: list[tuple[str, int, str]],
    directory: Path,
    report: BackupReport,
    *,
    lenient: bool,
) -> None:
    for number, (digest, size, key) in enumerate(wanted, 1):
        progress.step("blobs" if lenient else "blobs, second pass", number, len(wanted))
        target = blob_file(directory, digest)
        if target.exists() and target.stat().st_size == size:
            report.kept += 1
            continue
        try:
            await _fetch(storage, digest, size, key, target)
        except (OSError, ConfigError) as error:
            if lenient:
                continue
            raise ConfigError(f"blob {digest} cannot be backed up: {error}") from None
        report.copied += 1
        report.bytes += size


async def _fetch(storage: BlobStorage, digest: str, size: int, key: str, target: Path) -> None:
    algorithm, _, value = digest.partition(":")
    target.parent.mkdir(parents=True, exist_ok=True)
    temporary = target.with_name(f".{target.name}")
    running = hashlib.new(algorithm)
    with open_private(temporary, "wb") as file:
        if size:
            async for part in storage.stream(key, 0, size):
                running.update(part)
                file.write(part)
        file.flush()
        os.fsync(file.fileno())
    if running.hexdigest() != value:
        temporary.unlink()
        raise ConfigError("stored bytes do not have the digest; run seawall fsck")
    temporary.rename(target)
    sync_folder(target.parent)


async def _put(storage: BlobStorage, key: str, path: Path) -> str:
    """Store a file; returns the key it has (object storage may choose another)."""
    writer = await storage.open_upload(f"restore-{key[:24]}", 0, {})
    try:
        with path.open("rb") as file:
            while data := file.read(_CHUNK):
                await writer.write(data)
        stored = await writer.commit(key)
    except BaseException:
        await writer.abort()
        raise
    await writer.finish()
    return stored


def _read(directory: Path) -> dict[str, Any]:
    try:
        content: dict[str, Any] = json.loads((directory / "backup.json").read_text())
    except FileNotFoundError:
        raise ConfigError(f"{directory} is not a complete backup: it has no backup.json") from None
    except ValueError:
        raise ConfigError(f"{directory}/backup.json is damaged") from None
    if not isinstance(content, dict):
        raise ConfigError(f"{directory}/backup.json is damaged")
    if content.get("format") != FORMAT:
        raise ConfigError(f"{directory} is a backup of another format; use the Seawall that made it")
    content.setdefault("metadata", "metadata")
    folder = re.fullmatch(r"metadata(-\d+)?", str(content["metadata"]))
    if folder is None or not {"tables", "blobs", "revision", "seawall"} <= content.keys():
        raise ConfigError(f"{directory}/backup.json is damaged")
    return content


def _hash(path: Path, algorithm: str) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, algorithm).hexdigest()
