"""Two instances with everything of their own behind one balancer."""

from __future__ import annotations

import asyncio
import contextlib
import json
import secrets
import sqlite3
import subprocess
import time
from pathlib import Path
from urllib.parse import urlsplit

import httpx
import pytest

from seawall.availability.cluster.balancer import KINDS, Balancer, haproxy
from seawall.availability.peers.client import Peer, PeerError
from seawall.infra.db import migrate, open_database
from seawall.infra.secrets.keyring import KeyRing
from seawall.infra.settings import Settings
from tests.support.api import Api
from tests.support.digests import digest_of
from tests.support.identity import SOURCES, Identity
from tests.support.peer_site import Site
from tests.support.processes import PASSWORD, SEAWALL, free_port
from tests.support.registry import Registry
from tests.support.servers.balancers import BalancerServer
from tests.support.servers.issuer import open_issuer
from tests.support.servers.slapd import Slapd
from tests.support.signing import OCI, Pusher
from tests.support.sites import push
from tests.support.waiting import until

SKOPEO = ("skopeo", "copy", "-q")
CREDENTIALS = f"--{{}}-creds=admin:{PASSWORD}"


def test_made_on_one_used_on_the_other(site: Site) -> None:
    a, b = site.api(site.a), site.api(site.b)
    project = a.project()
    # At once: the answer came after B had taken it.
    assert b.get(f"/projects/{project}").status_code == 200
    _, name = b.user()
    a.member(project, name, 2)
    member = Pusher(site.b.url, f"{project}/app", (name, PASSWORD))
    digest = member.image("v1")
    assert Pusher(site.a.url, f"{project}/app", (name, PASSWORD)).pull("v1").status_code == 200
    robot = b.post(
        "/robots",
        json={
            "name": "ci",
            "level": "project",
            "duration": -1,
            "permissions": [
                {
                    "kind": "project",
                    "namespace": project,
                    "access": [{"resource": "repository", "action": "pull"}],
                }
            ],
        },
    )
    assert robot.status_code == 201, robot.text
    token = httpx.get(
        f"{site.a.url}/service/token",
        params={"service": "seawall", "scope": f"repository:{project}/app:pull"},
        auth=(robot.json()["name"], robot.json()["secret"]),
    ).json()["token"]
    pulled = httpx.get(
        f"{site.b.url}/v2/{project}/app/manifests/v1", headers={"Authorization": f"Bearer {token}"}
    )
    assert pulled.headers["docker-content-digest"] == digest
    site.settle()


@pytest.mark.parametrize("how", ["by digest", "artifact", "tag", "repository"])
def test_pushed_at_one_deleted_at_once_at_the_other(site: Site, how: str) -> None:
    """A deletion that was acknowledged after a push was stays one, however soon it comes."""
    a, b = site.api(site.a), site.api(site.b)
    for turn in range(10):
        one, other = (site.a, site.b) if turn % 2 else (site.b, site.a)
        project = a.project()
        repository = f"/projects/{project}/repositories/app"
        pusher = site.pusher(one, f"{project}/app")
        digest = pusher.image("v1")
        if how == "by digest":
            gone = site.pusher(other, f"{project}/app").client.delete(f"/manifests/{digest}")
            assert gone.status_code == 202, gone.text
        else:
            path = {"artifact": f"/artifacts/{digest}", "tag": "/artifacts/v1/tags/v1", "repository": ""}[how]
            gone = site.api(other).delete(repository + path)
            assert gone.status_code == 200, gone.text
        for which in (one, other):
            assert site.pusher(which, f"{project}/app").pull("v1").status_code == 404
    site.settle()
    notes = [item["note"] for item in (*a.get("/peers/conflicts").json(), *b.get("/peers/conflicts").json())]
    assert not [note for note in notes if "is on it" in note]


def test_skopeo_through_the_balancer(site: Site, tmp_path: Path) -> None:
    project = site.api(site.a).project()
    layout = tmp_path / "layout"
    _image(layout, size=3_000_000)
    target = f"docker://{site.url.removeprefix('http://')}/{project}/big"
    for number in range(3):
        done = subprocess.run(
            [
                *SKOPEO,
                "--dest-tls-verify=false",
                CREDENTIALS.format("dest"),
                f"oci:{layout}:t",
                f"{target}:t{number}",
            ],
            capture_output=True,
            text=True,
            timeout=60,
        )
        assert done.returncode == 0, done.stderr
    for number in range(3):
        found = [site.pusher(which, f"{project}/big").pull(f"t{number}") for which in (site.a, site.b)]
        assert [item.status_code for item in found] == [200, 200]
        assert found[0].content == found[1].content
    back = tmp_path / "back"
    done = subprocess.run(
        [*SKOPEO, "--src-tls-verify=false", CREDENTIALS.format("src"), f"{target}:t1", f"oci:{back}:t"],
        capture_output=True,
        text=True,
        timeout=60,
    )
    assert done.returncode == 0, done.stderr
    site.settle()


def test_upload_begun_here_and_ended_there(site: Site) -> None:
    project = site.api(site.a).project()
    at_a, at_b = (site.pusher(which, f"{project}/parts").client for which in (site.a, site.b))
    data = secrets.token_bytes(2_000_000)
    where = at_a.post("/blobs/uploads/").headers["location"].rpartition("/")[2]
    part = at_b.patch(
        f"/blobs/uploads/{where}",
        content=data[:1_000_000],
        headers={"Content-Type": "application/octet-stream"},
    )
    assert part.status_code == 202, part.text
    assert part.headers["location"].startswith(site.url)
    assert part.headers["range"] == "0-999999"
    assert at_b.get(f"/blobs/uploads/{where}").headers["range"] == "0-999999"
    digest = digest_of(data)
    done = at_b.put(f"/blobs/uploads/{where}", params={"digest": digest}, content=data[1_000_000:])
    assert done.status_code == 201, done.text
    assert at_b.head(f"/blobs/{digest}").headers["content-length"] == "2000000"
    # Each blob was sent to one instance only, the manifest to the other.
    config = site.pusher(site.b, f"{project}/parts").blob(b"{}")
    manifest = {
        "schemaVersion": 2,
        "mediaType": OCI,
        "config": {"mediaType": "application/vnd.oci.image.config.v1+json", **config},
        "layers": [
            {"mediaType": "application/vnd.oci.image.layer.v1.tar", "digest": digest, "size": 2_000_000}
        ],
    }
    site.pusher(site.b, f"{project}/parts").manifest(manifest, "whole")
    for client in (at_a, at_b):
        assert client.get(f"/blobs/{digest}").content == data
    site.settle()


def test_deleted_blob_does_not_come_back(site: Site) -> None:
    """The OCI conformance suite behind a balancer: DELETE at one, HEAD at the other."""
    project = site.api(site.a).project()
    at_a, at_b = (site.pusher(which, f"{project}/gone").client for which in (site.a, site.b))
    data = secrets.token_bytes(1000)
    path = f"/blobs/{digest_of(data)}"
    uploads = "/blobs/uploads/"

    def push(client: httpx.Client) -> None:
        where = client.post(uploads).headers["location"].rpartition("/")[2]
        done = client.put(uploads + where, params={"digest": digest_of(data)}, content=data)
        assert done.status_code == 201, done.text

    for pushed_at, deleted_at in ((at_a, at_a), (at_a, at_b), (at_b, at_a)):
        push(pushed_at)
        # Read at the other one, which fills it, in the case of both.
        assert at_b.get(path).content == data
        assert deleted_at.delete(path).status_code == 202
        assert [client.head(path).status_code for client in (at_a, at_b)] == [404, 404]
        assert deleted_at.delete(path).status_code == 404
    push(at_a)
    # Only one of them has it; the other is told to delete it.
    assert at_b.delete(path).status_code == 202
    assert [client.head(path).status_code for client in (at_a, at_b)] == [404, 404]
    # What a manifest needs stays, whichever is asked.
    site.pusher(site.a, f"{project}/used").image("v1")
    layer = site.pusher(site.b, f"{project}/used").pull("v1").json()["layers"][0]["digest"]
    for which in (site.a, site.b):
        assert site.pusher(which, f"{project}/used").client.delete(f"/blobs/{layer}").status_code == 405
        assert site.pusher(which, f"{project}/used").client.get(f"/blobs/{layer}").status_code == 200
    site.settle()


def test_index_referrers_and_signatures_travel(site: Site) -> None:
    project = site.api(site.a).project()
    at_a, at_b = site.pusher(site.a, f"{project}/signed"), site.pusher(site.b, f"{project}/signed")
    child = at_a.image("child", b"child")
    index = at_a.manifest(
        {
            "schemaVersion": 2,
            "mediaType": "application/vnd.oci.image.index.v1+json",
            "manifests": [{"mediaType": OCI, "digest": child, "size": len(at_a.pull("child").content)}],
        },
        "multi",
    )
    attached = at_a.accessory(
        index, "application/vnd.dev.cosign.artifact.sig.v1+json", ("text/plain", b"sig")
    )
    tag = index.replace(":", "-") + ".sig"
    at_a.accessory(None, None, ("application/vnd.dev.cosign.simplesigning.v1+json", b"{}"), tag=tag)
    assert at_b.client.get(f"/referrers/{index}").json()["manifests"][0]["digest"] == attached
    assert set(at_b.client.get("/tags/list").json()["tags"]) == {"child", "multi", tag}
    assert at_b.pull("multi").headers["docker-content-digest"] == index
    site.settle()
    shown = [
        site.api(which)
        .get(f"/projects/{project}/repositories/signed/artifacts", params={"with_accessory": "true"})
        .json()
        for which in (site.a, site.b)
    ]
    kinds = [sorted(a["type"] for i in page for a in i.get("accessories") or []) for page in shown]
    assert kinds[0] == kinds[1] != []


def test_key_of_a_notary_collection_is_one(site: Site) -> None:
    project = site.api(site.a).project()
    keys = [
        httpx.get(
            f"{which.url}/v2/{project}/app/_trust/tuf/timestamp.key",
            headers={"Authorization": f"Bearer {_token(which.url, f'{project}/app')}"},
        )
        for which in (site.a, site.b)
    ]
    assert keys[0].status_code == 200, keys[0].text
    assert keys[0].content == keys[1].content


def _token(url: str, repository: str) -> str:
    answer = httpx.get(
        f"{url}/service/token",
        params={"service": "seawall", "scope": f"repository:{repository}:pull,push"},
        auth=("admin", PASSWORD),
    )
    return str(answer.json()["token"])


def test_session_of_one_is_good_on_the_other(site: Site) -> None:
    with httpx.Client(base_url=site.a.url) as browser:
        token = browser.get("/api/v2.0/systeminfo").headers["X-Harbor-CSRF-Token"]
        body = {"principal": "admin", "password": PASSWORD}
        signed_in = browser.post("/c/login", data=body, headers={"X-Harbor-CSRF-Token": token})
        assert signed_in.status_code == 200, signed_in.text
        cookies = dict(browser.cookies)
    with httpx.Client(base_url=site.b.url, cookies=cookies) as browser:
        answer = browser.get("/api/v2.0/users/current")
        assert answer.json()["username"] == "admin"
        change = {"project_name": "by-session", "metadata": {"public": "false"}}
        token = answer.headers["X-Harbor-CSRF-Token"]
        # The token is from B; A takes it.
        made = httpx.post(
            f"{site.a.url}/api/v2.0/projects",
            json=change,
            cookies=cookies,
            headers={"X-Harbor-CSRF-Token": token},
        )
        assert made.status_code == 201, made.text
        browser.get("/c/log_out")
    over = httpx.get(f"{site.a.url}/api/v2.0/users/current", cookies=cookies)
    assert over.status_code == 401


def test_link_cut_and_healed(site: Site) -> None:
    a, b = site.api(site.a), site.api(site.b)
    project = a.project()
    name = f"{project}/app"
    first = site.pusher(site.a, name).image("same", b"before")
    keep = site.pusher(site.b, name).image("gone", b"to be deleted")
    a.made("/labels", {"name": f"l-{project}", "scope": "p", "project_id": _id(a, project)})
    site.settle()
    site.cut()
    # Both go on serving and taking writes.
    one = site.pusher(site.a, name).image("same", b"moved at a")
    time.sleep(0.05)
    two = site.pusher(site.b, name).image("same", b"moved at b, later")
    only = site.pusher(site.a, name).image("only-a", b"only at a")
    assert site.pusher(site.b, name).client.delete("/manifests/gone").status_code == 202
    [label] = b.get("/labels", params={"scope": "p", "project_id": _id(b, project)}).json()
    assert b.put(f"/labels/{label['id']}", json={**label, "color": "#112233"}).status_code == 200
    _, user = b.user()
    away = a.get("/peers").json()[0]
    assert not away["reachable"]
    assert away["error"]
    assert site.a.cli("peers", "status").returncode == 1
    faults = a.get("/seawall/ha/check").json()["faults"]
    assert "peer-away" in [fault["kind"] for fault in faults]
    site.mend()
    site.settle()
    for which in (site.a, site.b):
        client = site.pusher(which, name)
        assert client.pull("same").headers["docker-content-digest"] == two
        # What lost is still there by its digest, and told.
        assert client.pull(one).status_code == 200
        assert client.pull("only-a").headers["docker-content-digest"] == only
        # A deletion does not come back.
        assert client.pull("gone").status_code == 404
        assert client.pull(keep).status_code == 200
        api = site.api(which)
        assert api.get("/users/search", params={"username": user}).json()
        [label] = api.get("/labels", params={"scope": "p", "project_id": _id(api, project)}).json()
        assert label["color"] == "#112233"
        [conflict] = [c for c in api.get("/peers/conflicts").json() if c["key"] == f"{name}:same"]
        assert conflict["kept"]["digest"] == two
        assert conflict["dropped"]["digest"] == one
        assert conflict["by"] == "b"
        assert first not in (one, two)
    done = site.a.cli("peers", "status")
    assert done.returncode == 0, done.stdout + done.stderr
    checked = a.get("/seawall/ha/check").json()
    assert "peers" in checked["tested"]
    assert not [fault for fault in checked["faults"] if fault["kind"].startswith(("peer", "difference"))]


@pytest.mark.parametrize("kind", ["haproxy", "nginx"])
def test_nobody_notices_a_cut_link_behind_our_balancer(site: Site, kind: str) -> None:
    """Both are reached by clients, and not by one another: each repository keeps its instance."""
    project = site.api(site.a).project()
    site.settle()
    balancer = BalancerServer(kind, urlsplit(site.url).port or 0)
    site.balancer.stop()
    site.cut()
    try:
        balancer.start(KINDS[kind](Balancer(site.url, [site.a.url, site.b.url], peers=True)))
        for number in range(12):
            name = f"{project}/team/app{number}"
            data = f"layer of {name}".encode()
            # As docker does: a session, the bytes in pieces over connections of their own, then the manifest.
            where = site.pusher(None, name).client.post("/blobs/uploads/").headers["location"]
            client = site.pusher(None, name).client
            headers = {"Content-Type": "application/octet-stream"}
            part = client.patch(where, content=data[:5], headers=headers)
            assert part.status_code == 202, part.text
            where, client = part.headers["location"], site.pusher(None, name).client
            done = client.put(where, params={"digest": digest_of(data)}, content=data[5:])
            assert done.status_code == 201, done.text
            digest = site.pusher(None, name).image("v1", data)
            for _ in range(3):
                assert site.pusher(None, name).pull("v1").headers["docker-content-digest"] == digest
                assert site.pusher(None, name).client.get(f"/blobs/{digest_of(data)}").content == data
                assert site.pusher(None, name).client.get("/tags/list").json()["tags"] == ["v1"]
        # Neither has them all: repositories are spread over the two.
        held = [_repositories(site.api(which), project) for which in (site.a, site.b)]
        assert sum(held) == 12
        assert 0 not in held
        for which in (site.a, site.b):
            faults = site.api(which).get("/seawall/ha/check").json()["faults"]
            assert "balancer" not in [fault["kind"] for fault in faults], faults
            until(lambda which=which: "no answer from" in _ready(which), "")  # type: ignore[misc]
    finally:
        site.mend()
        balancer.stop()
        site.balancer.start(haproxy(Balancer(site.url, [site.a.url, site.b.url])))
    site.settle()
    for which in (site.a, site.b):
        assert _repositories(site.api(which), project) == 12
        until(lambda which=which: "no answer from" not in _ready(which), "")  # type: ignore[misc]


def _repositories(api: Api, project: str) -> int:
    return len(api.get(f"/projects/{project}/repositories", params={"page_size": 50}).json())


def _ready(which: Registry) -> str:
    answer = httpx.get(f"{which.url}/readyz")
    assert answer.status_code == 200
    return answer.text


def test_push_into_a_project_that_is_deleted_at_the_other(site: Site) -> None:
    a, b = site.api(site.a), site.api(site.b)
    project = a.project()
    _, user = a.user()
    a.member(project, user, 2)
    site.settle()
    site.cut()
    assert a.delete(f"/projects/{project}").status_code == 200
    digest = site.pusher(site.b, f"{project}/app").image("v1", b"acknowledged")
    site.mend()
    site.settle()
    for which in (site.a, site.b):
        assert site.pusher(which, f"{project}/app").pull("v1").headers["docker-content-digest"] == digest
        members = site.api(which).get(f"/projects/{project}/members").json()
        assert user in [member["entity_name"] for member in members]
    # Emptied and deleted, it is gone for good.
    assert b.delete(f"/projects/{project}/repositories/app").status_code == 200
    assert a.delete(f"/projects/{project}").status_code == 200
    site.settle()
    assert [x.get(f"/projects/{project}").status_code for x in (a, b)] == [404, 404]


def test_killed_in_the_middle(site: Site) -> None:
    project = site.api(site.a).project()
    name = f"{project}/app"
    site.pusher(site.a, name).image("before", b"before")
    site.settle()
    kept = {}
    for number in range(6):
        kept[f"a{number}"] = site.pusher(site.a, name).image(f"a{number}", secrets.token_bytes(50_000))
        if number == 2:
            site.b.kill()
    with httpx.Client(timeout=30) as client:
        # The balancer finds out, and the one that is left does everything.
        until(
            lambda: client.get(f"{site.url}/v2/{name}/manifests/a5", auth=("admin", PASSWORD)).is_success,
            "the balancer does not serve what A has",
        )
    made = site.api(site.a).project()
    site.b.start()
    until(lambda: site.api(site.b).get(f"/projects/{made}").is_success, "B did not catch up")
    for tag, digest in kept.items():
        pulled = site.pusher(site.b, name).pull(tag)
        assert pulled.headers["docker-content-digest"] == digest
        for layer in pulled.json()["layers"]:
            blob = site.pusher(site.b, name).client.get(f"/blobs/{layer['digest']}")
            assert digest_of(blob.content) == layer["digest"]
    site.settle()


def test_what_cannot_come_is_named(site: Site) -> None:
    project = site.api(site.a).project()
    name = f"{project}/app"
    site.settle()
    site.cut()
    data = secrets.token_bytes(5000)
    digest = site.pusher(site.b, name).image("v1", data)
    [file] = [path for path in site.b.data_dir.rglob("*") if digest_of(data).partition(":")[2] in path.name]
    hidden = file.with_name("hidden")
    file.rename(hidden)
    site.mend()

    def faults() -> list[str]:
        checked = site.api(site.a).get("/seawall/ha/check").json()
        return [f"{fault['kind']}: {fault['message']}" for fault in checked["faults"] if fault["cure"]]

    named = until(
        lambda: [
            text
            for text in faults()
            if text.startswith(f"difference: tag {name}:v1: not here: ") and "does not give blob" in text
        ],
        "the difference is not named",
    )
    assert len(named) == 1
    assert any(text.startswith("peer-lag:") for text in faults())
    hidden.rename(file)
    site.settle()
    assert site.pusher(site.a, name).pull("v1").headers["docker-content-digest"] == digest


def test_replicas_pass_quotas_and_make_no_events(site: Site) -> None:
    a, b = site.api(site.a), site.api(site.b)
    project = a.project()
    name = f"{project}/app"
    body = {
        "name": "told",
        "enabled": True,
        "event_types": ["PUSH_ARTIFACT"],
        "targets": [{"type": "http", "address": "https://hooks.example.test/"}],
    }
    a.made(f"/projects/{project}/webhook/policies", body)
    [quota] = a.get("/quotas", params={"reference": "project", "reference_id": _id(a, project)}).json()
    limit = {"hard": {"storage": 100_000}}
    assert a.put(f"/quotas/{quota['id']}", json=limit).status_code == 200
    [there] = b.get("/quotas", params={"reference": "project", "reference_id": _id(b, project)}).json()
    assert there["hard"]["storage"] == 100_000
    site.settle()
    site.cut()
    events = _events(site)
    site.pusher(site.a, name).image("a", secrets.token_bytes(60_000))
    made_here = _events(site) - events
    assert made_here == 1
    site.pusher(site.b, name).image("b", secrets.token_bytes(60_000))
    site.mend()
    site.settle()
    assert [site.pusher(site.a, name).pull(tag).status_code for tag in "ab"] == [200, 200]
    assert _events(site) - events == made_here
    [here] = a.get("/quotas", params={"reference": "project", "reference_id": _id(a, project)}).json()
    assert here["used"]["storage"] > 120_000
    with pytest.raises(AssertionError, match="quota"):
        site.pusher(site.a, name).image("c", secrets.token_bytes(60_000))


def _events(site: Site) -> int:
    """Events that instance A has recorded and nobody has taken yet (no job runner is there)."""
    with contextlib.closing(sqlite3.connect(site.a.data_dir / "seawall.db")) as connection:
        return int(connection.execute("SELECT count(*) FROM outbox").fetchone()[0])


def test_strangers_are_refused(site: Site, tmp_path: Path) -> None:
    for path in ("/_seawall/peers/blob?repository=library/x&digest=sha256:0&offset=0", "/_seawall/peers/x"):
        assert httpx.get(site.a.url + path).status_code == 404
    assert httpx.post(site.a.url + "/_seawall/peers", content=b"x").status_code == 404
    upload = "/_seawall/peers/v2/library/x/blobs/uploads/00000000-0000-0000-0000-000000000000"
    assert httpx.patch(site.a.url + upload, headers={"X-Seawall-Peer": "1.2"}).status_code == 404
    settings = Settings(data_dir=tmp_path)
    migrate.upgrade(settings.database_url)
    db = open_database(settings.database_url)
    peer = Peer(site.a.url, KeyRing.open(db, settings), 5)

    async def ask() -> None:
        try:
            await peer.call("summary")
        finally:
            await peer.close()
            await db.close()

    with pytest.raises(PeerError, match="another master key"):
        asyncio.run(ask())


def _id(api: Api, project: str) -> int:
    return int(api.get(f"/projects/{project}").json()["project_id"])


def _image(layout: Path, size: int) -> None:
    """An image in OCI layout with a layer of random bytes."""
    blobs = layout / "blobs" / "sha256"
    blobs.mkdir(parents=True)

    def add(data: bytes, media_type: str) -> dict[str, object]:
        digest = digest_of(data)
        (blobs / digest.partition(":")[2]).write_bytes(data)
        return {"mediaType": media_type, "digest": digest, "size": len(data)}

    layer = add(secrets.token_bytes(size), "application/vnd.oci.image.layer.v1.tar")
    config = json.dumps(
        {"architecture": "amd64", "os": "linux", "rootfs": {"type": "layers", "diff_ids": [layer["digest"]]}}
    )
    manifest = {
        "schemaVersion": 2,
        "mediaType": OCI,
        "config": add(config.encode(), "application/vnd.oci.image.config.v1+json"),
        "layers": [layer],
    }
    entry = add(json.dumps(manifest).encode(), OCI)
    entry["annotations"] = {"org.opencontainers.image.ref.name": "t"}
    (layout / "oci-layout").write_text('{"imageLayoutVersion": "1.0.0"}')
    (layout / "index.json").write_text(json.dumps({"schemaVersion": 2, "manifests": [entry]}))


def test_policies_and_settings_are_the_same_on_both(site: Site) -> None:
    a, b = site.api(site.a), site.api(site.b)
    project = a.project()
    number = _id(a, project)
    chosen = {
        "tag_selectors": [{"kind": "doublestar", "decoration": "matches", "pattern": "v*"}],
        "scope_selectors": {
            "repository": [{"kind": "doublestar", "decoration": "repoMatches", "pattern": "**"}]
        },
    }
    rule = {"action": "immutable", "template": "immutable_template", "priority": 0, **chosen}
    a.made(f"/projects/{project}/immutabletagrules", rule)
    keep = {"action": "retain", "template": "latestPushedK", "params": {"latestPushedK": 2}, **chosen}
    policy = {
        "algorithm": "or",
        "rules": [keep],
        "trigger": {"kind": "Schedule", "settings": {"cron": "0 0 0 * * *"}, "references": {}},
        "scope": {"level": "project", "ref": number},
    }
    a.made("/retentions", policy)
    group = a.made("/usergroups", {"group_name": f"g-{project}", "group_type": 3})
    a.made(f"/projects/{project}/members", {"role_id": 3, "member_group": {"id": group}})
    registry = {
        "name": f"r-{project}",
        "type": "seawall",
        "url": site.b.url,
        "credential": {"type": "basic", "access_key": "admin", "access_secret": PASSWORD},
    }
    a.made("/registries", registry)
    [made] = a.get("/registries", params={"q": f"name={registry['name']}"}).json()
    copy = {
        "name": f"copy-{project}",
        "dest_registry": {"id": made["id"]},
        "filters": [{"type": "name", "value": f"{project}/**"}],
        "trigger": {"type": "scheduled", "trigger_settings": {"cron": "0 0 1 * * *"}},
        "enabled": True,
    }
    a.made("/replication/policies", copy)
    allowed = {"items": [{"cve_id": "CVE-2021-44228"}], "expires_at": 4102444800}
    assert a.put("/system/CVEAllowlist", json=allowed).status_code == 200
    assert a.put("/configurations", json={"banner_message": project}).status_code == 200
    assert a.put(f"/projects/{project}", json={"metadata": {"auto_scan": "true"}}).status_code == 200
    # On the other one, at once, and usable there: the registry's password was sealed anew.
    there = _id(b, project)
    [found] = b.get(f"/projects/{project}/immutabletagrules").json()
    assert found["tag_selectors"][0]["pattern"] == "v*"
    metadata = b.get(f"/projects/{project}").json()["metadata"]
    assert metadata["auto_scan"] == "true"
    retention = b.get(f"/retentions/{metadata['retention_id']}").json()
    assert retention["scope"]["ref"] == there
    assert retention["trigger"]["settings"]["cron"] == "0 0 0 * * *"
    members = b.get(f"/projects/{project}/members").json()
    assert f"g-{project}" in [member["entity_name"] for member in members]
    [other] = b.get("/registries", params={"q": f"name={registry['name']}"}).json()
    assert b.post("/registries/ping", json={"id": other["id"]}).status_code == 200
    [copied] = b.get("/replication/policies", params={"q": f"name={copy['name']}"}).json()
    assert copied["dest_registry"]["id"] == other["id"]
    assert copied["trigger"]["trigger_settings"]["cron"] == "0 0 1 * * *"
    assert b.get("/system/CVEAllowlist").json()["items"] == allowed["items"]
    shown = b.get("/configurations").json()["banner_message"]
    assert shown["value"] == project
    # The other way, and away again.
    assert b.delete(f"/replication/policies/{copied['id']}").status_code == 200
    assert b.delete(f"/registries/{other['id']}").status_code == 200
    assert not a.get("/registries", params={"q": f"name={registry['name']}"}).json()
    schedules = a.get("/schedules", params={"page_size": 100}).json()
    assert [item["cron"] for item in schedules].count("0 0 1 * * *") == 0
    site.settle()


def test_who_people_and_programs_are_on_both(site: Site, tmp_path: Path) -> None:
    directory = Slapd(tmp_path / "slapd", free_port())
    directory.root.mkdir()
    with open_issuer() as issuer:
        directory.start()
        try:
            made = [Identity(here, directory, issuer) for here in (site.a, site.b)]
            site.settle()
            for one, there in zip(made, (site.b, site.a), strict=True):
                one.check(there)
            with site.apart():
                made[0].check(site.b)
            # Gone on one is gone on the other.
            a, b = site.api(site.a), site.api(site.b)
            assert a.delete(f"{SOURCES}/{made[0].mark}").status_code == 200
            site.settle()
            # They have met again only just now.
            until(lambda: b.get(f"{SOURCES}/{made[0].mark}").status_code == 404)
            url = f"{site.b.url}/api/v2.0/users/current"
            assert httpx.get(url, auth=(made[0].linked, PASSWORD), timeout=60).status_code == 401
        finally:
            directory.stop()


def test_a_hosted_name_of_a_peer_shadows_an_upstream_s(site: Site, tmp_path: Path) -> None:
    """No upstream is asked for a name that a peer may have, announced or not (dependency confusion)."""
    a, b = site.api(site.a), site.api(site.b)
    upstream = Registry(tmp_path / "upstream")
    try:
        upstream.start()
        upstream.create_project("team", public=True)
        for name in ("ours", "known", "told", "free"):
            push(upstream.url, upstream.admin, f"team/{name}", "v1", name.encode())
        own, hub, both = (f"{word}{secrets.token_hex(3)}" for word in ("own", "hub", "both"))
        registry = {"name": hub, "url": upstream.url, "type": "harbor", "insecure": True}
        number = int(a.post("/registries", json=registry).headers["location"].rpartition("/")[2])
        a.made("/projects", {"project_name": own})
        a.made("/projects", {"project_name": hub, "registry_id": number})
        lists = {"virtual_members": f"{own},{hub}"}
        a.made("/projects", {"project_name": both, "metadata": lists})
        site.settle()

        def pull(name: str) -> httpx.Response:
            url = f"{site.a.url}/v2/{both}/team/{name}/manifests/v1"
            return httpx.get(url, auth=("admin", PASSWORD), timeout=60)

        assert pull("known").status_code == 200
        # A job stores it, and no process here runs any.
        with subprocess.Popen([*SEAWALL, "jobservice"], env=site.a.environment) as worker:
            try:
                until(lambda: a.get(f"/projects/{hub}/repositories/team%252Fknown").status_code == 200)
            finally:
                worker.terminate()
        with site.apart():
            ours = site.pusher(site.b, f"{own}/team/ours").image("v1", b"ours")
            # Other people's image of that name is at the upstream, which answers for names it gave before.
            refused = pull("ours")
            assert (refused.status_code, refused.json()["errors"][0]["code"]) == (503, "UNAVAILABLE")
            assert "a peer may have this name" in refused.text
            assert pull("known").status_code == 200
        # As soon as the peer answers again, and from then on.
        until(lambda: pull("ours").status_code == 200)
        assert pull("ours").headers["docker-content-digest"] == ours
        assert pull("free").status_code == 200
        told = site.pusher(site.b, f"{own}/team/told").image("v1", b"told")
        assert pull("told").headers["docker-content-digest"] == told
        site.settle()
        assert b.get(f"/projects/{both}").json()["metadata"]["virtual_members"] == f"{own},{hub}"
    finally:
        upstream.close()
