"""kill -9 at random points of many pushes: whatever was acknowledged must be there afterwards.

`SEAWALL_CRASH_PUSHES` sets how many pushes there are (60 unless told; `make crash` runs 1,000).
"""

from __future__ import annotations

import json
import os
import random
import threading
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import httpx

from tests.support.digests import digest_of
from tests.support.registry import Registry

PUSHES = int(os.environ.get("SEAWALL_CRASH_PUSHES", "60"))
MANIFEST = "application/vnd.oci.image.manifest.v1+json"


class Pushers:
    """Clients that push small images and write down exactly what the registry acknowledged."""

    def __init__(self, url: str) -> None:
        self.url = url
        self.blobs: dict[str, bytes] = {}
        self.manifests: dict[str, bytes] = {}
        self.tags: dict[str, str] = {}
        self._lock = threading.Lock()

    def push(self, number: int) -> bool:
        """One image of two blobs; False when the registry died in the middle."""
        chance = random.Random(number)
        layer = chance.randbytes(chance.choice([100, 5000, 300_000, 2_000_000]))
        config = json.dumps({"number": number}).encode()
        try:
            with httpx.Client(base_url=f"{self.url}/v2/crash/r{number % 7}", timeout=20) as client:
                for data in (config, layer):
                    self._blob(client, data, chunked=chance.random() < 0.5)
                manifest = json.dumps(
                    {
                        "schemaVersion": 2,
                        "mediaType": MANIFEST,
                        "config": {
                            "mediaType": "application/x.test",
                            "digest": digest_of(config),
                            "size": len(config),
                        },
                        "layers": [
                            {
                                "mediaType": "application/x.layer",
                                "digest": digest_of(layer),
                                "size": len(layer),
                            }
                        ],
                    }
                ).encode()
                tag = f"t{number}"
                answer = client.put(f"/manifests/{tag}", content=manifest, headers={"Content-Type": MANIFEST})
                assert answer.status_code == 201, answer.text
                with self._lock:
                    self.manifests[f"r{number % 7}/{digest_of(manifest)}"] = manifest
                    self.tags[f"r{number % 7}/{tag}"] = digest_of(manifest)
                return True
        except httpx.HTTPError:
            return False

    def _blob(self, client: httpx.Client, data: bytes, *, chunked: bool) -> None:
        location = client.post("/blobs/uploads/").raise_for_status().headers["Location"]
        if chunked:
            location = client.patch(location, content=data).raise_for_status().headers["Location"]
            data_left = b""
        else:
            data_left = data
        answer = client.put(location, params={"digest": digest_of(data)}, content=data_left)
        answer.raise_for_status()
        assert answer.status_code == 201
        with self._lock:
            self.blobs[str(client.base_url).rstrip("/").rsplit("/", 1)[1] + "/" + digest_of(data)] = data


def test_nothing_acknowledged_is_lost(tmp_path: Path) -> None:
    server = Registry(tmp_path / "data", {"SEAWALL_AUTH__MODE": "none", "SEAWALL_LOG__ACCESS": "false"})
    pushers = Pushers(server.url)
    chance = random.Random(20261124)
    done = kills = attempts = 0
    try:
        while done < PUSHES:
            attempts += 1
            assert attempts < PUSHES * 3 + 20, "too little progress between kills"
            server.start()
            with ThreadPoolExecutor(8) as pool:
                first = attempts * 1000
                runs = [pool.submit(pushers.push, first + i) for i in range(min(64, PUSHES - done + 16))]
                time.sleep(chance.uniform(0.05, 1.5))
                server.kill()
                kills += 1
                done += sum(run.result() for run in runs)
        server.start()
        with httpx.Client(base_url=f"{server.url}/v2/crash", timeout=20) as client:
            for key, data in pushers.blobs.items():
                repository, digest = key.split("/")
                answer = client.get(f"/{repository}/blobs/{digest}")
                assert answer.status_code == 200, f"acknowledged blob {key} is gone"
                assert answer.content == data, f"blob {key} has other content"
            for key, data in pushers.manifests.items():
                repository, digest = key.split("/")
                assert client.get(f"/{repository}/manifests/{digest}").content == data, key
            for key, digest in pushers.tags.items():
                repository, tag = key.split("/")
                answer = client.head(f"/{repository}/manifests/{tag}")
                assert answer.headers["Docker-Content-Digest"] == digest, key
        check = server.cli("fsck")
        assert check.returncode == 0, check.stdout
        print(
            f"\n{done} pushes, {kills} kills, {len(pushers.blobs)} blobs acknowledged: {check.stdout.strip()}"
        )
        assert kills > 0
        assert len(pushers.blobs) >= done
    finally:
        server.close()
