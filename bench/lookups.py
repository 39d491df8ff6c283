"""What would a cache of look-ups save on PostgreSQL? `python -m bench.lookups` prints a table.

Compares the look-up of a blob (repository, link, size, key) as it is, one query of the primary, with the same
from memory (an unsafe cache, never invalidated: the upper bound of what any cache could gain), called as the
transport calls it. See docs/decisions/0003-no-cache-on-postgresql.md.
"""

from __future__ import annotations

import asyncio
import hashlib
import os
import shutil
import tempfile
import time
from pathlib import Path
from typing import Any

from tests.support.servers.postgres import Postgres

from seawall.infra.db import migrate, open_database
from seawall.infra.storage import FilesystemStorage
from seawall.registry.hooks import Hooks
from seawall.registry.local import LocalRegistry

COUNT = 3000


async def _measure(url: str, root: Path) -> None:
    db: Any = open_database(url, pool_size=10)
    content = LocalRegistry(db, FilesystemStorage(root), create_projects=True, hooks=Hooks())
    data = os.urandom(1000)
    digest = "sha256:" + hashlib.sha256(data).hexdigest()
    writer = await content.storage.open_upload("00000000-0000-0000-0000-000000000000", 0, {})
    await writer.write(data)
    await content.uploads.finish(None, writer, "bench/app", digest)
    for name, token in (("query", None), ("memory", 1)):
        db.change_token = lambda token=token: token
        for clients in (1, 16):

            async def client(count: int) -> None:
                for _ in range(count):
                    await content.blobs.get("bench/app", digest)

            await client(50)
            wall, cpu = time.perf_counter(), time.process_time()
            await asyncio.gather(*(client(COUNT // clients) for _ in range(clients)))
            wall, cpu = time.perf_counter() - wall, time.process_time() - cpu
            done = COUNT // clients * clients
            print(
                f"{name:7} {clients:3} at once: {done / wall:9.0f} a second, "
                f"{wall / done * clients * 1000:6.3f} ms each, {cpu / done * 1000:6.3f} ms of own CPU"
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
