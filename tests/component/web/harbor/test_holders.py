"""Where a layer is, and what is built on an image: of every project that the caller may look into."""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Iterator
from typing import Any

import pytest

from tests.support.api import Api, code
from tests.support.api_pusher import CONFIG, OCI_MANIFEST, Pusher
from tests.support.digests import digest_of
from tests.support.registry import Registry

INDEX = "application/vnd.oci.image.index.v1+json"
LAYER = "application/vnd.oci.image.layer.v1.tar+gzip"
Make = Callable[..., Api]


class Builder:
    """Builds images of given layers."""

    def __init__(self, pusher: Pusher) -> None:
        self._pusher = pusher

    def image(self, name: str, reference: str | None, *layers: bytes, note: str = "") -> dict[str, Any]:
        """Push an image of these layers; returns its descriptor."""
        config = json.dumps({"architecture": "amd64", "os": "linux", "note": note}).encode()
        for data in (config, *layers):
            assert self._pusher.blob(name, data).status_code == 201
        document = {
            "schemaVersion": 2,
            "mediaType": OCI_MANIFEST,
            "config": {"mediaType": CONFIG, "digest": digest_of(config), "size": len(config)},
            "layers": [{"mediaType": LAYER, "digest": digest_of(data), "size": len(data)} for data in layers],
        }
        return self.put(name, reference, document)

    def index(self, name: str, tag: str, *images: dict[str, Any]) -> dict[str, Any]:
        """Push an index of these images, of one architecture each."""
        names = ("amd64", "arm64", "s390x")
        listed = [
            {**image, "platform": {"os": "linux", "architecture": names[number]}}
            for number, image in enumerate(images)
        ]
        return self.put(name, tag, {"schemaVersion": 2, "mediaType": INDEX, "manifests": listed})

    def put(self, name: str, reference: str | None, document: dict[str, Any]) -> dict[str, Any]:
        data = json.dumps(document).encode()
        pushed = self._pusher.manifest(name, reference or digest_of(data), document)
        assert pushed.status_code == 201, pushed.text
        return {"mediaType": document["mediaType"], "digest": digest_of(data), "size": len(data)}


@pytest.fixture
def builder(registry: Registry) -> Iterator[Builder]:
    pusher = Pusher(registry)
    yield Builder(pusher)
    pusher.client.close()


def names(rows: list[dict[str, Any]]) -> list[str]:
    return [f"{row['repository_name'].partition('/')[2]}:{','.join(row['tags'])}" for row in rows]


def built_on(api: Api, project: str, repository: str, reference: str) -> list[str]:
    answer = api.get(f"/projects/{project}/repositories/{repository}/artifacts/{reference}/built-on")
    assert answer.status_code == 200, answer.text
    assert answer.headers["X-Total-Count"] == str(len(answer.json()))
    return names(answer.json())


def test_images_built_on_another(admin: Api, builder: Builder) -> None:
    project = admin.project()
    one, two, three = (f"{project} {number}".encode() for number in range(3))
    base = builder.image(f"{project}/base", "12", one, two)
    builder.image(f"{project}/base", "same", one, two)
    builder.image(f"{project}/app", "v1", one, two, three)
    # Only its configuration is another.
    builder.image(f"{project}/app", "configured", one, two, note="ENV")
    # Not built on it: another order, a part of it, the layers later.
    builder.image(f"{project}/app", "turned", two, one, three)
    builder.image(f"{project}/app", "less", one)
    builder.image(f"{project}/app", "later", three, one, two)
    assert built_on(admin, project, "base", "12") == ["app:configured", "app:v1"]
    assert built_on(admin, project, "base", base["digest"]) == ["app:configured", "app:v1"]
    assert built_on(admin, project, "app", "v1") == []
    # A layer that an image has twice.
    builder.image(f"{project}/app", "twice", one, one, two)
    assert built_on(admin, project, "app", "less") == [
        "app:twice",
        "app:configured",
        "app:v1",
        "base:12,same",
    ]
    missing = admin.get(f"/projects/{project}/repositories/base/artifacts/none/built-on")
    assert (missing.status_code, code(missing)) == (404, "NOT_FOUND")


def test_holders_of_a_layer_page_by_page(admin: Api, builder: Builder) -> None:
    project = admin.project()
    shared = f"{project} shared".encode()
    for number in range(5):
        builder.image(f"{project}/r{number % 2}", f"v{number}", shared, f"{project} {number}".encode())
    path: str | None = f"/layers/{digest_of(shared)}/artifacts?page_size=2"
    seen: list[str] = []
    while path:
        answer = admin.get(path)
        assert answer.headers["X-Total-Count"] == "5"
        seen += names(answer.json())
        following = re.search(r'</api/v2.0([^>]*)>; rel="next"', answer.headers.get("Link", ""))
        path = following[1] if following else None
    assert seen == ["r0:v4", "r1:v3", "r0:v2", "r1:v1", "r0:v0"]
    assert admin.get(f"/layers/{digest_of(b'nowhere')}/artifacts").json() == []
    for wrong in ("latest", "sha256:12", "md5:" + "0" * 32, "a" * 139):
        refused = admin.get(f"/layers/{wrong}/artifacts")
        assert (refused.status_code, len(refused.json()["errors"])) == (400, 1)


def test_platform_images_are_found_under_their_index(admin: Api, builder: Builder) -> None:
    project = admin.project()
    layers = {name: [f"{project} {name} {number}".encode() for number in range(2)] for name in "ab"}
    base = [builder.image(f"{project}/base", None, layers[name][0]) for name in "ab"]
    builder.index(f"{project}/base", "12", *base)
    built = [builder.image(f"{project}/app", None, *layers[name]) for name in "ab"]
    builder.index(f"{project}/app", "v1", *built)
    # One that has a tag too stands for itself as well.
    builder.image(f"{project}/app", "amd64-only", *layers["a"])
    path = f"/projects/{project}/repositories/base/artifacts"
    rows = admin.get(f"{path}/12/built-on").json()
    assert names(rows) == ["app:v1", "app:amd64-only"] or names(rows) == ["app:amd64-only", "app:v1"]
    [index] = [row for row in rows if row["tags"] == ["v1"]]
    assert [image["digest"] for image in index["images"]] == [item["digest"] for item in built]
    assert [image["platform"]["architecture"] for image in index["images"]] == ["amd64", "arm64"]
    # Only the image with the layer is named.
    [found] = [
        row
        for row in admin.get(f"/layers/{digest_of(layers['b'][1])}/artifacts").json()
        if row["tags"] == ["v1"]
    ]
    assert [image["platform"]["architecture"] for image in found["images"]] == ["arm64"]
    # Of one image of the index the question is about that image alone.
    rows = admin.get(f"{path}/{base[1]['digest']}/built-on").json()
    assert names(rows) == ["app:v1"]


def test_others_projects_are_not_shown(admin: Api, anonymous: Api, as_user: Make, builder: Builder) -> None:
    hidden, shown = admin.project(), admin.project(public="true")
    layer = f"{hidden} layer".encode()
    builder.image(f"{shown}/base", "12", layer)
    builder.image(f"{shown}/open", "v1", layer, b"more")
    builder.image(f"{hidden}/secret", "v1", layer, b"more still")
    path = f"/layers/{digest_of(layer)}/artifacts"
    outsider, member = admin.user()[1], admin.user()[1]
    admin.member(hidden, member, 5)
    everything = ["base:12", "open:v1", "secret:v1"]
    for api, seen in (
        (admin, everything),
        (as_user(member), everything),
        (as_user(outsider), everything[:2]),
        (anonymous, everything[:2]),
    ):
        answer = api.get(path)
        assert sorted(names(answer.json())) == seen
        assert answer.headers["X-Total-Count"] == str(len(seen))
        assert built_on(api, shown, "base", "12")[::-1] == seen[1:]
    refused = as_user(outsider).get(f"/projects/{hidden}/repositories/secret/artifacts/v1/built-on")
    assert (refused.status_code, code(refused)) == (403, "FORBIDDEN")


def test_robot_sees_what_it_may_list(admin: Api, as_user: Make, builder: Builder) -> None:
    first, second = admin.project(), admin.project()
    layer = f"{first} layer".encode()
    for project in (first, second):
        builder.image(f"{project}/app", "v1", layer)

    def robot(name: str, *permissions: tuple[str, str, str]) -> Api:
        body = {
            "name": f"{name}{first}",
            "level": "system",
            "duration": 1,
            "permissions": [
                {
                    "kind": "project",
                    "namespace": namespace,
                    "access": [{"resource": resource, "action": action}],
                }
                for namespace, resource, action in permissions
            ],
        }
        made = admin.post("/robots", json=body).json()
        return as_user(made["name"], made["secret"])

    path = f"/layers/{digest_of(layer)}/artifacts"
    pulling = robot("pull", ("*", "repository", "pull"))
    assert pulling.get(path).json() == []
    listing = robot("list", (first, "artifact", "list"), (second, "repository", "pull"))
    assert [row["repository_name"] for row in listing.get(path).json()] == [f"{first}/app"]
