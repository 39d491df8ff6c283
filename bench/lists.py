"""Pages of a list of a million artifacts: times and query plans, on SQLite and PostgreSQL.

`python -m bench.lists` fills one repository with 1,000,000 artifacts (`--rows`), each with a tag, straight
in the database, then asks for pages as the management API does: the first one, deep ones by the cursor that
the `Link` header gives, deep ones by number, and the total. Medians of 25 are shown with the plan of each
query. It never fails because of a time.
"""

from __future__ import annotations

import argparse
import shutil
import statistics
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

from sqlalchemy import Connection, event, exists, func, insert, select, text
from sqlalchemy.engine import Engine
from tests.support.servers.postgres import Postgres

from seawall.access.tables import projects
from seawall.infra.db import Database, migrate, open_database
from seawall.registry import artifacts, windows
from seawall.registry.artifacts import Cursor
from seawall.registry.tables import manifests, repositories, tags

_BATCH = 5000
_ROUNDS = 25
_PAGE = 100


def main() -> int:
    """Run on both databases; exit code 0."""
    parser = argparse.ArgumentParser(prog="python -m bench.lists", description=__doc__)
    parser.add_argument("--rows", type=int, default=1_000_000)
    parser.add_argument("--only", choices=("sqlite", "postgresql"))
    parser.add_argument("--directory", help="where the temporary directory is made (choose the disk)")
    options = parser.parse_args()
    root = Path(tempfile.mkdtemp(prefix="seawall-lists-", dir=options.directory))
    root.chmod(0o755)
    try:
        if options.only in (None, "sqlite"):
            measure("SQLite", f"sqlite:///{root / 'lists.db'}", options.rows)
        if options.only in (None, "postgresql"):
            place = root / "pg"
            place.mkdir()
            server = Postgres(place)
            server.start()
            try:
                measure("PostgreSQL", server.database(), options.rows)
            finally:
                server.stop()
    finally:
        shutil.rmtree(root, ignore_errors=True)
    return 0


def measure(name: str, url: str, rows: int) -> None:
    """Fill, ask, print."""
    migrate.upgrade(url)
    db = open_database(url, pool_size=2)
    started = time.perf_counter()
    repository_id = fill(db, rows)
    print(f"\n## {name}: {rows:,} artifacts (filled in {time.perf_counter() - started:.0f} s)\n", flush=True)
    print("| Question | Median ms |\n|---|---|")
    plans: list[tuple[str, str]] = []
    for label, ask in questions(repository_id, rows):
        times = []
        for _ in range(_ROUNDS):
            before = time.perf_counter()
            db.sync_read(ask)
            times.append((time.perf_counter() - before) * 1000)
        print(f"| {label} | {statistics.median(times):.2f} |", flush=True)
        plans.append((label, explain(db, ask)))
    for label, plan in plans:
        print(f"\n{label}:\n\n```\n{plan}\n```", flush=True)


def fill(db: Database, rows: int) -> int:
    """One repository of `rows` artifacts; returns its id."""

    def head(connection: Connection) -> tuple[int, int]:
        project = connection.execute(
            insert(projects)
            .values(name="big", public=True, created_at=0, updated_at=0)
            .returning(projects.c.id)
        ).scalar_one()
        repository = connection.execute(
            insert(repositories)
            .values(
                project_id=project,
                name="big/list",
                created_at=0,
                updated_at=0,
                pushed_at=0,
                artifact_count=rows,
            )
            .returning(repositories.c.id)
        ).scalar_one()
        return int(project), int(repository)

    project, repository = db.sync_write(head)
    for start in range(0, rows, _BATCH):
        numbers = range(start, min(start + _BATCH, rows))
        listed: list[dict[str, Any]] = [
            {
                "id": n + 1,
                "repository_id": repository,
                "project_id": project,
                "digest": f"sha256:{n:064x}",
                "media_type": "application/vnd.oci.image.manifest.v1+json",
                "config_media_type": "application/vnd.oci.image.config.v1+json",
                "kind": "CHART" if n % 100 == 0 else "IMAGE",
                "size": 500,
                "total_size": 100_000,
                "listed": True,
                "attributes": {},
                "pushed_at": float(n),
            }
            for n in numbers
        ]
        # One in a thousand has no tag.
        named = [
            {"repository_id": repository, "name": f"t{n}", "manifest_id": n + 1, "pushed_at": float(n)}
            for n in numbers
            if n % 1000
        ]

        def write(connection: Connection, listed: Any = listed, named: Any = named) -> None:
            connection.execute(insert(manifests), listed)
            connection.execute(insert(tags), named)

        db.sync_write(write)

    def analyze(connection: Connection) -> None:
        connection.execute(text("ANALYZE"))

    db.sync_write(analyze)
    return repository


def questions(repository_id: int, rows: int) -> Iterator[tuple[str, Callable[[Connection], object]]]:
    """What is asked: a label and the function the API runs."""
    scope = ("repository_id", repository_id)
    for part in (0.25, 0.5, 0.99):
        after = Cursor(float(rows) * (1 - part), 2**50)
        yield (
            f"page of {_PAGE} at {part:.0%}, by cursor",
            lambda c, after=after: artifacts.page(c, scope, limit=_PAGE, after=after),  # type: ignore[misc]
        )
    for part in (0.0, 0.25, 0.5, 0.99):
        offset = int(rows * part)
        yield (
            f"page of {_PAGE} at {part:.0%}, by number",
            lambda c, offset=offset: artifacts.page(  # type: ignore[misc]
                c, scope, limit=_PAGE, offset=offset, total=rows
            ),
        )
    charts = rows // 100
    for part in (0.0, 0.5, 0.99):
        offset = int(charts * part)
        yield (
            f"page of {_PAGE} of the 1 % that are charts, at {part:.0%}, by number",
            lambda c, offset=offset: artifacts.page(  # type: ignore[misc]
                c, scope, limit=_PAGE, offset=offset, total=charts, kind="CHART"
            ),
        )
    yield "total of charts", lambda c: windows.count(c, scope, "CHART")
    untagged = artifacts.artifacts().where(
        manifests.c.repository_id == repository_id,
        manifests.c.listed.is_(True),
        ~exists().where(tags.c.manifest_id == manifests.c.id),
    )
    half = artifacts.before_cursor(Cursor(rows * 0.5, 2**50))
    rest = untagged.where(half).order_by(*artifacts.NEWEST_FIRST).limit(_PAGE)
    yield f"page of {_PAGE} of the 0.1 % without a tag, by cursor", lambda c: c.execute(rest).all()
    number = select(func.count()).select_from(untagged.with_only_columns(manifests.c.id).subquery())
    yield "total of those without a tag", lambda c: c.execute(number).scalar_one()
    ids = list(range(rows - _PAGE, rows))
    yield f"tags of {_PAGE} artifacts", lambda c: artifacts.tags_of(c, ids)
    yield (
        "total",
        lambda c: c.execute(
            select(func.sum(repositories.c.artifact_count)).where(repositories.c.id == repository_id)
        ).scalar_one(),
    )
    yield "artifact by digest", lambda c: artifacts.find(c, repository_id, f"sha256:{rows // 2:064x}")
    yield "artifact by tag", lambda c: artifacts.find(c, repository_id, f"t{rows // 2}")


def explain(db: Database, ask: Callable[[Connection], object]) -> str:
    """The plans of the statements that `ask` runs."""
    seen: list[tuple[str, Any]] = []

    def record(
        _connection: Any, _cursor: Any, statement: str, parameters: Any, _context: Any, _many: bool
    ) -> None:
        seen.append((statement, parameters))

    def run(connection: Connection) -> str:
        engine: Engine = connection.engine
        event.listen(engine, "before_cursor_execute", record)
        try:
            ask(connection)
        finally:
            event.remove(engine, "before_cursor_execute", record)
        prefix = (
            "EXPLAIN QUERY PLAN " if connection.dialect.name == "sqlite" else "EXPLAIN (ANALYZE, BUFFERS) "
        )
        lines: list[str] = []
        for statement, parameters in seen:
            for row in connection.exec_driver_sql(prefix + statement, parameters):
                lines.append(str(row[-1])[:200])
        return "\n".join(lines)

    return db.sync_read(run)


if __name__ == "__main__":
    sys.exit(main())
