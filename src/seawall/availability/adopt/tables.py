"""What an adoption remembers of the rows it has written."""

from __future__ import annotations

from sqlalchemy import Column, String, Table, Text

from seawall.infra.db.metadata import metadata

# One row for each row of Harbor's that was brought.
adopted_rows = Table(
    "adopted_rows",
    metadata,
    # user, project, repository, ...
    Column("kind", String(32), primary_key=True),
    # Harbor's id, or what else names the row there.
    Column("source", String(512), primary_key=True),
    # JSON: the row's primary key here; of a repository what of its content was brought (`adopt.content`).
    Column("target", Text, nullable=False),
    # SHA-256 of what Harbor said, and of the row as it was written. An empty `written`: the row was here
    # before, so that it is neither changed nor deleted.
    Column("said", String(64), nullable=False),
    Column("written", String(80), nullable=False),
)
