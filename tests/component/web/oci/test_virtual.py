"""Virtual projects: which member answers, with whose rights, and names that must not be taken over."""

from __future__ import annotations

import json
import secrets
import subprocess
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import httpx
import pytest

from tests.support.digests import digest_of
from tests.support.oci.client import Client
from tests.support.processes import PASSWORD
from tests.support.registry import Registry
from tests.support.sites import MANIFEST, push

ADMIN = ("admin", PASSWORD)


@dataclass
class World:
    """A registry with projects, and an upstream behind its project `hub`."""

    here: Registry
    upstream: Registry

    def push(self, name: str, tag: str, text: str) -> str:
        """Push an image whose layer is `text`; returns its digest."""
        return push(self.here.url, ADMIN, name, tag, text.encode())

    def push_above(self, name: str, tag: str, text: str) -> str:
        """The same at the upstream."""
        return push(self.upstream.url, ADMIN, name, tag, text.encode())

    def proxy(self, name: str, url: str, public: bool = True) -> None:
        """Make a proxy-cache project of an upstream."""
        body = {"name": name, "url": url, "type": "harbor", "insecure": True}
        location = self.here.api("POST", "/registries", json=body).headers["location"]
        project = {"project_name": name, "registry_id": int(location.rpartition("/")[2])}
        self.here.api("POST", "/projects", json={**project, "metadata": {"public": str(public).lower()}})

    def virtual(self, members: str, order: str = "first", public: bool = True) -> str:
        """A new virtual project; returns its name."""
        name = f"v{secrets.token_hex(4)}"
        metadata = {"public": str(public).lower(), "virtual_members": members, "virtual_order": order}
        self.here.api("POST", "/projects", json={"project_name": name, "metadata": metadata})
        return name

    def get(
        self,
        path: str,
        auth: tuple[str, str] | None = ADMIN,
        method: str = "GET",
        headers: dict[str, str] | None = None,
    ) -> httpx.Response:
        """Ask the registry API, with the password."""
        return httpx.request(
            method, f"{self.here.url}/v2/{path}", auth=auth, timeout=30, headers=headers or {}
        )

    def digest(self, path: str, auth: tuple[str, str] | None = ADMIN) -> str | None:
        """What a reference is answered with, None for 404."""
        answer = self.get(path, auth)
        assert answer.status_code in (200, 404), answer.text
        return answer.headers["docker-content-digest"] if answer.is_success else None


@pytest.fixture(scope="module")
def world(tmp_path_factory: pytest.TempPathFactory) -> Iterator[World]:
    folder = tmp_path_factory.mktemp("virtual")
    found = World(Registry(folder / "here"), Registry(folder / "upstream"))
    try:
        for server in (found.here, found.upstream):
            server.start()
        found.upstream.create_project("team", public=True)
        found.proxy("hub", found.upstream.url)
        for name in ("one", "two"):
            found.here.create_project(name, public=True)
        found.here.create_project("secret")
        found.here.create_user("mara", "Secret-12345")
        yield found
    finally:
        found.here.close()
        found.upstream.close()


def test_the_first_that_has_the_name_answers(world: World) -> None:
    name = world.virtual("two,one,hub")
    first, second = world.push("one/app", "v1", "one"), world.push("two/app", "v1", "two")
    only = world.push("one/only", "v1", "only")
    older = world.push("one/app", "old", "old")
    assert world.digest(f"{name}/app/manifests/v1") == second
    assert world.digest(f"{name}/only/manifests/v1") == only
    # The name, not the tag: two has it, so that one's tag is not there.
    assert world.digest(f"{name}/app/manifests/old") is None
    assert world.digest(f"{name}/app/manifests/{older}") is None
    assert world.get(f"{name}/app/tags/list").json() == {"name": f"{name}/app", "tags": ["v1"]}
    assert first != second
    # An image's blobs, by GET and HEAD.
    manifest = world.get(f"{name}/app/manifests/v1").json()
    for item in [manifest["config"], *manifest["layers"]]:
        answer = world.get(f"{name}/app/blobs/{item['digest']}")
        assert digest_of(answer.content) == item["digest"]
        assert world.get(f"{name}/app/blobs/{item['digest']}", method="HEAD").status_code == 200
    missing = world.get(f"{name}/app/blobs/{digest_of(b'none')}")
    assert (missing.status_code, missing.json()["errors"][0]["code"]) == (404, "BLOB_UNKNOWN")
    assert world.get(f"{name}/team/nothing/manifests/v1").status_code == 404


def test_the_newest_tag_wins_where_that_is_wanted(world: World) -> None:
    name = world.virtual("one,two", "newest")
    world.push("two/tool", "v1", "two")
    late = world.push("one/tool", "v1", "one")
    other = world.push("two/tool", "v2", "other")
    assert world.digest(f"{name}/tool/manifests/v1") == late
    later = world.push("two/tool", "v1", "again")
    assert world.digest(f"{name}/tool/manifests/v1") == later
    assert world.digest(f"{name}/tool/manifests/{late}") == late
    assert world.digest(f"{name}/tool/manifests/v2") == other
    assert world.get(f"{name}/tool/tags/list").json()["tags"] == ["v1", "v2"]
    pages = world.get(f"{name}/tool/tags/list?n=1")
    assert pages.json()["tags"] == ["v1"]
    assert f"/v2/{name}/tool/tags/list?n=1&last=v1" in pages.headers["link"]
    assert world.get(f"{name}/tool/tags/list?n=1&last=v1").json()["tags"] == ["v2"]


def test_a_hosted_name_shadows_an_upstream_s(world: World) -> None:
    name = world.virtual("hub,one")
    theirs = world.push_above("team/lib", "v1", "theirs")
    assert world.digest(f"{name}/team/lib/manifests/v1") == theirs
    assert world.get(f"{name}/team/lib/tags/list").json()["tags"] == ["v1"]
    # From the day on which somebody here has the name, only theirs is pulled, though the upstream is first.
    ours = world.push("one/team/lib", "v2", "ours")
    assert world.digest(f"{name}/team/lib/manifests/v1") is None
    assert world.digest(f"{name}/team/lib/manifests/{theirs}") is None
    assert world.digest(f"{name}/team/lib/manifests/v2") == ours


def test_the_rights_of_the_member_count(world: World) -> None:
    mara = ("mara", "Secret-12345")
    name = world.virtual("secret,hub")
    mine = world.push("secret/team/hidden", "v1", "mine")
    world.push_above("team/hidden", "v1", "theirs")
    assert world.digest(f"{name}/team/hidden/manifests/v1") == mine
    # Neither what she may not see nor, in its place, what the upstream has.
    world.push_above("team/known", "v1", "known")
    for path in ("manifests/v1", "tags/list"):
        assert world.get(f"{name}/team/hidden/{path}", mara).status_code == 404
        # Strangers are asked to sign in, whether there is such a name or not.
        assert world.get(f"{name}/team/hidden/{path}", None).status_code == 401
        assert world.get(f"{name}/team/nothing/{path}", None).status_code == 401
        assert world.get(f"{name}/team/known/{path}", None).status_code == 200
    # By tokens, which are asked for the name that the client knows.
    for login, wanted in ((ADMIN, mine), (mara, None)):
        client = Client(world.here.url, login)
        with client:
            answer = client.request("GET", f"/v2/{name}/team/hidden/manifests/v1")
            assert answer.headers.get("docker-content-digest") == wanted, answer.text
    # A private virtual project is for its members.
    private = world.virtual("one", public=False)
    assert world.get(f"{private}/app/manifests/v1", mara).status_code in (401, 403)


def test_a_member_s_refusal_is_the_client_s(world: World) -> None:
    # She may not pull from the first member; what the second says of its own content is no secret.
    name, mara = world.virtual("secret,one,hub"), ("mara", "Secret-12345")
    world.push("one/refused", "v1", "mine")
    world.push_above("team/refused", "v1", "theirs")
    for path in ("refused", "team/refused"):
        layer = world.get(f"{name}/{path}/manifests/v1").json()["layers"][0]["digest"]
        for auth in (ADMIN, mara, None):
            answer = world.get(f"{name}/{path}/blobs/{layer}", auth, headers={"Range": "bytes=99-"})
            assert answer.status_code == 416, (path, answer.text)
    world.here.api("PUT", "/projects/one", json={"metadata": {"enable_content_trust": "true"}})
    try:
        for auth in (ADMIN, mara, None):
            assert world.get(f"{name}/refused/manifests/v1", auth).status_code == 412
    finally:
        world.here.api("PUT", "/projects/one", json={"metadata": {"enable_content_trust": "false"}})


def test_a_client_s_whole_pull(world: World, tmp_path: Path) -> None:
    """skopeo asks for a token for the name that it knows; a private member's blobs are among what it gets."""
    name = world.virtual("secret,one", public=False)
    world.push("secret/whole", "v1", "whole")
    source = f"docker://{world.here.url.removeprefix('http://')}/{name}/whole:v1"
    for creds, code in ((f"admin:{PASSWORD}", 0), ("mara:Secret-12345", 1)):
        command = ["skopeo", "--insecure-policy", "copy", "--src-tls-verify=false", "--src-creds", creds]
        done = subprocess.run([*command, source, f"dir:{tmp_path}/{code}"], capture_output=True, text=True)
        assert done.returncode == code, done.stderr
    assert (tmp_path / "0" / digest_of(b"whole").removeprefix("sha256:")).read_bytes() == b"whole"


def test_it_takes_no_pushes(world: World) -> None:
    name = world.virtual("one")
    answer = world.get(f"{name}/app/blobs/uploads/", method="POST")
    assert (answer.status_code, answer.json()["errors"][0]["code"]) == (405, "DENIED")
    assert "virtual project" in answer.json()["errors"][0]["message"]
    assert world.get(f"{name}/app/manifests/v1", method="DELETE").status_code == 404
    # Nor is there a token for pushes, and a token for pulls gets an answer as clear.
    scopes = [f"repository:{name}/app:pull,push,delete", f"repository:{name}/app:*"]
    for scope in scopes:
        given = httpx.post(
            f"{world.here.url}/service/token",
            data={"grant_type": "password", "username": "admin", "password": PASSWORD, "scope": scope},
        ).json()
        assert given["scope"] == f"repository:{name}/app:pull repository:one/app:pull"
        bearer = {"Authorization": f"Bearer {given['token']}"}
        answer = httpx.post(f"{world.here.url}/v2/{name}/app/blobs/uploads/", headers=bearer)
        assert (answer.status_code, "virtual project" in answer.text) == (405, True)


def test_rules_that_would_do_nothing_are_refused(world: World) -> None:
    name = world.virtual("one")
    number = world.here.api("GET", f"/projects/{name}").json()["project_id"]
    chosen = {
        "tag_selectors": [{"kind": "doublestar", "decoration": "matches", "pattern": "**"}],
        "scope_selectors": {
            "repository": [{"kind": "doublestar", "decoration": "repoMatches", "pattern": "**"}]
        },
    }
    keep = {"action": "retain", "template": "latestPushedK", "params": {"latestPushedK": 2}, **chosen}
    source = {"name": f"r{name}", "url": world.upstream.url, "type": "seawall", "insecure": True}
    registry = int(world.here.api("POST", "/registries", json=source).headers["location"].rpartition("/")[2])
    for path, body, status in (
        (
            "/retentions",
            {"algorithm": "or", "rules": [keep], "scope": {"level": "project", "ref": number}},
            412,
        ),
        (f"/projects/{name}/immutabletagrules", {"action": "immutable", "template": "x", **chosen}, 412),
        (
            "/replication/policies",
            {"name": f"p{name}", "src_registry": {"id": registry}, "dest_namespace": f"{name}/x"},
            400,
        ),
    ):
        answer = httpx.post(f"{world.here.url}/api/v2.0{path}", json=body, auth=ADMIN)
        assert (answer.status_code, "virtual project" in answer.text) == (status, True), answer.text


def test_pull_policies_that_would_hold_nothing_back_are_refused(world: World) -> None:
    """Nor does a project that has one become virtual: somebody relies on it."""
    name = world.virtual("one")
    held = f"held{name}"
    projects = f"{world.here.url}/api/v2.0/projects"
    for policy in ("prevent_vul", "enable_content_trust", "enable_content_trust_cosign"):
        on, off = {policy: "True"}, {policy: "false"}
        world.here.api("POST", "/projects", json={"project_name": held, "metadata": on})
        made = {"project_name": f"{held}x", "metadata": {**on, "virtual_members": "one"}}
        for answer in (
            httpx.put(f"{projects}/{name}", json={"metadata": on}, auth=ADMIN),
            httpx.post(f"{projects}/{name}/metadatas", json=on, auth=ADMIN),
            httpx.put(f"{projects}/{held}", json={"metadata": {"virtual_members": "one"}}, auth=ADMIN),
            httpx.post(projects, json=made, auth=ADMIN),
        ):
            assert (answer.status_code, policy in answer.text) == (412, True), answer.text
        metadata = world.here.api("GET", f"/projects/{name}").json()["metadata"]
        assert metadata.get(policy, "false") == "false"
        world.here.api("PUT", f"/projects/{name}", json={"metadata": off})
        world.here.api("DELETE", f"/projects/{held}")


def test_an_unfinished_push_cannot_end_in_it(world: World) -> None:
    name = f"v{secrets.token_hex(4)}"
    world.here.create_project(name)
    begun = world.get(f"{name}/app/blobs/uploads/", method="POST").headers["location"]
    world.here.api("PUT", f"/projects/{name}", json={"metadata": {"virtual_members": "one"}})
    ended = httpx.put(begun, params={"digest": digest_of(b"x")}, content=b"x", auth=ADMIN)
    assert ended.status_code in (404, 405), ended.text
    with pytest.raises(httpx.HTTPStatusError, match="405"):
        world.push(f"{name}/app", "v1", "x")


def test_referrers_are_the_member_s(world: World) -> None:
    name = world.virtual("one")
    digest = world.push("one/signed", "v1", "signed")
    payload = {
        "schemaVersion": 2,
        "mediaType": "application/vnd.oci.image.manifest.v1+json",
        "artifactType": "application/x.note",
        "config": {"mediaType": "application/vnd.oci.empty.v1+json", "digest": digest_of(b"{}"), "size": 2},
        "layers": [],
        "subject": {
            "mediaType": "application/vnd.oci.image.manifest.v1+json",
            "digest": digest,
            "size": len(world.get(f"one/signed/manifests/{digest}").content),
        },
    }
    with Client(world.here.url, ADMIN) as client:
        repo = client.repo("one/signed")
        repo.push_blob(b"{}")
        assert repo.put_manifest("note", json.dumps(payload).encode(), MANIFEST).status_code == 201
    listed = world.get(f"{name}/signed/referrers/{digest}").json()["manifests"]
    assert [item["artifactType"] for item in listed] == ["application/x.note"]
    assert world.get(f"{name}/signed/referrers/{digest_of(b'none')}").json()["manifests"] == []


def test_an_upstream_that_is_away_is_not_passed_over(world: World, tmp_path: Path) -> None:
    """The next upstream may have something else of that name."""
    away = Registry(tmp_path / "away")
    try:
        away.start()
        world.proxy("away", away.url)
    finally:
        away.close()
    world.push_above("team/there", "v1", "there")
    assert world.digest(f"{world.virtual('hub,away')}/team/there/manifests/v1") is not None
    first = world.virtual("away,hub")
    for path in ("manifests/v1", "tags/list"):
        assert world.get(f"{first}/team/there/{path}").status_code == 503
    # That nobody can say is no sign either, for who may not see all that is hosted.
    behind = world.virtual("secret,away")
    world.push("secret/team/mine", "v1", "mine")
    for path in ("team/mine/manifests/v1", "team/none/manifests/v1", "team/none/tags/list"):
        assert world.get(f"{behind}/{path}", None).status_code == 401
        assert world.get(f"{behind}/{path}", ("mara", "Secret-12345")).status_code == 404
    assert world.get(f"{behind}/team/none/manifests/v1").status_code == 503


def test_a_proxied_member_that_is_not_for_all_is_not_passed_over(world: World, tmp_path: Path) -> None:
    """Else two people would pull different images by one name."""
    other = Registry(tmp_path / "other")
    try:
        other.start()
        other.create_project("team", public=True)
        mine = push(other.url, ADMIN, "team/both", "v1", b"mine")
        world.push_above("team/both", "v1", "theirs")
        world.proxy("inner", other.url, public=False)
        name = world.virtual("inner,hub")
        assert world.digest(f"{name}/team/both/manifests/v1") == mine
        for path in ("manifests/v1", "tags/list"):
            assert world.get(f"{name}/team/both/{path}", ("mara", "Secret-12345")).status_code == 404
            assert world.get(f"{name}/team/both/{path}", None).status_code == 401
    finally:
        other.close()


def test_a_newer_tag_that_is_not_for_all_is_not_passed_over(world: World) -> None:
    name = world.virtual("one,secret", "newest")
    world.push("one/both", "v1", "older")
    newer = world.push("secret/both", "v1", "newer")
    assert world.digest(f"{name}/both/manifests/v1") == newer
    assert world.digest(f"{name}/both/manifests/v1", ("mara", "Secret-12345")) is None
    # What is named by its digest is the same wherever it is.
    digest = world.digest("one/both/manifests/v1")
    assert world.digest(f"{name}/both/manifests/{digest}", ("mara", "Secret-12345")) == digest


def test_a_name_that_an_upstream_does_not_take(world: World) -> None:
    """Names of one part are an error of Harbor's, and no outage."""
    assert world.get("hub/single/manifests/v1").status_code == 404


@pytest.mark.parametrize(
    ("members", "why"),
    [
        ("nosuch", "does not exist"),
        ("one,one", "more than once"),
        ("One", ""),
        ("VIRTUAL", "virtual"),
    ],
)
def test_lists_that_cannot_be(world: World, members: str, why: str) -> None:
    if members == "VIRTUAL":
        members = world.virtual("one")
    metadata = {"virtual_members": members}
    name = f"v{secrets.token_hex(4)}"
    url = f"{world.here.url}/api/v2.0/projects"
    answer = httpx.post(url, json={"project_name": name, "metadata": metadata}, auth=ADMIN)
    assert answer.status_code == 400, answer.text
    assert why in answer.text
    assert httpx.head(url, params={"project_name": name}, auth=ADMIN).status_code == 404


def test_a_long_list_is_read_to_its_end(world: World) -> None:
    name = world.virtual("one" + " " * 6000 + ",two")
    assert world.here.api("GET", f"/projects/{name}").json()["metadata"]["virtual_members"] == "one,two"


def test_projects_that_cannot_be_virtual(world: World) -> None:
    world.push("two/full", "v1", "full")
    used = world.virtual("one")
    for name, why in (("hub", "proxy cache"), ("two", "has repositories")):
        answer = httpx.put(
            f"{world.here.url}/api/v2.0/projects/{name}",
            json={"metadata": {"virtual_members": "secret"}},
            auth=ADMIN,
        )
        assert (answer.status_code, why in answer.text) == (400, True), answer.text
    world.here.create_project("base", public=True)
    world.here.api("PUT", f"/projects/{used}", json={"metadata": {"virtual_members": "base"}})
    answer = httpx.put(
        f"{world.here.url}/api/v2.0/projects/base", json={"metadata": {"virtual_members": "one"}}, auth=ADMIN
    )
    assert (answer.status_code, "is a member" in answer.text) == (400, True), answer.text


def test_only_administrators_make_them(world: World) -> None:
    mara = ("mara", "Secret-12345")
    name = world.virtual("one")
    world.here.add_member(name, "mara", "projectAdmin")
    url = f"{world.here.url}/api/v2.0/projects"
    made = httpx.post(
        url, json={"project_name": "mine", "metadata": {"virtual_members": "secret"}}, auth=mara
    )
    assert made.status_code == 403
    for method, path, body in (
        ("PUT", f"/{name}", {"metadata": {"virtual_members": "one,secret"}}),
        ("PUT", f"/{name}/metadatas/virtual_members", {"virtual_members": "secret"}),
        ("POST", f"/{name}/metadatas", {"virtual_order": "newest"}),
        ("DELETE", f"/{name}/metadatas/virtual_members", None),
    ):
        answer = httpx.request(method, url + path, json=body, auth=mara)
        assert answer.status_code in (403, 409), (path, answer.text)
    # What she may change is hers, with the list as it is in the same body.
    body = {"metadata": {"virtual_members": "one", "auto_scan": "true"}}
    assert httpx.put(f"{url}/{name}", json=body, auth=mara).status_code == 200
    assert world.here.api("GET", f"/projects/{name}").json()["metadata"]["virtual_members"] == "one"


def test_another_project_of_a_member_s_name_is_none(world: World) -> None:
    world.here.create_project("gone", public=True)
    name = world.virtual("gone,one")
    world.here.api("DELETE", "/projects/gone")
    assert world.here.api("GET", f"/projects/{name}").json()["metadata"]["virtual_members"] == "one"
    world.here.create_project("gone", public=True)
    world.push("gone/app2", "v1", "taken over")
    assert world.digest(f"{name}/app2/manifests/v1") is None
    # With nobody left it takes no pushes still.
    name = world.virtual("gone")
    world.here.api("DELETE", "/projects/gone/repositories/app2")
    world.here.api("DELETE", "/projects/gone")
    assert world.get(f"{name}/app/blobs/uploads/", method="POST").status_code == 405
