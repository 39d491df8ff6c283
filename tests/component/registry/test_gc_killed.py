"""`kill -9` of garbage collection at random points, two of them at once, while the same blobs are pushed.

Each round starts two collections with no grace at all and kills both. A push may be told that a blob has
gone, and uploads it again, as clients do. What was answered with 201 must be whole in the end.
"""

from __future__ import annotations

import contextlib
import json
import os
import random
import signal
import threading
import time
from pathlib import Path

from tests.support import forked
from tests.support.digests import digest_of
from tests.support.oci.bare import connect, image, push_blob, put_manifest
from tests.support.registry import Registry

ROUNDS = 25
_COLLECT = ["gc", "--grace-minutes", "0", "--reader-minutes", "0", "--delete-untagged"]


class Pusher(threading.Thread):
    """Pushes images of two of the shared layers under three tags and deletes some, until it has to stop."""

    def __init__(self, server: Registry, number: int, layers: list[bytes]) -> None:
        super().__init__()
        self.repository = f"library/p{number}"
        self.acknowledged: dict[str, bytes] = {}
        self.problems: list[str] = []
        self.pushes = 0
        self.ending = threading.Event()
        self._server, self._layers, self._dice = server, layers, random.Random(number)

    def run(self) -> None:
        try:
            self._push()
        except Exception as error:
            self.problems.append(repr(error))

    def _push(self) -> None:
        with connect(self._server) as client:
            while not self.ending.is_set():
                chosen, tag = self._dice.sample(self._layers, 2), f"t{self._dice.randrange(3)}"
                payload = image(chosen)
                # Until it is answered nobody knows which of the two the tag names.
                self.acknowledged.pop(tag, None)
                for _ in range(100):
                    for data in chosen:
                        push_blob(client, self.repository, data)
                    answer = put_manifest(client, self.repository, tag, payload)
                    if answer.status_code == 201:
                        break
                    if answer.json()["errors"][0]["code"] != "MANIFEST_BLOB_UNKNOWN":
                        self.problems.append(answer.text)
                        return
                else:
                    self.problems.append("never got through")
                    return
                self.acknowledged[tag] = payload
                self.pushes += 1
                if self._dice.random() < 0.3:
                    victim = self._dice.choice(list(self.acknowledged))
                    payload = self.acknowledged[victim]
                    for name in [name for name, held in self.acknowledged.items() if held == payload]:
                        del self.acknowledged[name]
                    client.delete(f"/v2/{self.repository}/manifests/{digest_of(payload)}")


def test_killed_collections_hurt_nothing(server: Registry, tmp_path: Path) -> None:
    layers = [os.urandom(4000) for _ in range(6)]
    pushers = [Pusher(server, number, layers) for number in range(3)]
    for pusher in pushers:
        pusher.start()
    dice = random.Random(1)
    killed = 0
    try:
        for _ in range(ROUNDS):
            with (tmp_path / "gc.log").open("ab") as output:
                running = [
                    forked.started(_COLLECT, server.environment, tmp_path, output.fileno()) for _ in range(2)
                ]
            for process in running:
                time.sleep(dice.uniform(0, 0.6))
                killed += process.poll() is None
                with contextlib.suppress(ProcessLookupError):
                    os.killpg(process.pid, signal.SIGKILL)
                process.wait()
    finally:
        for pusher in pushers:
            pusher.ending.set()
        for pusher in pushers:
            pusher.join()
    assert [pusher.problems for pusher in pushers] == [[], [], []]
    # Both ends happened: killed in the middle, and through.
    assert killed > ROUNDS / 2
    assert all(pusher.pushes > 5 for pusher in pushers)
    done = server.cli("fsck")
    assert done.returncode == 0, done.stdout
    with connect(server) as client:
        for pusher in pushers:
            for tag, payload in pusher.acknowledged.items():
                assert client.get(f"/v2/{pusher.repository}/manifests/{tag}").content == payload
                document = json.loads(payload)
                for item in [document["config"], *document["layers"]]:
                    body = client.get(f"/v2/{pusher.repository}/blobs/{item['digest']}").content
                    assert digest_of(body) == item["digest"]
    # Trash waits for readers, orphans for pushes that are between their commits; with both over, all goes.
    for _ in range(2):
        assert server.cli(*_COLLECT).returncode == 0
    assert server.cli("fsck").returncode == 0
