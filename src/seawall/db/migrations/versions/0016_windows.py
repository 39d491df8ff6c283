"""Counts of listed artifacts by time of push, kept by triggers"""

import sqlalchemy as sa
from alembic import op

revision = "0016"
down_revision = "0015"
branch_labels = None
depends_on = None

# Widths of the windows: 2**22 s (49 days), 2**14 s (4.5 hours), 2**6 s (about a minute).
_BITS = (22, 14, 6)
_SCOPES = ("repository_id", "project_id")


def upgrade() -> None:
    op.create_table(
        "artifact_windows",
        sa.Column("scope", sa.String(length=16), nullable=False),
        sa.Column("scope_id", sa.BigInteger(), nullable=False),
        sa.Column("bits", sa.SmallInteger(), nullable=False),
        sa.Column("number", sa.BigInteger(), nullable=False),
        sa.Column("kind", sa.String(length=64), nullable=False),
        sa.Column("artifacts", sa.BigInteger(), nullable=False),
        sa.PrimaryKeyConstraint(
            "scope", "scope_id", "bits", "number", "kind", name=op.f("pk_artifact_windows")
        ),
    )
    op.create_index("ix_manifests_kind", "manifests", ["repository_id", "kind", "listed", "pushed_at", "id"])
    op.create_index(
        "ix_manifests_project_kind", "manifests", ["project_id", "kind", "listed", "pushed_at", "id"]
    )
    for scope in _SCOPES:
        for bits in _BITS:
            op.execute(
                "INSERT INTO artifact_windows (scope, scope_id, bits, number, kind, artifacts) "  # noqa: S608 - constants
                f"SELECT '{scope}', {scope}, {bits}, {_number('pushed_at', bits)} AS number, "
                f"COALESCE(kind, '') AS kind, count(*) FROM manifests "
                f"WHERE listed AND {scope} IS NOT NULL GROUP BY 2, 4, 5"
            )
    if op.get_bind().dialect.name == "postgresql":
        _postgresql()
    else:
        _sqlite()


def _number(time: str, bits: int) -> str:
    if op.get_bind().dialect.name == "postgresql":
        return f"floor({time})::bigint >> {bits}"
    return f"CAST({time} AS INTEGER) >> {bits}"


def _change(row: str, by: int) -> str:
    """Statements that count `row` (NEW, OLD) up or down, in either dialect."""
    keys = " UNION ALL ".join(
        f"SELECT '{scope}' AS scope, {row}.{scope} AS scope_id, {bits} AS bits, "
        f"{_number(f'{row}.pushed_at', bits)} AS number"
        for scope in _SCOPES
        for bits in _BITS
    )
    if by > 0:
        return (
            "INSERT INTO artifact_windows (scope, scope_id, bits, number, kind, artifacts) "  # noqa: S608 - constants
            f"SELECT scope, scope_id, bits, number, COALESCE({row}.kind, ''), 1 FROM ({keys}) AS keys "
            "WHERE scope_id IS NOT NULL "
            "ON CONFLICT (scope, scope_id, bits, number, kind) "
            "DO UPDATE SET artifacts = artifact_windows.artifacts + 1;"
        )
    mine = f"kind = COALESCE({row}.kind, '') AND (scope, scope_id, bits, number) IN ({keys})"
    return (
        f"UPDATE artifact_windows SET artifacts = artifacts - 1 WHERE {mine};"  # noqa: S608 - constants
        f"DELETE FROM artifact_windows WHERE artifacts <= 0 AND {mine};"
    )


def _sqlite() -> None:
    columns = "listed, kind, pushed_at, repository_id, project_id"
    for name, when, condition, row, by in (
        ("added", "INSERT", "NEW.listed", "NEW", 1),
        ("removed", "DELETE", "OLD.listed", "OLD", -1),
        ("changed_from", f"UPDATE OF {columns}", "OLD.listed", "OLD", -1),
        ("changed_to", f"UPDATE OF {columns}", "NEW.listed", "NEW", 1),
    ):
        op.execute(
            f"CREATE TRIGGER seawall_windows_{name} AFTER {when} ON manifests FOR EACH ROW WHEN {condition} "
            f"BEGIN {_change(row, by)} END"
        )


def _postgresql() -> None:
    op.execute(
        "CREATE FUNCTION seawall_windows() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN "
        f"IF TG_OP <> 'INSERT' THEN IF OLD.listed THEN {_change('OLD', -1)} END IF; END IF; "
        f"IF TG_OP <> 'DELETE' THEN IF NEW.listed THEN {_change('NEW', 1)} END IF; END IF; "
        "RETURN NULL; END $$"
    )
    op.execute(
        "CREATE TRIGGER seawall_windows AFTER INSERT OR DELETE OR UPDATE "
        "OF listed, kind, pushed_at, repository_id, project_id ON manifests "
        "FOR EACH ROW EXECUTE FUNCTION seawall_windows()"
    )


def downgrade() -> None:
    if op.get_bind().dialect.name == "postgresql":
        op.execute("DROP FUNCTION seawall_windows() CASCADE")
    else:
        for name in ("added", "removed", "changed_from", "changed_to"):
            op.execute(f"DROP TRIGGER seawall_windows_{name}")
    op.drop_index("ix_manifests_project_kind", table_name="manifests")
    op.drop_index("ix_manifests_kind", table_name="manifests")
    op.drop_table("artifact_windows")
