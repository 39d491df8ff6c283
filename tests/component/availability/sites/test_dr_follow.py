"""What a round of following does to rows: any change of the active, between either kind of database."""

from __future__ import annotations

import asyncio
import json
import random
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from sqlalchemy import Connection, delete, insert, select, update

from seawall.access.tables import projects
from seawall.availability.sites import apply, ship, state
from seawall.availability.sites.tables import dr_blobs
from seawall.infra.db import Database, changes, fence, migrate, open_database
from seawall.infra.settings import DrSettings
from seawall.registry.tables import (
    blob_trash,
    blobs,
    labels,
    manifest_labels,
    manifest_payloads,
    manifests,
    repositories,
    repository_blobs,
    tags,
)
from tests.support.servers.postgres import Postgres
from tests.support.sites import differences

AT = {"created_at": 1.0, "updated_at": 1.0}


class Pair:
    """Two databases, and how far the second has followed the first."""

    def __init__(self, urls: tuple[str, str]) -> None:
        self.urls = urls
        self.cursor: str | None = None
        self.fulls = 0
        for url, role in zip(urls, ("active", "standby"), strict=True):
            migrate.upgrade(url)
            db = open_database(url)
            settings = DrSettings(site=role, peer="http://127.0.0.1:9", start_as=role)  # type: ignore[arg-type]
            db.sync_write(lambda c, settings=settings: state.begin(c, settings))  # type: ignore[misc]
            asyncio.run(db.close())
        self.one: Database = open_database(urls[0])
        self.two: Database = open_database(urls[1])

    def follow(self) -> None:
        """One round, as the follower does it; bytes are said to be here."""
        with ship.write_changes(self.urls[0], self.cursor, {}) as file:
            head = json.loads(file.readline())
            wanted = {row["digest"] for name, row in apply.lines(file) if name == "blobs" and "size" in row}

            def take(connection: Connection) -> None:
                here = set(connection.execute(select(blobs.c.digest)).scalars())
                for digest in wanted - here:
                    row = {
                        "digest": digest,
                        "storage_key": f"two-{digest}-{time.time()}",
                        "size": 1,
                        "at": 0.0,
                    }
                    connection.execute(insert(dr_blobs).values(row))
                with fence.applying(connection), changes.unlogged(connection):
                    (apply.apply_full if head["full"] else apply.apply_changes)(connection, file)

            try:
                self.two.sync_write(take)
            except apply.ResyncError:
                self.cursor = None
                self.fulls += 1
                self.follow()
                return
        self.cursor = head["cursor"]

    def write(self, *steps: Callable[[Connection], Any]) -> None:
        """Change the first, a transaction each."""
        for step in steps:
            self.one.sync_write(step)

    def equal(self) -> None:
        """Follow; then both are the same."""
        self.follow()
        assert differences(*self.urls) == {}
        keys = self.two.sync_read(lambda c: list(c.execute(select(blobs.c.storage_key)).scalars()))
        assert all(key.startswith("two-") for key in keys)

    def close(self) -> None:
        """Close both."""
        asyncio.run(self.one.close())
        asyncio.run(self.two.close())


@pytest.fixture(params=["sqlite to postgresql", "postgresql to sqlite"])
def pair(request: pytest.FixtureRequest, postgres: Postgres, tmp_path: Path) -> Iterator[Pair]:
    """Both directions."""
    lite, server = f"sqlite:///{tmp_path / 'x.db'}", postgres.database()
    found = Pair((lite, server) if request.param.startswith("sqlite") else (server, lite))
    yield found
    found.close()


def project(number: int) -> Callable[[Connection], Any]:
    """A project with a repository, a manifest, a tag and a blob."""
    digest = f"sha256:{number:064x}"

    def run(connection: Connection) -> None:
        at = time.time()
        connection.execute(insert(projects).values(id=number, name=f"p{number}", public=True, **AT))
        connection.execute(
            insert(repositories).values(id=number, project_id=number, name=f"p{number}/r", **AT)
        )
        connection.execute(
            insert(blobs).values(
                digest=digest, size=1, storage_key=f"one-{number}", created_at=at, touched_at=at
            )
        )
        connection.execute(
            insert(repository_blobs).values(repository_id=number, digest=digest, touched_at=at)
        )
        connection.execute(
            insert(manifests).values(
                id=number, repository_id=number, digest=digest, media_type="x", size=1, pushed_at=at
            )
        )
        connection.execute(insert(manifest_payloads).values(manifest_id=number, payload=b"\0\xff"))
        connection.execute(
            insert(tags).values(repository_id=number, name="t", manifest_id=number, pushed_at=at)
        )

    return run


def named(number: int, name: str) -> Callable[[Connection], Any]:
    """Name a label."""
    return lambda c: c.execute(update(labels).where(labels.c.id == number).values(name=name))


def gone(table: Any, number: int) -> Callable[[Connection], Any]:
    """Delete a row by id."""
    return lambda c: c.execute(delete(table).where(table.c.id == number))


def test_changes_of_every_shape(pair: Pair) -> None:
    pair.write(*(project(number) for number in (1, 2, 3)))
    pair.write(
        *(
            lambda c, n=n: c.execute(insert(labels).values(id=n, name=f"l{n}", project_id=1, **AT))
            for n in (1, 2, 3)
        )
    )
    pair.equal()
    pair.equal()
    # Names that wander from row to row, forwards and backwards.
    pair.write(named(3, "x"), named(2, "l3"), named(1, "l2"))
    pair.equal()
    pair.write(named(1, "y"), named(2, "l2"), named(3, "l3"))
    pair.equal()
    assert pair.fulls == 0
    # Two that change places fit only all at once.
    pair.write(named(2, "z"), named(3, "l2"), named(2, "l3"))
    pair.equal()
    # A tag moves and what it named goes; a project goes with all that is in it; ids that come back.
    pair.write(
        lambda c: c.execute(
            insert(manifests).values(
                id=9, repository_id=1, digest="sha256:9", media_type="x", size=1, pushed_at=1.0
            )
        ),
        lambda c: c.execute(insert(manifest_labels).values(manifest_id=9, label_id=1, created_at=1.0)),
        lambda c: c.execute(update(tags).where(tags.c.manifest_id == 1).values(manifest_id=9)),
        gone(manifests, 1),
        gone(projects, 2),
        gone(projects, 3),
        project(4),
        lambda c: c.execute(insert(projects).values(id=2, name="p3", public=False, **AT)),
    )
    pair.equal()
    # The bytes of a blob that went are left to the sweep.
    digest = f"sha256:{3:064x}"
    pair.write(lambda c: c.execute(delete(blobs).where(blobs.c.digest == digest)))
    pair.equal()
    trash = pair.two.sync_read(lambda c: list(c.execute(select(blob_trash.c.storage_key)).scalars()))
    assert any(key.startswith(f"two-{digest}") for key in trash)


def test_any_history_ends_equal(pair: Pair) -> None:
    chance = random.Random(7)
    there: set[int] = set()
    for _ in range(6):
        for _ in range(chance.randrange(1, 6)):
            number = chance.randrange(1, 8)
            if number in there:
                there.discard(number)
                digest = f"sha256:{number:064x}"
                pair.write(
                    gone(projects, number),
                    lambda c, d=digest: c.execute(delete(blobs).where(blobs.c.digest == d)),  # type: ignore[misc]
                )
            else:
                there.add(number)
                pair.write(project(number))
        pair.equal()
    # A log that does not reach back means everything anew.
    pair.write(project(20), lambda c: changes.forget(c, -10), project(21))
    pair.equal()
