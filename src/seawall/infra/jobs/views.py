"""Jobs for the joins of others: to be read, and never written. See `seawall.registry.views`."""

from __future__ import annotations

from sqlalchemy import Connection, FromClause, select

from seawall.infra.jobs import tables

jobs: FromClause = tables.jobs


def outcome(connection: Connection, job_id: str | None) -> tuple[str, str | None] | None:
    """(status, error) of a job, None when it is gone."""
    row = connection.execute(select(jobs.c.status, jobs.c.error).where(jobs.c.id == job_id)).first()
    return (row.status, row.error) if row is not None else None
