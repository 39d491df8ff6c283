"""Alembic environment: runs on the connection that `seawall.infra.db.migrate` passes in."""

from alembic import context

from seawall.infra.db.metadata import metadata

connection = context.config.attributes["connection"]
# Batch mode: SQLite cannot alter most things in place.
context.configure(
    connection=connection,
    target_metadata=metadata,
    render_as_batch=True,
    # SQLite takes DDL back too; Alembic only assumes otherwise because the driver hides it.
    transactional_ddl=True,
    on_version_apply=context.config.attributes.get("on_version_apply"),
)
with context.begin_transaction():
    context.run_migrations()
