"""What features ask of content, tags and images: each question against pushed content."""

from __future__ import annotations

import pytest

from seawall.access import projects, robots
from seawall.kernel.errors import NotFoundError
from seawall.registry import images, lookups, tags
from seawall.registry.repositories import find_repository
from tests.support.digests import digest_of
from tests.support.lab import CONFIG, Lab, Run

GONE = "sha256:" + "0" * 64


def test_manifests_and_what_belongs_to_them(run: Run) -> None:
    async def body(lab: Lab) -> None:
        project = await lab.project()
        layer = b"layer of both"
        one = await lab.image("p/a", "one", layers=[layer])
        index = await lab.index("p/a", "all", [one])
        await lab.image("p/b", "x", layers=[layer, b"of one"])
        subject = {"mediaType": "application/vnd.oci.image.manifest.v1+json", "digest": one, "size": 1}
        accessory = await lab.image("p/a", subject=subject)
        found = await lab.db.read(lambda c: find_repository(c, "p/a"))
        assert found is not None
        tagged = await lab.db.read(lambda c: lookups.find_manifest(c, "p/a", "one"))
        listed = await lab.db.read(lambda c: lookups.find_manifest(c, "p/a", index))
        assert tagged is not None
        assert listed is not None
        assert (tagged.digest, tagged.config_media_type, tagged.subject_digest) == (one, CONFIG, None)
        assert await lab.db.read(lambda c: lookups.find_manifest(c, "p/a", GONE)) is None
        assert await lab.db.read(lambda c: lookups.find_manifest(c, "p/b", one)) is None

        payload = await lab.db.read(lambda c: lookups.payload_of(c, tagged.id))
        assert digest_of(payload) == one
        assert await lab.db.read(lambda c: lookups.payload_of(c, 999)) == b""
        assert await lab.db.read(lambda c: lookups.payloads_of(c, found.id, [one, GONE])) == [(one, payload)]
        assert await lab.db.read(lambda c: lookups.total_size(c, tagged.id)) > len(layer)

        assert await lab.db.read(lambda c: lookups.child_digests(c, [listed.id])) == {listed.id: [one]}
        assert await lab.db.read(lambda c: lookups.parent_ids(c, found.id, one)) == [listed.id]
        assert await lab.db.read(lambda c: lookups.parent_digests(c, "p/a", one)) == [index]
        parents = await lab.db.read(lambda c: lookups.parent_payloads(c, found.id, one, 5))
        assert [digest_of(item) for item in parents] == [index]

        assert await lab.db.read(lambda c: lookups.referrer_digests(c, "p/a", one)) == [accessory]
        oldest = await lab.db.read(lambda c: lookups.accessories_from(c, "p/a", one, limit=5))
        assert [(item.digest, item.type) for item in oldest] == [(accessory, "subject.accessory")]
        newest = await lab.db.read(
            lambda c: lookups.newest_accessories(c, found.id, one, but="subject.accessory", limit=5)
        )
        assert newest == []
        others = await lab.db.read(
            lambda c: lookups.newest_accessories(c, found.id, one, but="sbom.harbor", limit=5)
        )
        assert [item.digest for item in others] == [accessory]
        kinds = ("signature.cosign", "subject.accessory")
        assert await lab.db.read(lambda c: lookups.accessory_digests(c, found.id, one, kinds, 1)) == [
            accessory
        ]

        holders = await lab.db.read(lambda c: lookups.blob_holders(c, digest_of(layer), 5))
        assert sorted(holders) == ["p/a", "p/b"]
        assert len(await lab.db.read(lambda c: lookups.blob_holders(c, digest_of(layer), 1))) == 1
        shown = await lab.db.read(lambda c: lookups.tagged_artifacts(c, project, ("IMAGE",)))
        assert {(item.repository, item.tag, item.digest == one) for item in shown} >= {("p/a", "one", True)}
        only = await lab.db.read(lambda c: lookups.tagged_artifacts(c, project, ("IMAGE",), "p/a", one))
        assert [item.tag for item in only] == ["one"]
        assert [item.name for item in await lab.db.read(lambda c: lookups.repositories_of(c, project))] == [
            "p/a",
            "p/b",
        ]
        assert len(await lab.db.read(lambda c: lookups.repository_ids(c, project))) == 2

    run(body)


def test_tags(run: Run) -> None:
    async def body(lab: Lab) -> None:
        await lab.project()
        one = await lab.image("p/a", "one")
        await lab.services.artifacts.create_tag("p/a", one, "again")
        two = await lab.image("p/a", "two")
        found = await lab.db.read(lambda c: find_repository(c, "p/a"))
        assert found is not None
        named = await lab.db.read(lambda c: tags.tags_of_repository(c, found.id))
        assert [name for name, _ in named] == ["again", "one", "two"]
        identifier = dict(named)["one"]
        assert await lab.db.read(lambda c: tags.tag_names(c, identifier)) == ["again", "one"]
        many = await lab.db.read(lambda c: tags.tag_names_of_many(c, [identifier, 999]))
        assert many == {identifier: ["again", "one"]}
        assert await lab.db.read(lambda c: tags.tag_names_of_digest(c, found.id, two)) == ["two"]
        assert await lab.db.read(lambda c: tags.newest_tag(c, identifier)) == "again"

        await lab.db.write(lambda c: tags.set_pushed_at(c, found.id, ["two"], 100.0))
        assert await lab.db.read(lambda c: tags.pushed_at(c, "p/a", "two")) == 100.0
        assert await lab.db.read(lambda c: tags.pushed_at(c, "p/a", "none")) is None
        for at, digest, later in (
            (99.0, GONE, "two"),
            (101.0, GONE, None),
            (100.0, GONE, "two"),
            (100.0, two, None),
        ):
            said = await lab.db.read(lambda c, a=at, d=digest: tags.pushed_later(c, found.id, ["two"], a, d))  # type: ignore[misc]
            assert said == later, (at, digest)

    run(body)


def test_images(run: Run) -> None:
    async def body(lab: Lab) -> None:
        await lab.project()
        one, two = await lab.image("p/a", "one"), await lab.image("p/a", "two")
        chart = await lab.image("p/a", "chart", config_type="application/vnd.cncf.helm.config.v1+json")
        index = await lab.index("p/a", "all", [one, chart])
        assert await lab.db.read(images.count_images) == 2
        rows = await lab.db.read(lambda c: images.images_after(c, 0, 10))
        assert [row.digest for row in rows] == [one, two]
        assert await lab.db.read(lambda c: images.images_after(c, rows[-1].id, 10)) == []
        found = await lab.db.read(lambda c: lookups.find_manifest(c, "p/a", index))
        assert found is not None
        children = await lab.db.read(lambda c: images.images_of_index(c, found.repository_id, found.id))
        assert [row.digest for row in children] == [one]
        assert await lab.db.read(lambda c: images.image(c, found.id)) is None

    run(body)


def test_projects_and_robots_of_scans(run: Run) -> None:
    async def body(lab: Lab) -> None:
        project = await lab.project("p")
        read, write = lab.db.read, lab.db.write
        assert await read(lambda c: projects.ids_of(c, ["p", "q"])) == {"p": project}
        with pytest.raises(NotFoundError, match="project q not found"):
            await read(lambda c: projects.id_of(c, "q"))
        assert await read(lambda c: projects.settings_of_each(c, ["p"], ("severity",))) == {}
        await write(lambda c: projects.ensure_public(c, "p"))
        assert len(await read(projects.all_names)) == len(set((await read(projects.all_names)).values()))
        robot = await write(lambda c: robots.create_for_scan(c, (project, "p"), "scanner-1", "hash", 5))
        assert await read(lambda c: robots.is_of_scan(c, "p+scanner-1"))
        assert not await read(lambda c: robots.is_of_scan(c, "p+other"))
        await write(lambda c: robots.remove(c, robot))
        assert not await read(lambda c: robots.is_of_scan(c, "p+scanner-1"))

    run(body)
