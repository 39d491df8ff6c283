"""Artifacts, tags, copies, additions, pull statistics, immutable tags."""

from __future__ import annotations

import gzip
import json
import time

import pytest
from sqlalchemy import select

from seawall.features.immutability import rules as immutability
from seawall.kernel.errors import ConflictError, InvalidError, NotFoundError, PreconditionError, RegistryError
from seawall.registry import additions, artifacts
from seawall.registry.artifacts import Cursor
from seawall.registry.pulls import PullCounter
from seawall.registry.tables import manifests, repositories, tags
from tests.support.artifacts import CHART, chart, rule
from tests.support.lab import Lab, Run


async def push_chart(lab: Lab, data: bytes = CHART) -> str:
    """Push a chart as Helm does."""
    return await lab.image(
        "p/web",
        "1.0.0",
        layers=[data],
        config=json.dumps({"name": "web", "version": "1.0.0"}).encode(),
        config_type="application/vnd.cncf.helm.config.v1+json",
        layer_type="application/vnd.cncf.helm.chart.content.v1.tar+gzip",
    )


def test_what_an_artifact_is(run: Run) -> None:
    async def body(lab: Lab) -> None:
        await lab.project()
        service = lab.services.artifacts
        config = {
            "architecture": "arm64",
            "os": "linux",
            "created": "2024-01-01T00:00:00Z",
            "author": "me",
            "config": {"Cmd": ["sh"]},
            "history": [{"created_by": "ADD"}],
            "rootfs": {},
        }
        one = await lab.image("p/a", "one", layers=[bytes(1000)], config=json.dumps(config).encode())
        whole = await lab.index("p/a", "all", [one])
        item = (await service.complete([await service.get("p/a", "one")]))[0]
        assert (item.kind, item.digest) == ("IMAGE", one)
        assert item.size > 1000
        assert item.attributes is not None
        assert item.attributes["architecture"] == "arm64"
        assert item.attributes["author"] == "me"
        assert "history" not in item.attributes
        stored = await service.get("p/a", one)
        assert stored.attributes == item.attributes
        parent = await service.get("p/a", "all")
        assert parent.size > item.size
        assert parent.is_index
        found = await lab.db.read(lambda c: artifacts.references_of(c, [parent]))
        assert [(r.child_id, r.child_digest, r.platform) for r in found[parent.id]] == [
            (item.id, one, {"os": "linux", "architecture": "amd64"})
        ]
        media_type, history = await service.addition(item, "build_history")
        assert json.loads(history) == [{"created_by": "ADD"}]
        assert media_type.startswith("application/json")
        with pytest.raises(InvalidError):
            await service.addition(parent, "values.yaml")
        with pytest.raises(PreconditionError):
            await service.delete("p/a", one)
        await service.delete("p/a", whole)
        # `one` has a tag of its own and stays.
        assert (await service.get("p/a", one)).id == item.id
        with pytest.raises(NotFoundError):
            await service.get("p/a", "not a reference")

    run(body)


def test_deep_delete(run: Run) -> None:
    async def body(lab: Lab) -> None:
        project = await lab.project()
        child = await lab.image("p/a")
        whole = await lab.index("p/a", "all", [child])
        subject = {"mediaType": "application/vnd.oci.image.index.v1+json", "digest": whole, "size": 1}
        await lab.image("p/a", subject=subject, config_type="application/vnd.cncf.notary.signature")
        service = lab.services.artifacts
        item = await service.get("p/a", "all")
        attached = await lab.db.read(lambda c: artifacts.accessories_of(c, [item]))
        assert [a.accessory_type for a in attached[item.id]] == ["signature.notation"]
        await service.delete("p/a", "all")
        rows = await lab.db.read(lambda c: c.execute(select(manifests.c.id)).all())
        assert rows == []
        assert await lab.count("p/a") == 0
        await service.delete_repository("p/a")
        assert await lab.used(project) == 0
        with pytest.raises(NotFoundError):
            await service.repository("p/a")

    run(body)


def test_tags(run: Run) -> None:
    async def body(lab: Lab) -> None:
        await lab.project()
        service = lab.services.artifacts
        one = await lab.image("p/a", "one")
        await service.create_tag("p/a", "one", "two")
        assert (await service.get("p/a", "two")).digest == one
        with pytest.raises(ConflictError):
            await service.create_tag("p/a", one, "two")
        with pytest.raises(InvalidError):
            await service.create_tag("p/a", one, "-bad")
        await service.delete_tag("p/a", one, "two")
        with pytest.raises(NotFoundError):
            await service.delete_tag("p/a", one, "two")

    run(body)


def test_copy_takes_all_that_belongs(run: Run) -> None:
    async def body(lab: Lab) -> None:
        await lab.project()
        await lab.project("q")
        one, two = await lab.image("p/a"), await lab.image("p/a", "two")
        whole = await lab.index("p/a", "all", [one, two])
        signature = await lab.image(
            "p/a",
            f"sha256-{whole[7:]}.sig",
            layer_type="application/vnd.dev.cosign.simplesigning.v1+json",
        )
        service = lab.services.artifacts
        assert await service.copy("p/a", "all", "q/deep/b") == whole
        stored = {row[0] for row in await lab.db.read(
            lambda c: c.execute(
                select(manifests.c.digest)
                .join(repositories, repositories.c.id == manifests.c.repository_id)
                .where(repositories.c.name == "q/deep/b")
            ).all()
        )}  # fmt: skip
        assert stored == {one, two, whole, signature}
        assert await lab.content.tags("q/deep/b", 10, None) == ["all", f"sha256-{whole[7:]}.sig"]
        assert await lab.count("q/deep/b") == 1
        with pytest.raises(PreconditionError):
            await service.copy("p/a", signature, "q/c")
        # Once more changes nothing.
        await service.copy("p/a", whole, "q/deep/b")
        assert await lab.count("q/deep/b") == 1

    run(body)


def test_pages(run: Run) -> None:
    async def body(lab: Lab) -> None:
        project = await lab.project()
        digests = [await lab.image("p/a", f"t{n}") for n in range(7)]
        newest_first = digests[::-1]
        repository = await lab.content.repositories.get("p/a")
        for scope in (("repository_id", repository.id), ("project_id", project)):
            for offset in (0, 2, 4, 6, 7, 9):
                for total in (None, 7):
                    rows = await lab.db.read(
                        lambda c, s=scope, o=offset, t=total: artifacts.page(  # type: ignore[misc]
                            c, s, limit=2, offset=o, total=t
                        )
                    )
                    assert [row.digest for row in rows] == newest_first[offset : offset + 2]
            seen: list[str] = []
            after: Cursor | None = None
            while rows := await lab.db.read(
                lambda c, s=scope, a=after: artifacts.page(c, s, limit=3, after=a)  # type: ignore[misc]
            ):
                seen += [row.digest for row in rows]
                after = Cursor.parse(str(Cursor(rows[-1].pushed_at, rows[-1].id)))
            assert seen == newest_first
        with pytest.raises(InvalidError):
            Cursor.parse("x_1")

    run(body)


def test_pull_statistics(run: Run) -> None:
    async def body(lab: Lab) -> None:
        await lab.project()
        digest = await lab.image("p/a", "one")
        counter = next(hook for hook in lab.services.hooks.items if isinstance(hook, PullCounter))
        stored = await lab.content.manifest("p/a", "one")
        started = time.time()
        for reference in ("one", "one", digest):
            await lab.content.pulling("p/a", stored, reference)
        await counter.flush()
        await counter.flush()
        row = await lab.db.read(
            lambda c: c.execute(
                select(repositories.c.pull_count, manifests.c.pulled_at, tags.c.pulled_at)
                .join(manifests, manifests.c.repository_id == repositories.c.id)
                .join(tags, tags.c.manifest_id == manifests.c.id)
            ).one()
        )
        assert row[0] == 3
        assert row[1] >= row[2] >= started

    run(body)


def test_chart_additions(run: Run) -> None:
    async def body(lab: Lab) -> None:
        await lab.project()
        await push_chart(lab)
        service = lab.services.artifacts
        item = (await service.complete([await service.get("p/web", "1.0.0")]))[0]
        assert item.kind == "CHART"
        assert item.attributes == {"name": "web", "version": "1.0.0"}
        assert (await service.addition(item, "values.yaml"))[1] == b"replicas: 2\n"
        assert (await service.addition(item, "readme.md"))[1] == b"# Web\n"
        assert json.loads((await service.addition(item, "dependencies"))[1]) == [
            {"name": "db", "version": "1.2.3", "repository": "file://x"}
        ]

    run(body)


def test_hostile_charts() -> None:
    bomb = gzip.compress(bytes(256 * 1024 * 1024), 9)
    aliases = b"a: &a [x,x]\nb: &b [*a,*a]\ndependencies: *b\n"
    for data in (b"", b"no gzip", bomb, CHART[:100]):
        with pytest.raises((InvalidError, NotFoundError)):
            additions.chart_file(data, "values.yaml")
    assert additions.chart_file(chart({"x/Chart.yaml": aliases}), "dependencies")[1] == b"[]"
    with pytest.raises(InvalidError):
        additions.chart_file(chart({"x/values.yaml": bytes(3 * 1024 * 1024)}), "values.yaml")
    with pytest.raises(NotFoundError):
        additions.chart_file(chart({"../values.yaml/x": b"", "x/y/values.yaml": b""}), "values.yaml")


def test_immutable_tags(run: Run) -> None:
    async def body(lab: Lab) -> None:
        project = await lab.project()
        service = lab.services.artifacts
        digest = await lab.image("p/deep/a", "v1")
        await lab.image("p/b", "v1")
        rule_id = await lab.db.write(lambda c: immutability.create(c, project, rule("v*", "deep/*")))

        async def refused(action: object) -> None:
            with pytest.raises(RegistryError) as caught:
                await action  # type: ignore[misc]
            assert (caught.value.status, caught.value.code) == (412, "DENIED")

        await refused(lab.image("p/deep/a", "v1"))
        await refused(lab.content.delete_manifest("p/deep/a", "v1"))
        await refused(lab.content.delete_manifest("p/deep/a", digest))
        await refused(service.delete("p/deep/a", "v1"))
        await refused(service.delete_tag("p/deep/a", digest, "v1"))
        await refused(service.delete_repository("p/deep/a"))
        # Other repositories, other tags and the first push of a tag are free; so is the same push again.
        await lab.image("p/b", "v1")
        await lab.image("p/deep/a", "x")
        await lab.image("p/deep/a", "x")
        await lab.image("p/deep/a", "v2")
        stored = await lab.content.manifest("p/deep/a", "v1")
        await lab.content.put_manifest("p/deep/a", "v1", stored.payload, stored.media_type)
        await lab.db.write(lambda c: immutability.change(c, project, rule_id, {"disabled": True}))
        await lab.image("p/deep/a", "v1")
        await lab.db.write(lambda c: immutability.remove(c, project, rule_id))
        await service.delete_repository("p/deep/a")
        with pytest.raises(NotFoundError):
            await lab.db.write(lambda c: immutability.remove(c, project, rule_id))

    run(body)


@pytest.mark.parametrize(
    "raw",
    [
        {},
        {"tag_selectors": [{"pattern": "v"}]},
        rule("[", "**"),
        rule("v", "{"),
        {**rule("v"), "tag_selectors": [{"kind": "regex", "pattern": "v"}]},
        {**rule("v"), "tag_selectors": [{"decoration": "repoMatches", "pattern": "v"}]},
    ],
)
def test_malformed_rules(raw: dict[str, object]) -> None:
    with pytest.raises(InvalidError):
        immutability.checked(raw)
