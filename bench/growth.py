"""A registry that has grown: times, and the plans of what is asked, at one size and at ten times it.

`python -m bench.growth` fills PostgreSQL by SQL with 100,000 artifacts and 500,000 blobs, then with ten
times as many (`--artifacts`, `--blobs`), and asks both the same over HTTP: pull, push, tags, catalog, lists.
Then it collects 1 % of the blobs and checks the metadata. It shows the medians, how they grew, and each
statement that reads a large table whole. Files of blobs are not made: only the database grows. It never fails
because of a time. `--quick` is a hundredth of it.
"""

from __future__ import annotations

import argparse
import re
import shutil
import statistics
import sys
import tempfile
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import psycopg
from sqlalchemy import event
from sqlalchemy.engine import Engine
from tests.support.metered import Metered, metered
from tests.support.processes import PASSWORD
from tests.support.servers.postgres import Postgres

from seawall.registry import fsck, gc

_ADMIN = ("admin", PASSWORD)
_ROUNDS = 15
# Rows from which on a table that is read whole is a fault.
_LARGE = 10_000
# Artifacts of a repository, and repositories of a project.
_OF_REPOSITORY = 50
_OF_PROJECT = 200
# Blobs of a garbage collection, of a hundred.
_DEAD = 1


@dataclass
class Size:
    """One size: medians by what was asked (ms), and the statements that read a large table whole."""

    artifacts: int
    blobs: int
    filled: float = 0.0
    times: dict[str, float] = field(default_factory=dict)
    whole: dict[str, list[str]] = field(default_factory=dict)


def main() -> int:
    """Run and print."""
    parser = argparse.ArgumentParser(prog="python -m bench.growth", description=__doc__)
    parser.add_argument("--artifacts", type=int, default=1_000_000)
    parser.add_argument("--blobs", type=int, default=5_000_000)
    parser.add_argument("--directory", help="where the temporary directory is made (choose the disk)")
    parser.add_argument("--quick", action="store_true", help="a hundredth of it: whether it works")
    options = parser.parse_args()
    part = 100 if options.quick else 1
    root = Path(tempfile.mkdtemp(prefix="seawall-growth-", dir=options.directory))
    root.chmod(0o755)
    (root / "pg").mkdir()
    postgres = Postgres(root / "pg")
    postgres.start()
    sizes = []
    try:
        for tenth in (10, 1):
            size = Size(options.artifacts // part // tenth, options.blobs // part // tenth)
            sizes.append(size)
            with metered(postgres, root / f"data{tenth}") as meter:
                measure(meter, size)
    finally:
        postgres.stop()
        shutil.rmtree(root, ignore_errors=True)
    _print(sizes)
    return 0


def measure(meter: Metered, size: Size) -> None:
    """Fill the database of a process, and ask."""
    meter.project("big", -1)
    url = meter.process.settings.database_url
    began = time.perf_counter()
    with psycopg.connect(url, autocommit=True) as connection:
        fill(connection, size)
    size.filled = time.perf_counter() - began
    repository = f"p{size.artifacts // _OF_REPOSITORY // _OF_PROJECT // 2}/r1"
    project, _, _ = repository.partition("/")
    meter.authenticate(repository)
    digest = meter.send("HEAD", f"/v2/{repository}/manifests/t1")[0].headers["docker-content-digest"]

    def ask(name: str, send: Callable[[], object], rounds: int = _ROUNDS) -> None:
        times = []
        seen: list[tuple[str, Any]] = []
        for number in range(rounds):
            with _recorded(seen if number == rounds - 1 else []):
                before = time.perf_counter()
                send()
                times.append((time.perf_counter() - before) * 1000)
        size.times[name] = statistics.median(times)
        size.whole[name] = whole(url, seen)
        print(f"{size.artifacts:,}: {name}: {size.times[name]:.1f} ms", file=sys.stderr, flush=True)

    def get(path: str, auth: Any = None) -> Callable[[], object]:
        def send() -> None:
            answer, _ = meter.send("GET", path, **({"auth": auth} if auth else {}))
            assert answer.status_code == 200, answer.text

        return send

    def push() -> None:
        meter.put_manifest(repository, "t1", meter.image(repository))

    ask("pull by tag", get(f"/v2/{repository}/manifests/t1"))
    ask("pull by digest", get(f"/v2/{repository}/manifests/{digest}"))
    ask("push of an image", push)
    ask("tags", get(f"/v2/{repository}/tags/list?n=100"))
    api = f"/api/v2.0/projects/{project}/repositories"
    ask("repositories of a project", get(f"{api}?page_size=50", _ADMIN))
    ask("artifacts of a repository", get(f"{api}/r1/artifacts?page_size=50&with_tag=true", _ADMIN))
    ask("catalog, first page", get("/v2/_catalog?n=100", _ADMIN))
    ask("catalog, from the middle", get(f"/v2/_catalog?n=100&last={repository}", _ADMIN))
    ask("projects with their quotas", get("/api/v2.0/quotas?page_size=50", _ADMIN))
    db, storage = meter.process.db, meter.process.storage
    ask(
        f"collection of {_DEAD} %",
        lambda: meter.run(gc.collect(db, storage, grace_seconds=60, upload_seconds=3600, reader_seconds=900)),
        1,
    )

    async def check_metadata() -> None:
        report = fsck.FsckReport()
        async for finding in fsck._check_manifests(db, report):
            raise AssertionError(finding)

    ask("check of all manifests", lambda: meter.run(check_metadata()), 1)


def fill(connection: psycopg.Connection[Any], size: Size) -> None:
    """Projects, repositories, artifacts with a tag each, and blobs, as pushes would leave them."""
    repositories = max(2, size.artifacts // _OF_REPOSITORY)
    projects = repositories // _OF_PROJECT + 1
    each = max(2, size.blobs // size.artifacts)
    dead = size.blobs * _DEAD // 100
    manifest = '{"schemaVersion": 2, "n": ' + "'||n||'}"
    digest = f"encode(sha256(convert_to('{manifest}', 'UTF8')), 'hex')"
    steps = [
        # What triggers and foreign keys would do for each row is done once, below.
        "SET session_replication_role = replica",
        "SET synchronous_commit = off",
        f"""INSERT INTO projects (id, name, public, created_at, updated_at)
            SELECT 1000 + n, 'p' || n, true, 1, 1 FROM generate_series(0, {projects - 1}) n""",
        f"""INSERT INTO quotas (project_id, created_at, updated_at)
            SELECT 1000 + n, 1, 1 FROM generate_series(0, {projects - 1}) n""",
        f"""INSERT INTO repositories (id, project_id, name, created_at, updated_at, pushed_at, artifact_count)
            SELECT 1000 + n, 1000 + n / {_OF_PROJECT}, 'p' || n / {_OF_PROJECT} || '/r' || n % {_OF_PROJECT},
                   1, 1, 1, {_OF_REPOSITORY} FROM generate_series(0, {repositories - 1}) n""",
        f"""INSERT INTO manifests (id, repository_id, project_id, digest, media_type, config_media_type, kind,
                                   size, total_size, listed, attributes, pushed_at)
            SELECT 1000 + n, 1000 + n / {_OF_REPOSITORY}, 1000 + n / {_OF_REPOSITORY} / {_OF_PROJECT},
                   'sha256:' || {digest}, 'application/vnd.oci.image.manifest.v1+json',
                   'application/vnd.oci.image.config.v1+json', 'IMAGE', 30, 1000, true, '{{}}', 1000000 + n
            FROM generate_series(0, {size.artifacts - 1}) n""",
        f"""INSERT INTO manifest_payloads (manifest_id, payload)
            SELECT 1000 + n, convert_to('{manifest}', 'UTF8')
            FROM generate_series(0, {size.artifacts - 1}) n""",
        f"""INSERT INTO tags (repository_id, name, manifest_id, pushed_at)
            SELECT 1000 + n / {_OF_REPOSITORY}, 't' || n % {_OF_REPOSITORY}, 1000 + n, 1000000 + n
            FROM generate_series(0, {size.artifacts - 1}) n""",
        # Digests are spread: they come in no order.
        f"""CREATE TABLE grown AS SELECT n, 'sha256:' || encode(sha256(n::text::bytea), 'hex') AS digest,
                   LEAST(n / {each}, {size.artifacts - 1}) AS artifact
            FROM generate_series(0, {size.blobs - 1}) n""",
        """INSERT INTO blobs (digest, size, storage_key, created_at, touched_at)
            SELECT digest, 100, substr(digest, 8) || '.sha256.00000000', 1, n FROM grown""",
        f"""INSERT INTO repository_blobs (repository_id, digest, touched_at)
            SELECT 1000 + artifact / {_OF_REPOSITORY}, digest, n FROM grown""",
        f"""INSERT INTO project_blobs (project_id, digest, size, refs)
            SELECT 1000 + artifact / {_OF_REPOSITORY} / {_OF_PROJECT}, digest, 100, 1 FROM grown""",
        f"""INSERT INTO manifest_references (manifest_id, digest, kind, repository_id)
            SELECT 1000 + artifact, digest, 'blob', 1000 + artifact / {_OF_REPOSITORY} FROM grown
            WHERE n % {max(1, size.blobs // max(dead, 1))} <> 0""",
        *(
            f"""INSERT INTO artifact_windows (scope, scope_id, bits, number, kind, artifacts)
            SELECT '{scope}', {scope}, {bits}, floor(pushed_at)::bigint >> {bits}, kind, count(*)
            FROM manifests WHERE id >= 1000 GROUP BY 1, 2, 3, 4, 5"""
            for scope in ("repository_id", "project_id")
            for bits in (22, 14, 6)
        ),
        "DROP TABLE grown",
        *(
            f"SELECT setval(pg_get_serial_sequence('{name}', 'id'), (SELECT max(id) FROM {name}))"
            for name in ("projects", "repositories", "manifests")
        ),
        "VACUUM ANALYZE",
    ]
    for step in steps:
        connection.execute(step)


class _recorded:  # noqa: N801 - used as a function
    """Statements that SQLAlchemy sends inside the block, with their parameters."""

    def __init__(self, seen: list[tuple[str, Any]]) -> None:
        self._seen = seen
        self._texts = {statement for statement, _ in seen}

    def _record(self, _c: Any, _cursor: Any, statement: str, parameters: Any, _x: Any, many: bool) -> None:
        if not many and statement not in self._texts:
            self._texts.add(statement)
            self._seen.append((statement, parameters))

    def __enter__(self) -> None:
        event.listen(Engine, "before_cursor_execute", self._record)

    def __exit__(self, *_: object) -> None:
        event.remove(Engine, "before_cursor_execute", self._record)


def whole(url: str, seen: list[tuple[str, Any]]) -> list[str]:
    """Those of the statements whose plan reads a large table, or a whole index of one."""
    found: dict[str, str] = {}
    with psycopg.connect(url, autocommit=True, cursor_factory=psycopg.ClientCursor) as connection:
        large = {
            row[0]
            for row in connection.execute(
                "SELECT relname FROM pg_class WHERE relkind = 'r' AND reltuples > %s", [_LARGE]
            )
        }
        for statement, parameters in seen[-400:]:
            shape = re.sub(r"\s+", " ", statement)[:100]
            if shape in found or not re.match(r"\s*(SELECT|WITH|INSERT|UPDATE|DELETE)", statement):
                continue
            try:
                lines = [row[0] for row in connection.execute(f"EXPLAIN {statement}", parameters)]
            except psycopg.Error as error:
                found[shape] = f"no plan: {str(error).splitlines()[0]}"
                continue
            tables = [m[1] for line in lines if (m := re.search(r"Seq Scan on (\w+)", line))]
            tables = [name for name in tables if name in large]
            if tables:
                found[shape] = ", ".join(tables)
    return [f"{tables}: {shape}" for shape, tables in found.items()]


def _print(sizes: list[Size]) -> None:
    small, large = sizes
    heads = [f"{size.artifacts:,} artifacts, {size.blobs:,} blobs" for size in sizes]
    print(f"| ms | {' | '.join(heads)} | ratio |")
    print("|---|--:|--:|--:|")
    for name, value in large.times.items():
        before = small.times[name]
        print(f"| {name} | {before:,.1f} | {value:,.1f} | {value / before:.1f} |")
    print(f"\nFilled in {small.filled:.0f} and {large.filled:.0f} s. Reading a large table whole:\n")
    for name, lines in large.whole.items():
        for line in lines:
            print(f"- {name}: {line}")


if __name__ == "__main__":
    sys.exit(main())
