"""Garbage collection beside pushes, mounts and deletes; fsck names every fault."""

from __future__ import annotations

import hashlib
import json
import os
import random
import threading

from sqlalchemy import create_engine, text

from tests.support.digests import digest_of
from tests.support.oci.bare import MANIFEST, connect, image, push_blob, put_manifest
from tests.support.registry import Registry


def collect(server: Registry, *arguments: str) -> dict[str, int]:
    done = server.cli("gc", "--json", "--grace-minutes", "0", "--reader-minutes", "0", *arguments)
    assert done.returncode == 0, done.stderr
    report: dict[str, int] = json.loads(done.stdout)
    return report


def test_collects_what_nothing_names(server: Registry) -> None:
    kept, lost, tagless = (os.urandom(2000) for _ in range(3))
    with connect(server) as client:
        for data in (kept, lost, tagless):
            push_blob(client, "library/a", data)
        assert put_manifest(client, "library/a", "keep", image([kept])).status_code == 201
        untagged = image([tagless])
        assert put_manifest(client, "library/a", digest_of(untagged), untagged).status_code == 201

        assert collect(server, "--dry-run")["links"] == 1
        report = collect(server)
        assert (report["links"], report["blobs"], report["manifests"]) == (1, 1, 0)
        assert collect(server)["deleted_files"] + report["deleted_files"] == 1
        assert client.get(f"/v2/library/a/blobs/{digest_of(lost)}").status_code == 404
        assert client.get(f"/v2/library/a/blobs/{digest_of(kept)}").content == kept
        assert client.get(f"/v2/library/a/blobs/{digest_of(tagless)}").content == tagless

        assert collect(server, "--delete-untagged")["manifests"] == 1
        assert client.get(f"/v2/library/a/blobs/{digest_of(tagless)}").status_code == 404
        # The same bytes can be pushed again at once: they get a new place.
        push_blob(client, "library/a", lost)
        assert client.get(f"/v2/library/a/blobs/{digest_of(lost)}").content == lost
    assert server.cli("fsck").returncode == 0


def test_an_index_and_a_subject_keep_their_manifests(server: Registry) -> None:
    config = os.urandom(100)
    with connect(server) as client:
        push_blob(client, "library/b", config)
        child = image([config])
        assert put_manifest(client, "library/b", digest_of(child), child).status_code == 201
        index_type = "application/vnd.oci.image.index.v1+json"
        index = json.dumps(
            {
                "schemaVersion": 2,
                "mediaType": index_type,
                "manifests": [{"mediaType": MANIFEST, "digest": digest_of(child), "size": len(child)}],
            }
        ).encode()
        answer = client.put(
            "/v2/library/b/manifests/multi", content=index, headers={"Content-Type": index_type}
        )
        assert answer.status_code == 201
        signature = json.loads(image([config]))
        signature["subject"] = {"mediaType": index_type, "digest": digest_of(index), "size": len(index)}
        signed = json.dumps(signature).encode()
        assert put_manifest(client, "library/b", digest_of(signed), signed).status_code == 201
        assert collect(server, "--delete-untagged")["manifests"] == 0
        assert client.get(f"/v2/library/b/manifests/{digest_of(child)}").status_code == 200
        # When the index goes, child and signature follow in time.
        assert client.delete(f"/v2/library/b/manifests/{digest_of(index)}").status_code == 202
        assert collect(server, "--delete-untagged")["manifests"] == 2


def test_no_acknowledged_push_is_hurt_by_collection(server: Registry) -> None:
    """Collect with no grace at all, again and again, while images that share layers come and go.

    A push may be told that a blob has gone (then it uploads again, as clients do); what was answered with
    201 must be whole.
    """
    layers = [os.urandom(4000) for _ in range(6)]
    acknowledged: dict[tuple[str, str], bytes] = {}
    problems: list[str] = []
    stop = threading.Event()

    def pusher(number: int) -> None:
        repository, dice = f"library/p{number}", random.Random(number)
        with connect(server) as client:
            for round_ in range(25):
                chosen = dice.sample(layers, 2)
                payload = image(chosen)
                for _ in range(50):
                    for data in chosen:
                        other = f"library/p{(number + 1) % 4}"
                        mounted = client.post(
                            f"/v2/{repository}/blobs/uploads/",
                            params={"mount": digest_of(data), "from": other},
                        )
                        if mounted.status_code != 201:
                            push_blob(client, repository, data)
                    answer = put_manifest(client, repository, f"t{round_ % 3}", payload)
                    if answer.status_code == 201:
                        break
                    if answer.json()["errors"][0]["code"] != "MANIFEST_BLOB_UNKNOWN":
                        problems.append(answer.text)
                        return
                else:
                    problems.append("never got through")
                acknowledged[repository, f"t{round_ % 3}"] = payload
                if dice.random() < 0.3:
                    tag = f"t{dice.randrange(3)}"
                    victim = acknowledged.pop((repository, tag), None)
                    if victim is not None:
                        client.delete(f"/v2/{repository}/manifests/{digest_of(victim)}")
                        for key in [k for k, v in acknowledged.items() if k[0] == repository and v == victim]:
                            del acknowledged[key]

    totals = {"blobs": 0}

    def collector() -> None:
        while not stop.is_set():
            totals["blobs"] += collect(server)["blobs"]

    sweeping = threading.Thread(target=collector)
    pushing = [threading.Thread(target=pusher, args=(number,)) for number in range(4)]
    sweeping.start()
    for thread in pushing:
        thread.start()
    for thread in pushing:
        thread.join()
    stop.set()
    sweeping.join()
    assert not problems
    with connect(server) as client:
        for (repository, tag), payload in acknowledged.items():
            assert client.get(f"/v2/{repository}/manifests/{tag}").content == payload
            for layer in json.loads(payload)["layers"]:
                body = client.get(f"/v2/{repository}/blobs/{layer['digest']}").content
                assert digest_of(body) == layer["digest"]
        for repository, tag in list(acknowledged):
            client.delete(f"/v2/{repository}/manifests/{tag}")
    done = server.cli("fsck")
    assert done.returncode == 0, done.stdout
    assert collect(server, "--delete-untagged")["manifests"] > 0


def test_fsck_names_every_fault(server: Registry) -> None:
    whole, gone, short, wrong = (os.urandom(3000) for _ in range(4))
    with connect(server) as client:
        for data in (whole, gone, short, wrong):
            push_blob(client, "library/f", data)
        assert put_manifest(client, "library/f", "v1", image([whole, gone, short, wrong])).status_code == 201
    files = {
        hashlib.sha256(path.read_bytes()).hexdigest(): path
        for path in (server.data_dir / "blobs").rglob("*")
        if path.is_file()
    }
    assert server.cli("fsck").returncode == 0
    files[digest_of(gone).partition(":")[2]].unlink()
    os.truncate(files[digest_of(short).partition(":")[2]], 100)
    flipped = files[digest_of(wrong).partition(":")[2]]
    flipped.write_bytes(wrong[:-1] + bytes([wrong[-1] ^ 1]))
    done = server.cli("fsck")
    assert done.returncode == 1
    lines = {line.split()[1]: line for line in done.stdout.splitlines() if "sha256:" in line}
    assert set(lines) == {digest_of(data) for data in (gone, short, wrong)}
    assert all("library/f" in line for line in lines.values())
    assert lines[digest_of(gone)].startswith("missing:")
    fast = server.cli("fsck", "--fast")
    assert fast.returncode == 1
    assert digest_of(short) in fast.stdout
    assert digest_of(wrong) not in fast.stdout
    # What is missing is asked for with an error that says so, not with an empty 200.
    with connect(server) as client:
        assert client.get(f"/v2/library/f/blobs/{digest_of(gone)}").status_code >= 400


def test_fsck_names_an_index_that_lacks_a_child(server: Registry) -> None:
    layer = os.urandom(100)
    with connect(server) as client:
        push_blob(client, "library/lost", layer)
        child = image([layer])
        assert put_manifest(client, "library/lost", digest_of(child), child).status_code == 201
        item = {"mediaType": MANIFEST, "digest": digest_of(child), "size": len(child)}
        index_type = "application/vnd.oci.image.index.v1+json"
        index = json.dumps({"schemaVersion": 2, "mediaType": index_type, "manifests": [item]}).encode()
        url, headers = "/v2/library/lost/manifests/v1", {"Content-Type": index_type}
        assert client.put(url, content=index, headers=headers).status_code == 201
    assert "library/lost" not in server.cli("fsck", "--fast").stdout
    url = server.environment.get("SEAWALL_DATABASE__URL", f"sqlite:///{server.data_dir}/seawall.db")
    with create_engine(url).begin() as connection:
        # As a fault of ours, or of a restored database, would leave it.
        found = {"digest": digest_of(child)}
        connection.execute(text("DELETE FROM manifests WHERE digest = :digest"), found)
    done = server.cli("fsck", "--fast")
    assert done.returncode == 1
    [line] = [line for line in done.stdout.splitlines() if line.startswith(f"reference: {digest_of(child)}")]
    assert "library/lost" in line
    assert digest_of(index) in line
