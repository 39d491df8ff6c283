"""Quotas are exact and counters right, whatever comes in at once."""

from __future__ import annotations

import asyncio
import secrets
from pathlib import Path
from typing import Any

import pytest
from sqlalchemy import Connection, insert, select, update
from typer.testing import CliRunner, Result

from seawall.access.tables import projects
from seawall.infra.db import open_database
from seawall.kernel.errors import InvalidError, NotFoundError, RegistryError
from seawall.process.commands.quota import parse_size, quota_app
from seawall.registry import accounting, index
from seawall.registry.gc import collect
from seawall.registry.hooks import ContentHook, QuotaNotice
from seawall.registry.tables import blobs, manifests, project_blobs, repositories, repository_blobs
from tests.support.databases import with_schema
from tests.support.digests import digest_of
from tests.support.lab import CONFIG, Lab, Run


async def holdings(lab: Lab, project_id: int) -> int:
    """What the project's repositories hold, counted from the rows themselves."""

    def count(connection: Connection) -> int:
        held: dict[str, int] = dict(
            connection.execute(
                select(blobs.c.digest, blobs.c.size)
                .join(repository_blobs, repository_blobs.c.digest == blobs.c.digest)
                .join(repositories, repositories.c.id == repository_blobs.c.repository_id)
                .where(repositories.c.project_id == project_id)
            ).all()
        )
        held |= dict(
            connection.execute(
                select(manifests.c.digest, manifests.c.size).where(manifests.c.project_id == project_id)
            ).all()
        )
        return sum(held.values())

    return await lab.db.read(count)


def test_usage_follows_content(run: Run) -> None:
    async def body(lab: Lab) -> None:
        project = await lab.project()
        layer = secrets.token_bytes(1000)
        digest = await lab.image("p/a", "1", layers=[layer])
        assert await lab.used(project) == await holdings(lab, project)
        before = await lab.used(project)
        # The same layer in another repository of the project is paid for once.
        await lab.blob("p/b", layer)
        assert await lab.used(project) == before
        other = await lab.project("q")
        assert await lab.content.mount_blob("q/a", digest_of(layer), "p/a")
        assert await lab.used(other) == 1000
        await lab.content.delete_manifest("p/a", digest)
        await lab.content.delete_blob("p/b", digest_of(layer))
        assert await lab.used(project) == await holdings(lab, project) > 0
        await lab.db.write(lambda c: c.execute(update(repository_blobs).values(touched_at=0.0)))
        await lab.db.write(lambda c: c.execute(update(blobs).values(touched_at=0.0)))
        await collect(lab.db, lab.services.storage, grace_seconds=60, upload_seconds=60)
        assert await lab.used(project) == 0
        assert await lab.used(other) == 0  # its link was old too, and nothing refers to it

    run(body)


def test_never_over_the_limit(run: Run) -> None:
    """40 pushes at once into room for 12: exactly 12 get in, each whole."""

    async def body(lab: Lab) -> None:
        project = await lab.project()
        await lab.db.write(lambda c: accounting.set_quota(c, project, 12 * 1000 + 500))
        data = [secrets.token_bytes(1000) for _ in range(40)]
        names = [f"p/r{n % 5}" for n in range(40)]
        results = await asyncio.gather(
            *(lab.blob(name, item) for name, item in zip(names, data, strict=True)), return_exceptions=True
        )
        accepted = [n for n, result in enumerate(results) if isinstance(result, str)]
        refused = [result for result in results if not isinstance(result, str)]
        assert len(accepted) == 12
        assert all(isinstance(e, RegistryError) and e.code == "DENIED" and e.status == 403 for e in refused)
        assert await lab.used(project) == 12 * 1000 == await holdings(lab, project)
        for n in accepted:
            blob = await lab.content.blobs.get(names[n], digest_of(data[n]))
            stored = b"".join([part async for part in lab.services.storage.stream(blob.key, 0, 1000)])
            assert stored == data[n]
        # Nothing of the refused ones stays in storage.
        kept = [item.key async for item in lab.services.storage.list()]
        assert len(kept) == 12

    run(body)


def test_many_pushes_share_and_delete(run: Run) -> None:
    """Pushes, shared blobs and deletes all at once: the sum is that of the rows."""

    async def body(lab: Lab) -> None:
        project = await lab.project()
        shared = [secrets.token_bytes(500 + n) for n in range(3)]

        async def life(number: int) -> None:
            name = f"p/r{number % 4}"
            digest = await lab.image(name, f"t{number}", layers=[*shared, secrets.token_bytes(100)])
            if number % 2:
                await lab.content.delete_manifest(name, digest)

        await asyncio.gather(*(life(n) for n in range(16)))
        assert await lab.used(project) == await holdings(lab, project)
        for number in range(4):
            rows = await lab.db.read(
                lambda c, name=f"p/r{number}": c.execute(  # type: ignore[misc]
                    select(manifests.c.id)
                    .join(repositories, repositories.c.id == manifests.c.repository_id)
                    .where(repositories.c.name == name)
                ).all()
            )
            assert await lab.count(f"p/r{number}") == len(rows)

    run(body)


def test_manifest_over_quota_leaves_nothing(run: Run) -> None:
    async def body(lab: Lab) -> None:
        project = await lab.project()
        await lab.image("p/a", "1", layers=[b"x"])
        used = await lab.used(project)
        await lab.db.write(lambda c: accounting.set_quota(c, project, used + 10))
        with pytest.raises(RegistryError) as caught:
            await lab.image("p/a", "2", layers=[b"x"], annotations={"long": "y" * 100})
        assert "quota" in caught.value.message
        assert await lab.content.tags("p/a", 10, None) == ["1"]
        assert await lab.used(project) == used
        # The same manifest again costs nothing.
        await lab.image("p/a", "3", layers=[b"x"])

    run(body)


def test_hooks_hear_of_quota(run: Run) -> None:
    heard: list[QuotaNotice] = []

    class Listener(ContentHook):
        def quota(self, connection: Connection, notice: QuotaNotice) -> None:
            heard.append(notice)

    async def body(lab: Lab) -> None:
        lab.services.hooks.add(Listener())
        project = await lab.project()
        await lab.db.write(lambda c: accounting.set_quota(c, project, 1000))
        await lab.blob("p/a", bytes(800))
        assert heard == []
        await lab.blob("p/a", bytes(60))
        assert [(n.exceeded, n.used, n.hard) for n in heard] == [(False, 860, 1000)]
        with pytest.raises(accounting.QuotaExceededError):
            await lab.blob("p/a", bytes(141))
        assert [(n.exceeded, n.used) for n in heard[1:]] == [(True, 860)]

    run(body)


def test_refresh_counts_anew(run: Run) -> None:
    async def body(lab: Lab) -> None:
        project = await lab.project()
        await lab.image("p/a", "1")
        used = await lab.used(project)
        # As an instance of an older version leaves it: content without accounts.
        await lab.db.write(lambda c: c.execute(project_blobs.delete()))
        before, after = await lab.db.write(lambda c: accounting.refresh(c, project))
        assert (before, after) == (used, used)
        assert await lab.used(project) == used

    run(body)


def listed(lab: Lab, name: str) -> Any:
    """Digests that lists show."""
    return lab.db.read(
        lambda c: set(
            c.execute(
                select(manifests.c.digest)
                .join(repositories, repositories.c.id == manifests.c.repository_id)
                .where(repositories.c.name == name, manifests.c.listed.is_(True))
            ).scalars()
        )
    )


def test_what_lists_show(run: Run) -> None:
    async def body(lab: Lab) -> None:
        await lab.project()
        one = await lab.image("p/a")
        two = await lab.image("p/a", "two")
        assert await listed(lab, "p/a") == {one, two}
        whole = await lab.index("p/a", "all", [one, two])
        assert await listed(lab, "p/a") == {two, whole}
        assert await lab.count("p/a") == 2
        # The tag moves on, so `two` is a child only.
        three = await lab.image("p/a", "two")
        assert await listed(lab, "p/a") == {three, whole}
        signature = await lab.image(
            "p/a",
            f"sha256-{three[7:]}.sig",
            layer_type="application/vnd.dev.cosign.simplesigning.v1+json",
        )
        assert await listed(lab, "p/a") == {three, whole}
        await lab.content.delete_manifest("p/a", three)
        assert await listed(lab, "p/a") == {signature, whole}
        await lab.content.delete_manifest("p/a", whole)
        assert await listed(lab, "p/a") == {signature, one, two}
        assert await lab.count("p/a") == 3
        repository = await lab.content.repositories.get("p/a")
        assert await lab.db.write(lambda c: index.recount(c, repository.id)) == 3

    run(body)


@pytest.mark.parametrize(
    ("artifact", "config", "kind"),
    [
        (None, CONFIG, "IMAGE"),
        (None, "application/vnd.cncf.helm.config.v1+json", "CHART"),
        (None, "application/vnd.acme.rocket.config.v1+json", "ROCKET"),
        ("text/x", "application/vnd.oci.empty.v1+json", "UNKNOWN"),
        (None, "weird", "UNKNOWN"),
    ],
)
def test_kinds(artifact: str | None, config: str, kind: str) -> None:
    assert index.kind_of("application/vnd.oci.image.manifest.v1+json", artifact, config) == kind
    assert index.kind_of("application/vnd.oci.image.index.v1+json", None, None) == "IMAGE"


def test_untagged_collection_keeps_counts(run: Run) -> None:
    async def body(lab: Lab) -> None:
        project = await lab.project()
        one, two = await lab.image("p/a"), await lab.image("p/a")
        await lab.index("p/a", "all", [one])
        await lab.content.delete_manifest("p/a", "all")
        await lab.image("p/a", "keep")
        await lab.db.write(lambda c: c.execute(update(manifests).values(pushed_at=0.0)))
        for _ in range(2):  # the index first, then the children it held
            await collect(
                lab.db, lab.services.storage, grace_seconds=60, upload_seconds=60, delete_untagged=True
            )
        assert one != two
        assert len(await listed(lab, "p/a")) == await lab.count("p/a") == 1
        assert await lab.used(project) == await holdings(lab, project)

    run(body)


@pytest.mark.parametrize(
    ("text", "size"),
    [("none", -1), ("1000", 1000), ("10GiB", 10 * 1024**3), ("5 mib", 5 * 1024**2), ("2TiB", 2 * 1024**4)],
)
def test_sizes(text: str, size: int) -> None:
    assert parse_size(text) == size


@pytest.mark.parametrize("text", ["", "0", "-5", "10GB", "x", "1.5GiB"])
def test_malformed_sizes(text: str) -> None:
    with pytest.raises(InvalidError):
        parse_size(text)


def test_quota_commands(tmp_path: Path) -> None:
    def command(*arguments: str) -> Result:
        return CliRunner().invoke(quota_app, [*arguments, "--data-dir", str(tmp_path)])

    with_schema(f"sqlite:///{tmp_path / 'seawall.db'}")
    assert "project" in command("list").stdout
    db = open_database(f"sqlite:///{tmp_path / 'seawall.db'}")
    row = {"name": "team", "public": False, "created_at": 1.0, "updated_at": 1.0}
    db.sync_write(lambda c: c.execute(insert(projects).values(**row)))
    asyncio.run(db.close())
    assert command("set", "team", "10GiB").exit_code == 0
    assert "10.0 GiB" in command("list").stdout
    assert isinstance(command("set", "team", "much").exception, InvalidError)
    assert isinstance(command("set", "nobody", "1GiB").exception, NotFoundError)
    assert command("refresh", "team").exit_code == 0
