"""Repositories, artifacts, tags, labels, quotas, search over the API."""

from __future__ import annotations

import json
import re
import secrets
from collections.abc import Callable, Iterator
from typing import Any

import pytest

from tests.support.api import Api, code
from tests.support.api_pusher import OCI_MANIFEST, Pusher
from tests.support.artifacts import CHART
from tests.support.registry import Registry
from tests.support.waiting import until


@pytest.fixture
def pusher(registry: Registry) -> Iterator[Pusher]:
    """The administrator at the registry API."""
    made = Pusher(registry)
    yield made
    made.client.close()


def test_life_of_an_artifact(admin: Api, pusher: Pusher) -> None:
    project = admin.project()
    name = f"{project}/deep/app"
    config = {"architecture": "arm64", "os": "linux", "history": [{"created_by": "RUN"}]}
    digest = pusher.image(name, "v1", config=config)
    base = f"/projects/{project}/repositories/deep%252Fapp"
    [repository] = admin.get(f"/projects/{project}/repositories").json()
    assert (repository["name"], repository["artifact_count"]) == (name, 1)
    listed = admin.get(f"{base}/artifacts", params={"with_tag": True})
    assert listed.headers["X-Total-Count"] == "1"
    [artifact] = listed.json()
    assert artifact["digest"] == digest
    assert artifact["type"] == "IMAGE"
    assert artifact["extra_attrs"]["architecture"] == "arm64"
    assert [tag["name"] for tag in artifact["tags"]] == ["v1"]
    assert artifact["pull_time"].startswith("0001-01-01")
    link = artifact["addition_links"]["build_history"]["href"]
    assert admin.get(link.removeprefix("/api/v2.0")).json() == [{"created_by": "RUN"}]
    icon = admin.get(f"/icons/{artifact['icon']}").json()
    assert icon["content-type"] == "image/svg+xml"
    made = admin.post(f"{base}/artifacts/v1/tags", json={"name": "stable"})
    assert made.status_code == 201
    assert admin.post(f"{base}/artifacts/v1/tags", json={"name": "stable"}).status_code == 409
    tags = admin.get(f"{base}/artifacts/{digest}/tags", params={"sort": "name"})
    assert [tag["name"] for tag in tags.json()] == ["stable", "v1"]
    assert tags.headers["X-Total-Count"] == "2"
    assert admin.delete(f"{base}/artifacts/{digest}/tags/v1").status_code == 200
    assert admin.get(f"{base}/artifacts/v1").status_code == 404
    assert admin.put(base, json={"description": "hello"}).status_code == 200
    assert admin.get(base).json()["description"] == "hello"
    copied = admin.post(
        f"/projects/{project}/repositories/copy/artifacts", params={"from": f"{name}@{digest}"}
    )
    assert copied.status_code == 201
    found = admin.get(copied.headers["Location"].removeprefix("/api/v2.0"))
    assert found.json()["digest"] == digest
    both = admin.get(f"/projects/{project}/artifacts")
    assert both.headers["X-Total-Count"] == "2"
    assert admin.delete(f"{base}/artifacts/{digest}").status_code == 200
    assert admin.get(base).json()["artifact_count"] == 0
    assert admin.delete(base).status_code == 200
    assert admin.get(base).status_code == 404
    # As in Harbor: a repository that is not there has no artifacts.
    assert admin.get(f"{base}/artifacts").json() == []
    assert admin.delete(f"/projects/{project}").status_code == 412


def test_pages_and_queries(admin: Api, pusher: Pusher) -> None:
    project = admin.project()
    digests = [pusher.image(f"{project}/a", f"t{number}") for number in range(5)]
    path = f"/projects/{project}/repositories/a/artifacts"
    seen: list[str] = []
    following: str | None = f"/api/v2.0{path}?page=1&page_size=2"
    while following is not None:
        answer = admin.get(following.removeprefix("/api/v2.0"))
        assert answer.headers["X-Total-Count"] == "5"
        seen += [item["digest"] for item in answer.json()]
        links = [part for part in answer.headers.get("Link", "").split(" , ") if 'rel="next"' in part]
        following = links[0].partition("<")[2].partition(">")[0] if links else None
    assert seen == digests[::-1]
    third = admin.get(path, params={"page": 3, "page_size": 2}).json()
    assert [item["digest"] for item in third] == digests[:1]
    for query, count in {
        "tags=t1": 1,
        "tags=~t": 5,
        "tags=nil": 0,
        "tags=*": 5,
        "type=CHART": 0,
        "type=IMAGE,tags={t1 t2}": 2,
        f"digest={digests[0]}": 1,
        "base=*": 5,
        "push_time=[2020-01-01 00:00:00~]": 5,
    }.items():
        answer = admin.get(path, params={"q": query})
        assert (answer.status_code, answer.headers["X-Total-Count"]) == (200, str(count)), query
    oldest = admin.get(path, params={"sort": "push_time"}).json()
    assert [item["digest"] for item in oldest] == digests
    for query in ("base=x", "tags=[a~b]", "labels=x"):
        assert code(admin.get(path, params={"q": query})) == "BAD_REQUEST"
    assert code(admin.get(path, params={"after": "x"})) == "BAD_REQUEST"


def test_labels(admin: Api, pusher: Pusher) -> None:
    project = admin.project()
    project_id = admin.get(f"/projects/{project}").json()["project_id"]
    digest = pusher.image(f"{project}/a", "v1")
    path = f"/projects/{project}/repositories/a/artifacts"
    mine = admin.made("/labels", {"name": "fine", "color": "#00ff00", "scope": "p", "project_id": project_id})
    name = f"g{secrets.token_hex(4)}"
    everywhere = admin.made("/labels", {"name": name, "scope": "g"})
    again = {"name": "fine", "scope": "p", "project_id": project_id}
    assert admin.post("/labels", json=again).status_code == 409
    assert admin.post("/labels", json={"name": "x", "scope": "z"}).status_code == 400
    assert admin.post("/labels", json={"name": "x", "scope": "g", "color": "red"}).status_code == 400
    for label in (mine, everywhere):
        assert admin.post(f"{path}/{digest}/labels", json={"id": label}).status_code == 200
    assert admin.post(f"{path}/{digest}/labels", json={"id": mine}).status_code == 409
    other = admin.made(
        "/labels",
        {
            "name": "other",
            "scope": "p",
            "project_id": admin.get(f"/projects/{admin.project()}").json()["project_id"],
        },
    )
    assert admin.post(f"{path}/{digest}/labels", json={"id": other}).status_code == 404
    found = admin.get(path, params={"with_label": True, "q": f"labels=({mine} {everywhere})"}).json()
    assert {label["name"] for label in found[0]["labels"]} == {"fine", name}
    assert admin.delete(f"{path}/{digest}/labels/{mine}").status_code == 200
    assert admin.get(path, params={"q": f"labels=({mine})"}).json() == []
    listed = admin.get("/labels", params={"scope": "p", "project_id": project_id}).json()
    assert [label["id"] for label in listed] == [mine]
    assert admin.put(f"/labels/{mine}", json={"name": "finer", "color": "#112233"}).status_code == 200
    assert admin.get(f"/labels/{mine}").json()["name"] == "finer"
    assert admin.delete(f"/labels/{mine}").status_code == 200
    assert admin.get(f"/labels/{mine}").status_code == 404
    assert admin.delete(f"/labels/{everywhere}").status_code == 200


def test_quota(admin: Api, pusher: Pusher) -> None:
    project = admin.project()
    project_id = admin.get(f"/projects/{project}").json()["project_id"]
    [quota] = admin.get("/quotas", params={"reference": "project", "reference_id": project_id}).json()
    assert quota["ref"]["name"] == project
    assert quota["used"] == {"storage": 0}
    pusher.image(f"{project}/a", "v1")
    used = admin.get(f"/quotas/{quota['id']}").json()["used"]["storage"]
    assert used > 100
    assert admin.get(f"/projects/{project}/summary").json()["quota"]["used"]["storage"] == used
    limit = {"hard": {"storage": used + 50}}
    assert admin.put(f"/quotas/{quota['id']}", json=limit).status_code == 200
    refused = pusher.blob(f"{project}/a", bytes(51))
    assert (refused.status_code, refused.json()["errors"][0]["code"]) == (403, "DENIED")
    assert "quota" in refused.json()["errors"][0]["message"]
    assert pusher.blob(f"{project}/a", bytes(50)).status_code == 201
    assert code(admin.put("/quotas/99999999", json=limit)) == "NOT_FOUND"
    assert admin.put(f"/quotas/{quota['id']}", json={"hard": {"storage": 0}}).status_code == 400


def test_chart(admin: Api, pusher: Pusher) -> None:
    project = admin.project()
    pusher.image(
        f"{project}/web",
        "1.0.0",
        layer=CHART,
        config={"name": "web", "version": "1.0.0"},
        config_type="application/vnd.cncf.helm.config.v1+json",
        layer_type="application/vnd.cncf.helm.chart.content.v1.tar+gzip",
    )
    path = f"/projects/{project}/repositories/web/artifacts/1.0.0"
    artifact = admin.get(path).json()
    assert (artifact["type"], artifact["extra_attrs"]["name"]) == ("CHART", "web")
    values = admin.get(f"{path}/additions/values.yaml")
    assert (values.text, values.headers["content-disposition"]) == ("replicas: 2\n", "attachment")
    assert admin.get(f"{path}/additions/dependencies").json()[0]["name"] == "db"
    assert code(admin.get(f"{path}/additions/build_history")) == "BAD_REQUEST"


def test_search_and_statistics(
    admin: Api, anonymous: Api, as_user: Callable[[str], Api], pusher: Pusher
) -> None:
    private, public = admin.project(), admin.project(public="true")
    word = f"w{secrets.token_hex(5)}"
    for project in (private, public):
        pusher.image(f"{project}/{word}", "v1")
    found = admin.get("/search", params={"q": word}).json()["repository"]
    assert {item["project_name"] for item in found} == {private, public}
    seen = anonymous.get("/search", params={"q": word}).json()["repository"]
    assert [item["repository_name"] for item in seen] == [f"{public}/{word}"]
    assert anonymous.get("/search", params={"q": private}).json()["project"] == []
    everything = admin.get("/statistics").json()
    assert everything["total_storage_consumption"] > 0
    assert everything["total_repo_count"] >= 2
    assert anonymous.get("/statistics").status_code == 401
    _, name = admin.user()
    mine = as_user(name).get("/statistics").json()
    assert mine["private_project_count"] == 0
    listed = as_user(name).get("/repositories", params={"q": f"name=~{word}"}).json()
    assert [item["name"] for item in listed] == [f"{public}/{word}"]


def test_pulls_are_counted(admin: Api, pusher: Pusher) -> None:
    project = admin.project()
    pusher.image(f"{project}/a", "v1")
    assert pusher.client.get(f"/v2/{project}/a/manifests/v1").status_code == 200
    until(lambda: admin.get(f"/projects/{project}/repositories/a").json()["pull_count"])
    artifact = admin.get(f"/projects/{project}/repositories/a/artifacts/v1").json()
    assert not artifact["pull_time"].startswith("0001")
    assert not artifact["tags"][0]["pull_time"].startswith("0001")


def test_audit_log_of_content(admin: Api, pusher: Pusher) -> None:
    project = admin.project()
    digest = pusher.image(f"{project}/a", "v1")
    assert pusher.client.get(f"/v2/{project}/a/manifests/v1").status_code == 200
    path = f"/projects/{project}/repositories/a/artifacts/{digest}"
    assert admin.delete(f"{path}/tags/v1").status_code == 200
    assert admin.delete(path).status_code == 200
    expected = {
        ("create", f"{project}/a:v1"),
        ("pull", f"{project}/a:v1"),
        ("delete", f"{project}/a:v1"),
        ("delete", f"{project}/a@{digest}"),
    }
    logs: list[dict[str, Any]] = []

    def told() -> list[tuple[str, str]]:
        logs[:] = admin.get(f"/projects/{project}/logs", params={"page_size": 100}).json()
        return [(item["operation"], item["resource"]) for item in logs if "/a" in item["resource"]]

    until(lambda: set(told()) == expected, lambda: str(told()))
    assert len(told()) == len(expected)
    assert {item["username"] for item in logs} == {"admin"}


def test_parts_of_an_artifact_that_are_asked_for(admin: Api, pusher: Pusher) -> None:
    project = admin.project()
    name = f"{project}/app"
    child = pusher.image(name, "child")
    base = f"/projects/{project}/repositories/app/artifacts"
    size = len(pusher.client.get(f"/v2/{name}/manifests/{child}").content)
    index = {
        "schemaVersion": 2,
        "mediaType": "application/vnd.oci.image.index.v1+json",
        "manifests": [{"mediaType": OCI_MANIFEST, "digest": child, "size": size}],
    }
    pushed = pusher.manifest(name, "all", index)
    assert pushed.status_code == 201
    whole = pushed.headers["Docker-Content-Digest"]
    subject = {"mediaType": index["mediaType"], "digest": whole, "size": len(json.dumps(index))}
    signature = pusher.image(name, "sig", subject=subject)
    inherited = {"with_inherited_accessory": "true", "with_accessory": "true"}
    found = admin.get(f"{base}/{child}", params=inherited).json()
    assert "accessories" not in found
    [part] = found["inherited_accessories"]
    assert (part["digest"], part["subject_artifact_digest"]) == (signature, whole)
    assert "inherited_accessories" not in admin.get(f"{base}/{child}").json()
    listed = {item["digest"]: item for item in admin.get(base, params=inherited).json()}
    assert [item["digest"] for item in listed[whole]["accessories"]] == [signature]
    assert [item["digest"] for item in listed[child]["inherited_accessories"]] == [signature]
    plain = admin.get("/projects", params={"name": project, "with_detail": "false"}).json()
    assert "cve_allowlist" not in plain[0]
    whole = admin.get("/projects", params={"name": project}).json()
    assert plain[0]["repo_count"] == whole[0]["repo_count"] == 1


def test_filtered_lists_page_by_cursor(admin: Api, pusher: Pusher) -> None:
    project = admin.project()
    digests = [pusher.image(f"{project}/app", f"v{n}") for n in range(5)]
    pusher.image(f"{project}/app", "other")
    path = f"/projects/{project}/repositories/app/artifacts"
    for q, total in (("tags=~v", 5), ("type=IMAGE", 6), ("type=CHART", 0)):
        seen: list[str] = []
        url = f"/api/v2.0{path}?page_size=2&q={q}"
        while url:
            answer = admin.get(f"{str(admin.base_url).partition('/api')[0]}{url}")
            assert answer.headers["X-Total-Count"] == str(total)
            seen += [item["digest"] for item in answer.json()]
            following = re.search(r'<([^>]*)>; rel="next"', answer.headers.get("Link", ""))
            url = following[1] if following else ""
        assert len(seen) == total
        assert q != "tags=~v" or seen == digests[::-1]
