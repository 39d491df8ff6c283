"""Figures of what is stored, under the names of Harbor's exporter; cheap whatever the number of artifacts.

Nothing here walks artifacts or blobs: quotas, repositories and `artifact_windows` keep counts as they change.
"""

from __future__ import annotations

from collections import defaultdict

from sqlalchemy import Connection, func, select

from seawall.access.views import projects
from seawall.infra.telemetry import Family
from seawall.registry.ledger import USED
from seawall.registry.tables import REPOSITORY_EXISTS, artifact_windows, quotas, repositories, uploads
from seawall.registry.windows import BITS, of_width

_BATCH = 500
_WORDS = {True: "true", False: "false"}


def figures(connection: Connection, most: int) -> list[Family]:
    """The figures; of `most` projects, those that store most, each by itself."""
    found = [*_totals(connection), *_sessions(connection)]
    rows = connection.execute(
        select(
            projects.c.id,
            projects.c.name,
            projects.c.public,
            func.coalesce(USED, 0),
            func.coalesce(quotas.c.hard_storage, -1),
        )
        .select_from(projects.outerjoin(quotas, quotas.c.project_id == projects.c.id))
        .order_by(func.coalesce(USED, 0).desc(), projects.c.id)
        .limit(most)
    ).all()
    named = {row[0]: (row[1], _WORDS[bool(row[2])]) for row in rows}
    repos: dict[int, tuple[int, int]] = {
        row[0]: (int(row[1]), int(row[2] or 0))
        for row in connection.execute(
            select(repositories.c.project_id, func.count(), func.sum(repositories.c.pull_count))
            .where(REPOSITORY_EXISTS)
            .group_by(repositories.c.project_id)
        )
    }
    kinds = _kinds(connection, list(named))
    return [
        *found,
        Family(
            "harbor_project_quota_usage_byte",
            "Bytes that a project stores",
            ("project_name",),
            tuple(((row[1],), float(row[3])) for row in rows),
        ),
        Family(
            "harbor_project_quota_byte",
            "Quota of a project in bytes, -1 without limit",
            ("project_name",),
            tuple(((row[1],), float(row[4])) for row in rows),
        ),
        Family(
            "harbor_project_repo_total",
            "Repositories of a project",
            ("project_name", "public"),
            tuple((names, float(repos.get(key, (0, 0))[0])) for key, names in named.items()),
        ),
        Family(
            "harbor_artifact_pulled",
            "Pulls of a project's artifacts",
            ("project_name",),
            tuple(((names[0],), float(repos.get(key, (0, 0))[1])) for key, names in named.items()),
        ),
        Family(
            "harbor_project_artifact_total",
            "Artifacts of a project, without those that lists hide (children of an index, accessories)",
            ("project_name", "public", "artifact_type"),
            tuple(
                ((*names, kind), float(number))
                for key, names in named.items()
                for kind, number in sorted(kinds[key])
            ),
        ),
    ]


def _kinds(connection: Connection, ids: list[int]) -> dict[int, list[tuple[str, int]]]:
    """Listed artifacts by project and kind; only the widest windows are read, a few rows a project."""
    kinds: dict[int, list[tuple[str, int]]] = defaultdict(list)
    for start in range(0, len(ids), _BATCH):
        query = (
            select(
                artifact_windows.c.scope_id, artifact_windows.c.kind, func.sum(artifact_windows.c.artifacts)
            )
            .where(
                artifact_windows.c.scope == "project_id",
                artifact_windows.c.scope_id.in_(ids[start : start + _BATCH]),
                of_width(BITS[0]),
            )
            .group_by(artifact_windows.c.scope_id, artifact_windows.c.kind)
        )
        for project_id, kind, number in connection.execute(query):
            kinds[project_id].append((kind, int(number)))
    return kinds


def _totals(connection: Connection) -> list[Family]:
    count = func.count
    by_public = {bool(row[0]): int(row[1]) for row in connection.execute(
        select(projects.c.public, count()).group_by(projects.c.public)
    )}  # fmt: skip
    repos = {bool(row[0]): int(row[1]) for row in connection.execute(
        select(projects.c.public, count())
        .select_from(projects.join(repositories, repositories.c.project_id == projects.c.id))
        .where(REPOSITORY_EXISTS)
        .group_by(projects.c.public)
    )}  # fmt: skip
    used = connection.execute(select(func.sum(USED))).scalar() or 0
    families = [
        Family(
            "harbor_project_total",
            "Projects",
            ("public",),
            tuple(((word,), float(by_public.get(public, 0))) for public, word in _WORDS.items()),
        ),
        Family.single(
            "harbor_statistics_total_storage_consumption",
            "Bytes that all projects store; a blob that two projects share counts twice",
            float(used),
        ),
    ]
    for what, counts in (("project", by_public), ("repo", repos)):
        for word, number in (
            ("total", sum(counts.values())),
            ("public", counts.get(True, 0)),
            ("private", counts.get(False, 0)),
        ):
            name = f"harbor_statistics_{word}_{what}_amount"
            families.append(Family.single(name, f"{word} {what} amount".capitalize(), float(number)))
    return families


def _sessions(connection: Connection) -> list[Family]:
    number, size, oldest = connection.execute(
        select(func.count(), func.sum(uploads.c.upload_offset), func.min(uploads.c.started_at))
    ).one()
    return [
        Family.single(
            "seawall_upload_sessions",
            "Upload sessions that are open; of those on a filesystem, the ones that have bytes",
            float(number),
        ),
        Family.single("seawall_upload_session_bytes", "Bytes of open upload sessions", float(size or 0)),
        Family.single(
            "seawall_upload_session_oldest_timestamp_seconds",
            "When the oldest open upload session began; 0 without one",
            float(oldest or 0),
        ),
    ]
