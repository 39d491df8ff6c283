"""What one instance has acknowledged is known to the next request at the other one, and never undone."""

from __future__ import annotations

import secrets
from collections.abc import Iterator
from typing import Any

import httpx
import pytest

from tests.support.api import Api
from tests.support.peer_site import Site
from tests.support.processes import PASSWORD
from tests.support.registry import Registry
from tests.support.signing import OCI, Pusher

RULE = {
    "action": "immutable",
    "template": "immutable_template",
    "priority": 0,
    "tag_selectors": [{"kind": "doublestar", "decoration": "matches", "pattern": "v*"}],
    "scope_selectors": {"repository": [{"kind": "doublestar", "decoration": "repoMatches", "pattern": "**"}]},
}
# Bytes of a layer whose copy is still under way when the next request comes.
LAYER = 2_000_000


def _turns(site: Site, count: int = 2) -> Iterator[tuple[Registry, Registry]]:
    """(where something is done, where it is used at once), each way in turn."""
    for turn in range(count):
        yield (site.a, site.b) if turn % 2 else (site.b, site.a)


def _image(pusher: Pusher, tag: str, size: int = LAYER) -> str:
    return pusher.image(tag, secrets.token_bytes(size))


def _again(pusher: Pusher, payload: bytes, tag: str) -> httpx.Response:
    return pusher.client.put(f"/manifests/{tag}", content=payload, headers={"Content-Type": OCI})


def _digests(site: Site, repository: str, tag: str) -> list[Any]:
    pulled = [site.pusher(which, repository).pull(tag) for which in (site.a, site.b)]
    return [item.headers.get("docker-content-digest", item.status_code) for item in pulled]


def _conflicts(site: Site, *names: str) -> list[Any]:
    """What lost in the projects of these names, wherever it was noticed."""
    site.settle()
    found = [item for which in (site.a, site.b) for item in site.api(which).get("/peers/conflicts").json()]
    return [item for item in found if any(name in item["key"] for name in names)]


@pytest.mark.parametrize("how", ["push", "copy", "tag"])
def test_an_immutable_tag_of_a_peer_stays(site: Site, how: str) -> None:
    projects = []
    for one, other in _turns(site):
        project, api = site.api(one).project(), site.api(other)
        projects.append(project)
        api.made(f"/projects/{project}/immutabletagrules", RULE)
        # What is to take the tag over is at the other one already.
        there = site.pusher(other, f"{project}/{'src' if how == 'copy' else 'app'}")
        there.image("other", secrets.token_bytes(10))
        payload = there.pull("other").content
        kept = _image(site.pusher(one, f"{project}/app"), "v1")
        if how == "push":
            refused = _again(there, payload, "v1")
        elif how == "copy":
            _again(there, payload, "v1")
            target = f"/projects/{project}/repositories/app/artifacts"
            refused = api.post(target, params={"from": f"{project}/src:v1"})
        else:
            target = f"/projects/{project}/repositories/app/artifacts/other/tags"
            refused = api.post(target, json={"name": "v1"})
        assert refused.status_code == (409 if how == "tag" else 412), refused.text
        assert _digests(site, f"{project}/app", "v1") == [kept, kept]
    assert _conflicts(site, *projects) == []


def test_a_tag_that_moves_from_instance_to_instance_is_no_conflict(site: Site) -> None:
    project = site.api(site.a).project()
    last = ""
    for one, _ in _turns(site, 4):
        last = _image(site.pusher(one, f"{project}/app"), "latest")
    assert _digests(site, f"{project}/app", "latest") == [last, last]
    assert _conflicts(site, project) == []
    assert _digests(site, f"{project}/app", "latest") == [last, last]


def test_a_project_is_not_empty_once_a_peer_took_a_push(site: Site) -> None:
    projects = []
    for one, other in _turns(site):
        project, api = site.api(one).project(), site.api(other)
        projects.append(project)
        pushed = _image(site.pusher(one, f"{project}/app"), "v1")
        refused = api.delete(f"/projects/{project}")
        assert refused.status_code == 412, refused.text
        assert _digests(site, f"{project}/app", "v1") == [pushed, pushed]

        project = site.api(one).project()
        _image(site.pusher(one, f"{project}/app"), "v1")
        assert not api.get(f"/projects/{project}/_deletable").json()["deletable"]
        assert api.get(f"/projects/{project}").json()["repo_count"] == 1
        listed = api.get(f"/projects/{project}/repositories").json()
        assert [item["name"] for item in listed] == [f"{project}/app"]
    assert _conflicts(site, *projects) == []


@pytest.mark.parametrize("how", ["manifest", "repository"])
def test_what_is_deleted_while_its_copy_comes_stays_deleted(site: Site, how: str) -> None:
    """The deletion comes to the other instance while that still fetches the content."""
    gone = []
    for one, other in _turns(site):
        project = site.api(one).project()
        pusher = site.pusher(one, f"{project}/app")
        digest = _image(pusher, "v1", 20 * LAYER)
        if how == "manifest":
            assert pusher.client.delete(f"/manifests/{digest}").status_code == 202
        else:
            repository = f"/projects/{project}/repositories/app"
            assert site.api(one).delete(repository).status_code == 200
        assert site.pusher(other, f"{project}/app").pull(digest).status_code == 404
        gone.append((f"{project}/app", digest))
    site.settle()
    for repository, digest in gone:
        for reference in (digest, "v1"):
            assert _digests(site, repository, reference) == [404, 404]


def test_labels_come_with_what_has_them(site: Site) -> None:
    for one, other in _turns(site):
        api, there = site.api(one), site.api(other)
        project = api.project()
        body = {"name": "kept", "scope": "p", "project_id": _id(api, project)}
        label = api.made("/labels", body)
        _image(site.pusher(one, f"{project}/app"), "v1")
        artifact = f"/projects/{project}/repositories/app/artifacts/v1"
        assert api.post(f"{artifact}/labels", json={"id": label}).status_code == 200
        shown = there.get(artifact, params={"with_label": "true"}).json()
        assert [item["name"] for item in shown["labels"]] == ["kept"]
        [mine] = there.get("/labels", params={"scope": "p", "project_id": _id(there, project)}).json()
        assert there.delete(f"{artifact}/labels/{mine['id']}").status_code == 200
        assert "labels" not in api.get(artifact, params={"with_label": "true"}).json()
    site.settle()


def test_routes_of_a_repository_know_what_a_peer_took(site: Site) -> None:
    for one, other in _turns(site):
        api = site.api(other)
        for path, method, wanted in (
            ("artifacts/v1/scan", "POST", {202, 412}),
            ("artifacts/v1/scan/stop", "POST", {202, 412}),
            ("artifacts/v1/additions/vulnerabilities", "GET", {200}),
            ("artifacts/v1/signatures", "GET", {200}),
            ("artifacts/v1/tags", "GET", {200}),
            ("artifacts", "GET", {200}),
            ("", "GET", {200}),
        ):
            project = site.api(one).project()
            _image(site.pusher(one, f"{project}/app"), "v1")
            body = {"scan_type": "vulnerability"} if method == "POST" else None
            url = f"/projects/{project}/repositories/app/{path}".rstrip("/")
            answer = api.request(method, url, json=body)
            assert answer.status_code in wanted, f"{path}: {answer.status_code} {answer.text}"
            if path == "artifacts":
                assert [item["tags"][0]["name"] for item in answer.json()] == ["v1"]
            if not path:
                assert answer.json()["artifact_count"] == 1


def test_a_blob_of_a_peer_is_mounted(site: Site) -> None:
    for one, other in _turns(site):
        source, target = site.api(one).project(), site.api(one).project()
        data = secrets.token_bytes(LAYER)
        digest = site.pusher(one, f"{source}/app").blob(data)["digest"]
        mounted = site.pusher(other, f"{target}/app").client.post(
            "/blobs/uploads/", params={"mount": digest, "from": f"{source}/app"}
        )
        assert mounted.status_code == 201, mounted.text
        for which in (one, other):
            assert site.pusher(which, f"{target}/app").client.get(f"/blobs/{digest}").content == data


def test_the_catalog_has_what_a_peer_took(site: Site) -> None:
    for one, other in _turns(site):
        project = site.api(one).project()
        _image(site.pusher(one, f"{project}/app"), "v1")
        assert f"{project}/app" in _catalog(other)
        assert site.api(other).delete(f"/projects/{project}/repositories/app").status_code == 200
        assert f"{project}/app" not in _catalog(one)


def test_a_program_is_let_in_through_both(site: Site) -> None:
    """Begun at one, approved at the other, asked about and ended at either."""
    for one, other in _turns(site):
        begun = _oauth(one, "device_authorization", client_name="a laptop")
        ask = {
            "grant_type": "urn:ietf:params:oauth:grant-type:device_code",
            "device_code": begun["device_code"],
        }
        assert _oauth(other, "token", **ask)["error"] == "authorization_pending"
        decision = {"user_code": begun["user_code"], "approve": True}
        assert site.api(other).put("/users/current/logins/device", json=decision).status_code == 200
        given = _oauth(one, "token", **ask)
        assert [_who(which, given["access_token"]) for which in (other, one)] == [200, 200]
        renew = {"grant_type": "refresh_token", "refresh_token": given["refresh_token"]}
        given = _oauth(other, "token", **renew)
        assert [_who(which, given["access_token"]) for which in (one, other)] == [200, 200]
        _oauth(one, "revoke", token=given["refresh_token"])
        assert [_who(which, given["access_token"]) for which in (other, one)] == [401, 401]


def _oauth(which: Registry, path: str, **fields: str) -> dict[str, Any]:
    data = {"client_id": "seawall-cli", **fields}
    answer = httpx.post(f"{which.url}/oauth/{path}", data=data, timeout=60)
    return dict(answer.json()) if answer.content else {}


def _who(which: Registry, token: str) -> int:
    headers = {"Authorization": f"Bearer {token}"}
    return httpx.get(f"{which.url}/api/v2.0/users/current", headers=headers, timeout=60).status_code


def _catalog(which: Registry) -> list[str]:
    url = f"{which.url}/v2/_catalog"
    answer = httpx.get(url, params={"n": 1000}, auth=("admin", PASSWORD), timeout=60)
    return list(answer.json()["repositories"])


def _id(api: Api, project: str) -> int:
    return int(api.get(f"/projects/{project}").json()["project_id"])
