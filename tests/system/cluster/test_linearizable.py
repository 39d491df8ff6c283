"""Tags are linearizable registers, whichever instances they are written and read through."""

from __future__ import annotations

import json
import random
import threading
import time
from collections.abc import Iterator

import httpx
import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.support.cluster import Cluster
from tests.support.linear import NEVER, Op, linearizable
from tests.support.servers.postgres import Postgres

MANIFEST = "application/vnd.oci.image.manifest.v1+json"
EMPTY = b"{}"
EMPTY_DIGEST = "sha256:44136fa355b3678a1146ad16f7e8649e94fb4fc21fe77e8310c060f61caaff8a"


def test_the_checker() -> None:
    assert linearizable([])
    assert linearizable([Op(0, 1, True, "a"), Op(2, 3, False, "a")])
    assert not linearizable([Op(0, 1, True, "a"), Op(2, 3, False, None)]), "stale read"
    assert linearizable([Op(0, 5, True, "a"), Op(1, 2, False, None), Op(3, 4, False, "a")])
    assert not linearizable([Op(0, 5, True, "a"), Op(1, 2, False, "a"), Op(3, 4, False, None)]), "backwards"
    assert linearizable([Op(0, NEVER, True, "a"), Op(5, 6, False, None), Op(7, 8, False, "a")])
    assert not linearizable([Op(0, 1, False, "a")]), "out of thin air"
    two = [Op(0, 10, True, "a"), Op(0, 10, True, "b")]
    assert not linearizable([*two, Op(11, 12, False, "a"), Op(13, 14, False, "b")])
    assert linearizable([*two, Op(1, 2, False, "b"), Op(11, 12, False, "a")])


@given(st.data())
def test_the_checker_on_real_registers(data: st.DataObject) -> None:
    """Histories of an atomic register pass; the same with a read of an overwritten value do not."""
    clock = 0.0
    value: int | None = None
    history: list[Op] = []
    for number in range(data.draw(st.integers(1, 30))):
        clock += 1
        # The operation takes effect at `clock`, somewhere within the time that its caller sees.
        start = clock - data.draw(st.floats(0, 3))
        end = clock + data.draw(st.floats(0, 3))
        write = data.draw(st.booleans())
        value = number if write else value
        history.append(Op(start, end, write, value))
    assert linearizable(history)
    history.append(Op(clock + 10, clock + 11, True, "last"))
    assert linearizable([*history, Op(clock + 12, clock + 13, False, "last")])
    assert not linearizable([*history, Op(clock + 12, clock + 13, False, value)])


@pytest.fixture(scope="module")
def cluster(postgres: Postgres, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Cluster]:
    """Three instances."""
    found = Cluster(tmp_path_factory.mktemp("linear"), postgres.migrated())
    try:
        found.start()
        yield found
    finally:
        found.close()


def manifest(text: str) -> bytes:
    """A manifest of its own."""
    return json.dumps(
        {
            "schemaVersion": 2,
            "mediaType": MANIFEST,
            "config": {"mediaType": "application/vnd.oci.empty.v1+json", "digest": EMPTY_DIGEST, "size": 2},
            "layers": [],
            "annotations": {"text": text},
        }
    ).encode()


def test_concurrent_writes_and_reads_of_tags(cluster: Cluster) -> None:
    tags = ("a", "b")
    history: dict[str, list[Op]] = {tag: [] for tag in tags}
    lock = threading.Lock()
    with httpx.Client(auth=cluster.admin, timeout=60) as client:
        base = f"{cluster.instances[0].url}/v2/library/linear"
        location = client.post(f"{base}/blobs/uploads/").headers["Location"]
        assert client.put(location, params={"digest": EMPTY_DIGEST}, content=EMPTY).status_code == 201

    def work(number: int) -> None:
        chance = random.Random(number)
        clients = [
            httpx.Client(base_url=f"{instance.url}/v2/library/linear", auth=cluster.admin, timeout=60)
            for instance in cluster.instances
        ]
        for step in range(50):
            client, tag = chance.choice(clients), chance.choice(tags)
            kind = chance.random()
            start = time.monotonic()
            if kind < 0.4:
                payload = manifest(f"{number}.{step}")
                answer = client.put(f"/manifests/{tag}", content=payload, headers={"Content-Type": MANIFEST})
                assert answer.status_code == 201, answer.text
                op = Op(start, time.monotonic(), True, answer.headers["Docker-Content-Digest"])
            else:
                answer = client.head(f"/manifests/{tag}")
                assert answer.status_code in (200, 404)
                value = answer.headers.get("Docker-Content-Digest") if answer.status_code == 200 else None
                op = Op(start, time.monotonic(), False, value)
            with lock:
                history[tag].append(op)
        for client in clients:
            client.close()

    threads = [threading.Thread(target=work, args=(number,)) for number in range(6)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert sum(map(len, history.values())) == 300, "a worker failed"
    for tag, ops in history.items():
        assert any(op.write for op in ops)
        assert linearizable(ops), f"tag {tag}: {sorted(ops, key=lambda op: op.start)}"


def test_read_your_writes_at_once_through_any_instance(cluster: Cluster) -> None:
    """Also what is not a tag: lists, deletes, members and visibility."""
    one, two, three = (
        httpx.Client(base_url=instance.url, auth=cluster.admin, timeout=60) for instance in cluster.instances
    )
    for number in range(10):
        payload = manifest(f"again {number}")
        put = one.put(
            f"/v2/library/linear/manifests/n{number}", content=payload, headers={"Content-Type": MANIFEST}
        )
        digest = put.headers["Docker-Content-Digest"]
        assert f"n{number}" in two.get("/v2/library/linear/tags/list").json()["tags"]
        assert three.get(f"/v2/library/linear/manifests/{digest}").content == payload
        assert two.delete(f"/v2/library/linear/manifests/{digest}").status_code == 202
        assert one.get(f"/v2/library/linear/manifests/{digest}").status_code == 404
        assert three.get(f"/v2/library/linear/manifests/n{number}").status_code == 404
    # Rights: given through one instance, they hold on the others with the next request; taken, likewise.
    cluster.instances[0].create_user("rita", "Rita-123456")
    cluster.instances[0].create_project("secret")
    rita = [httpx.Client(base_url=i.url, auth=("rita", "Rita-123456"), timeout=60) for i in cluster.instances]
    for _ in range(3):
        assert [client.get("/v2/secret/x/tags/list").status_code for client in rita] == [403] * 3
        cluster.instances[1].add_member("secret", "rita", "guest")
        assert [client.get("/v2/secret/x/tags/list").status_code for client in rita] == [404] * 3
        members = one.get("/api/v2.0/projects/secret/members")
        if members.status_code == 404:
            break
        (mine,) = [m["id"] for m in members.json() if m["entity_name"] == "rita"]
        assert two.delete(f"/api/v2.0/projects/secret/members/{mine}").status_code == 200
    for client in (one, two, three, *rita):
        client.close()
