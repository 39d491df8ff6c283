"""What pushers wrote does not make one page of a list as large as they like."""

from __future__ import annotations

import json

import httpx

from tests.support.api import Api
from tests.support.digests import digest_of
from tests.support.registry import Registry
from tests.support.signing import EMPTY, OCI, Pusher

MIB = 1024 * 1024


def test_pages_of_referrers_are_bounded_by_bytes(registry: Registry, admin: Api) -> None:
    project = admin.project(public="true")
    pusher = Pusher(registry.url, f"{project}/app", registry.admin)
    subject = pusher.image("v1")
    config = {"mediaType": "application/vnd.oci.empty.v1+json", **pusher.blob(EMPTY)}
    pushed = []
    for number in range(6):
        content = {
            "schemaVersion": 2,
            "mediaType": OCI,
            "artifactType": "application/vnd.example",
            "config": config,
            "layers": [],
            "subject": {"mediaType": OCI, "digest": subject, "size": 1},
            "annotations": {"n": str(number), "text": "x" * (3 * MIB // 2)},
        }
        pushed.append(pusher.manifest(content))
    url: str | None = f"/v2/{project}/app/referrers/{subject}"
    found: list[str] = []
    pages = 0
    with httpx.Client(base_url=registry.url, timeout=60) as anonymous:
        while url is not None:
            answer = anonymous.get(url)
            assert answer.status_code == 200
            assert len(answer.content) <= 4 * MIB + 4096
            found += [item["digest"] for item in answer.json()["manifests"]]
            pages += 1
            url = answer.links.get("next", {}).get("url")
    assert found == pushed
    assert pages == 3
    # The page of another kind of list has none of them in full; the artifact itself has.
    path = f"/projects/{project}/repositories/app/artifacts"
    accessories = admin.get(f"{path}/{subject}/accessories", params={"page_size": 100})
    assert len(accessories.json()) == 6
    assert len(accessories.content) < 64 * 1024
    one = admin.get(f"{path}/{pushed[0]}").json()
    assert len(one["annotations"]["text"]) == 3 * MIB // 2


def test_pages_of_artifacts_are_bounded_by_bytes(registry: Registry, admin: Api) -> None:
    project = admin.project()
    pusher = Pusher(registry.url, f"{project}/app", registry.admin)
    digests = []
    for number in range(4):
        labels = {"labels": {"n": str(number), "long": "x" * MIB}}
        config = json.dumps({"os": "linux", "architecture": "arm64", "config": labels}).encode()
        image = {
            "schemaVersion": 2,
            "mediaType": OCI,
            "config": {"mediaType": "application/vnd.oci.image.config.v1+json", **pusher.blob(config)},
            "layers": [],
            "annotations": {"long": "y" * MIB},
        }
        digests.append(pusher.manifest(image, f"v{number}"))
    path = f"/projects/{project}/repositories/app/artifacts"
    page = admin.get(path)
    assert len(page.content) < 128 * 1024
    items = {item["digest"]: item for item in page.json()}
    assert items.keys() == set(digests)
    # What is short is told all the same.
    assert {item["extra_attrs"]["architecture"] for item in items.values()} == {"arm64"}
    one = admin.get(f"{path}/{digests[0]}").json()
    assert one["annotations"]["long"] == "y" * MIB
    assert digest_of(pusher.pull(digests[0]).content) == digests[0]
