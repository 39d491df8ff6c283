"""What pushers wrote does not make one page of a list as large as they like."""

from __future__ import annotations

import json

import httpx

from seawall.registry.artifacts import accessories_of, tags_of
from tests.support.api import Api
from tests.support.digests import digest_of
from tests.support.lab import Lab, Run
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


def test_pages_are_bounded_in_tags(registry: Registry, admin: Api) -> None:
    """One push sets 64 tags; a list with all tags of its artifacts would grow without end."""
    project = admin.project()
    pusher = Pusher(registry.url, f"{project}/app", registry.admin)
    many, other = pusher.image("first"), pusher.image("other", b"other")
    payload = pusher.pull(many).content
    for part in range(5):
        tags = {"tag": [f"t{part}-{number}" for number in range(60)]}
        answer = pusher.client.put(
            f"/manifests/{many}", params=tags, content=payload, headers={"Content-Type": OCI}
        )
        assert answer.status_code == 201, answer.text
    path = f"/projects/{project}/repositories/app/artifacts"
    listed = {item["digest"]: item for item in admin.get(path, params={"with_tag": "true"}).json()}
    assert len(listed[many]["tags"]) == 200
    assert [tag["name"] for tag in listed[other]["tags"]] == ["other"]
    # The newest are told, and none is lost.
    assert {tag["name"].partition("-")[0] for tag in listed[many]["tags"]} <= {"t1", "t2", "t3", "t4"}
    assert len(admin.get(f"{path}/{many}").json()["tags"]) == 301
    assert admin.get(f"{path}/{many}/tags").headers["X-Total-Count"] == "301"


def test_belongings_are_cut_for_each(run: Run) -> None:
    async def check(lab: Lab) -> None:
        await lab.project()
        subjects = [await lab.image("p/app", f"v{number}") for number in range(2)]
        for number in range(5):
            subject = {"mediaType": OCI, "digest": subjects[number % 2], "size": 1}
            await lab.image("p/app", annotations={"n": str(number)}, subject=subject)
        rows = [await lab.services.artifacts.get("p/app", digest) for digest in subjects]
        counts = {}
        for most in (None, 2, 0):
            attached = await lab.db.read(lambda c, most=most: accessories_of(c, rows, most))  # type: ignore[misc]
            counts[most] = sorted(len(items) for items in attached.values())
        assert counts == {None: [2, 3], 2: [2, 2], 0: []}
        found = await lab.db.read(lambda c: tags_of(c, [row.id for row in rows], 1))
        assert sorted(len(items) for items in found.values()) == [1, 1]

    run(check)
