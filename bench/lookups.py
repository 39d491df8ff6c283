"""What do look-ups cost on PostgreSQL? `python -m bench.lookups` prints a table.

Compares the look-up of a blob (repository, link, size, key) and of a manifest by tag as each request asks for
itself, as those that wait ask together (`infra.db.gather`), and the blob from memory (an unsafe cache,
never invalidated: the upper bound of what any cache could gain), called as the transport calls them.
Processor time is that of this process and of PostgreSQL. See docs/decisions/0003-no-cache-on-postgresql.md.
"""

from __future__ import annotations

import asyncio
import hashlib
import json
import os
import shutil
import tempfile
import time
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Any

from tests.support.servers.postgres import Postgres

from seawall.infra.db import migrate, open_database
from seawall.infra.storage import FilesystemStorage
from seawall.process import tables
from seawall.registry import blobs, found
from seawall.registry.hooks import Hooks
from seawall.registry.local import LocalRegistry

# Migrations want every table declared.
assert tables
COUNT = 3000
_CLIENTS = (1, 16, 64)
_OCI = "application/vnd.oci.image.manifest.v1+json"
_TICKS = os.sysconf("SC_CLK_TCK")


def postgres_seconds(root: Path) -> float:
    """Processor time of the PostgreSQL whose data are below `root` (seconds)."""
    (file,) = root.rglob("postmaster.pid")
    postmaster = int(file.read_text().split()[0])
    total = 0.0
    for entry in Path("/proc").iterdir():
        if entry.name.isdigit():
            try:
                words = (entry / "stat").read_text().rpartition(")")[2].split()
            except OSError:
                continue
            if postmaster in (int(entry.name), int(words[1])):
                total += (int(words[11]) + int(words[12])) / _TICKS
    return total


async def _measure(url: str, root: Path) -> None:
    db: Any = open_database(url, pool_size=10)
    content = LocalRegistry(db, FilesystemStorage(root), create_projects=True, hooks=Hooks())
    data = os.urandom(1000)
    digest = "sha256:" + hashlib.sha256(data).hexdigest()
    writer = await content.storage.open_upload("00000000-0000-0000-0000-000000000000", 0, {})
    await writer.write(data)
    await content.uploads.finish(None, writer, "bench/app", digest)
    descriptor = {"mediaType": "application/octet-stream", "digest": digest, "size": len(data)}
    notes = {"note": "x" * 1500}
    manifest = {"schemaVersion": 2, "mediaType": _OCI, "config": descriptor, "layers": [descriptor]}
    payload = json.dumps({**manifest, "annotations": notes}).encode()
    await content.put_manifest("bench/app", "latest", payload, _OCI)

    def blob_alone(c: Any) -> Any:
        return blobs.find_blob(c, "bench/app", digest)

    def tag_alone(c: Any) -> Any:
        return found.find_manifest(c, "bench/app", "latest", ())

    async def memory() -> Any:
        db.change_token = lambda: 1
        try:
            return await content.blobs.get("bench/app", digest)
        finally:
            del db.change_token

    kinds: list[tuple[str, Callable[[], Awaitable[Any]]]] = [
        ("blob, each alone", lambda: db.point(blob_alone)),
        ("blob, together", lambda: content.blobs.get("bench/app", digest)),
        ("blob, from memory", memory),
        ("manifest by tag, each alone", lambda: db.point(tag_alone)),
        ("manifest by tag, together", lambda: content.manifest("bench/app", "latest")),
    ]
    print("| look-up | callers | own processor time, ms | PostgreSQL's, ms | ms each |")
    print("|---|--:|--:|--:|--:|")
    for name, ask in kinds:
        for clients in _CLIENTS:

            async def client(count: int, ask: Callable[[], Awaitable[Any]] = ask) -> None:
                for _ in range(count):
                    await ask()

            await client(50)
            wall, cpu, there = time.perf_counter(), time.process_time(), postgres_seconds(root.parent)
            await asyncio.gather(*(client(COUNT // clients) for _ in range(clients)))
            wall, cpu = time.perf_counter() - wall, time.process_time() - cpu
            there = postgres_seconds(root.parent) - there
            done = COUNT // clients * clients
            print(
                f"| {name} | {clients} | {cpu / done * 1000:.3f} | {there / done * 1000:.3f} "
                f"| {wall / done * clients * 1000:.2f} |"
            )
    await db.close()


def main() -> None:
    """Start a PostgreSQL, measure, stop it."""
    root = Path(tempfile.mkdtemp(prefix="seawall-bench-"))
    root.chmod(0o755)
    (root / "pg").mkdir()
    server = Postgres(root / "pg")
    server.start()
    try:
        url = server.database()
        migrate.upgrade(url)
        asyncio.run(_measure(url, root / "blobs"))
    finally:
        server.stop()
        shutil.rmtree(root, ignore_errors=True)


if __name__ == "__main__":
    main()
