"""A registry over an object store that goes away: what is in `storage.cache` can still be pulled."""

from __future__ import annotations

import os
import re
from collections.abc import Iterator
from pathlib import Path

import httpx
import pytest

from tests.support.digests import digest_of
from tests.support.oci.bare import connect
from tests.support.registry import Registry
from tests.support.servers.faulty_store import FaultyStore
from tests.support.servers.swift import SwiftServer


class Lost:
    """A registry over an object store behind a proxy that is ended."""

    def __init__(self, s3: SwiftServer, folder: Path) -> None:
        self.store = FaultyStore(s3.url)
        self.store.start()
        self.gone = False
        self.root = folder / "cache"
        settings = s3.settings(s3.bucket())
        settings = {name: value.replace(s3.url, self.store.url) for name, value in settings.items()}
        settings |= {
            "SEAWALL_STORAGE__CACHE__ROOT": str(self.root),
            "SEAWALL_STORAGE__CACHE__BYTES": str(64 << 20),
            "SEAWALL_STORAGE__RETRY_SECONDS": "0",
            "SEAWALL_STORAGE__TIMEOUT_SECONDS": "1",
        }
        self.registry = Registry(folder / "data", settings)

    def lose(self) -> None:
        """End the store: nobody listens there."""
        self.gone = True
        self.store.close()

    def file(self, digest: str) -> Path:
        """The file of the cache that has the blob."""
        (found,) = (self.root / "blobs").rglob(digest.replace(":", "."))
        return found

    def close(self) -> None:
        """End all of it."""
        self.registry.close()
        if not self.gone:
            self.store.close()


@pytest.fixture
def lost(s3_server: SwiftServer, tmp_path: Path) -> Iterator[Lost]:
    made = Lost(s3_server, tmp_path)
    try:
        made.registry.start()
        yield made
    finally:
        made.close()


def test_hot_blobs_without_their_store(lost: Lost) -> None:
    blobs = {name: os.urandom(size) for name, size in (("small", 900), ("hot", 5_000_017), ("cold", 200_000))}
    with connect(lost.registry) as client:
        for data in blobs.values():
            url = "/v2/library/app/blobs/uploads/"
            assert client.post(url, params={"digest": digest_of(data)}, content=data).status_code == 201

        def get(name: str, **headers: str) -> httpx.Response:
            return client.get(f"/v2/library/app/blobs/{digest_of(blobs[name])}", headers=headers)

        for name in ("small", "hot"):
            assert get(name).content == blobs[name]
        # A disk that has changed a bit: the reader gets the right bytes, and a new copy is made.
        file = lost.file(digest_of(blobs["hot"]))
        content = bytearray(file.read_bytes())
        content[3_000_000] ^= 1
        file.write_bytes(content)
        assert get("hot").content == blobs["hot"]
        assert not file.exists()
        assert get("hot").content == blobs["hot"]
        assert file.exists()
        metrics = client.get("/metrics").text
        assert re.search(r'seawall_storage_cache_requests_total\{result="damaged"\} 1\.0', metrics)

        # Processes that have nothing in memory.
        lost.registry.kill()
        lost.registry.start()
        lost.lose()
        for name in ("small", "hot"):
            assert get(name).content == blobs[name], name
        part = get("hot", Range="bytes=1048570-1048580")
        assert (part.status_code, part.content) == (206, blobs["hot"][1048570:1048581])
        assert get("cold").status_code == 503
        head = client.head(f"/v2/library/app/blobs/{digest_of(blobs['hot'])}")
        assert head.status_code == 503, "whether the store has it is not known"
        # The database is asked first: what was deleted is gone.
        assert client.delete(f"/v2/library/app/blobs/{digest_of(blobs['hot'])}").status_code == 202
        assert get("hot").status_code == 404
        other = client.get(f"/v2/library/other/blobs/{digest_of(blobs['small'])}")
        assert other.status_code == 404
