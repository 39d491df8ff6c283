"""Counters of artifacts that pushes to one project do not wait for (PostgreSQL)

Every push into a project counted its artifact in the same three rows of `artifact_windows` and held them
until it had committed. Now a project's counts have sixteen rows each; a connection counts in its own. `bits`
says which: 64 times its number more. SQLite has one writer, and stays as it is.
"""

from alembic import op

revision = "0018"
down_revision = "0017"
branch_labels = None
depends_on = None

_SLOT = 64
_SLOTS = 16


def upgrade() -> None:
    if op.get_bind().dialect.name == "postgresql":
        op.execute(_FUNCTION)


def downgrade() -> None:
    if op.get_bind().dialect.name != "postgresql":
        return
    op.execute("LOCK TABLE manifests IN SHARE ROW EXCLUSIVE MODE")
    op.execute(_before())
    op.execute(
        f"WITH gone AS (DELETE FROM artifact_windows WHERE bits >= {_SLOT} RETURNING *) "  # noqa: S608 - constants
        "INSERT INTO artifact_windows (scope, scope_id, bits, number, kind, artifacts) "
        f"SELECT scope, scope_id, bits % {_SLOT}, number, kind, sum(artifacts) FROM gone "
        "GROUP BY 1, 2, 3, 4, 5 "
        "ON CONFLICT (scope, scope_id, bits, number, kind) "
        "DO UPDATE SET artifacts = artifact_windows.artifacts + EXCLUDED.artifacts"
    )


# A row that is counted down must have something, so that no count is below zero and none is left of what is
# gone. It is one that nobody holds. Where all are held it waits for one, which may be empty then.
_FUNCTION = f"""
CREATE OR REPLACE FUNCTION seawall_windows() RETURNS trigger LANGUAGE plpgsql AS $$
DECLARE
    own constant integer := {_SLOT} * (pg_backend_pid() % {_SLOTS});
    width integer;
    place bigint;
    name text;
    taken integer;
BEGIN
    IF TG_OP <> 'INSERT' THEN IF OLD.listed THEN
        name := COALESCE(OLD.kind, '');
        FOREACH width IN ARRAY ARRAY[22, 14, 6] LOOP
            place := floor(OLD.pushed_at)::bigint >> width;
            UPDATE artifact_windows SET artifacts = artifacts - 1 WHERE scope = 'repository_id'
                AND scope_id = OLD.repository_id AND bits = width AND number = place AND kind = name;
            DELETE FROM artifact_windows WHERE scope = 'repository_id' AND scope_id = OLD.repository_id
                AND bits = width AND number = place AND kind = name AND artifacts <= 0;
            CONTINUE WHEN OLD.project_id IS NULL;
            taken := NULL;
            SELECT bits INTO taken FROM artifact_windows WHERE scope = 'project_id'
                AND scope_id = OLD.project_id AND bits IN ({{slots}}) AND number = place AND kind = name
                AND artifacts > 0 ORDER BY bits <> width + own, bits LIMIT 1 FOR UPDATE SKIP LOCKED;
            FOR attempt IN 1..{_SLOTS} LOOP
                EXIT WHEN taken IS NOT NULL;
                SELECT bits INTO taken FROM artifact_windows WHERE scope = 'project_id'
                    AND scope_id = OLD.project_id AND bits IN ({{slots}}) AND number = place AND kind = name
                    AND artifacts > 0 ORDER BY bits LIMIT 1 FOR UPDATE;
            END LOOP;
            UPDATE artifact_windows SET artifacts = artifacts - 1 WHERE scope = 'project_id'
                AND scope_id = OLD.project_id AND bits = taken AND number = place AND kind = name;
            DELETE FROM artifact_windows WHERE scope = 'project_id' AND scope_id = OLD.project_id
                AND bits = taken AND number = place AND kind = name AND artifacts <= 0;
        END LOOP;
    END IF; END IF;
    IF TG_OP <> 'DELETE' THEN IF NEW.listed THEN
        INSERT INTO artifact_windows (scope, scope_id, bits, number, kind, artifacts)
        SELECT keys.scope, keys.scope_id, keys.bits + keys.slot, floor(NEW.pushed_at)::bigint >> keys.bits,
               COALESCE(NEW.kind, ''), 1
        FROM (SELECT 'repository_id' AS scope, NEW.repository_id AS scope_id, 0 AS slot, b AS bits
              FROM unnest(ARRAY[22, 14, 6]) b
              UNION ALL
              SELECT 'project_id', NEW.project_id, own, b FROM unnest(ARRAY[22, 14, 6]) b) AS keys
        WHERE keys.scope_id IS NOT NULL
        ON CONFLICT (scope, scope_id, bits, number, kind)
        DO UPDATE SET artifacts = artifact_windows.artifacts + 1;
    END IF; END IF;
    RETURN NULL;
END $$
""".replace("{slots}", ", ".join(f"width + {_SLOT * slot}" for slot in range(_SLOTS)))  # noqa: S608 - constants


def _before() -> str:
    """The function of migration 0001."""

    def keys(row: str) -> str:
        return " UNION ALL ".join(
            f"SELECT '{scope}' AS scope, {row}.{scope} AS scope_id, {bits} AS bits, "
            f"floor({row}.pushed_at)::bigint >> {bits} AS number"
            for scope in ("repository_id", "project_id")
            for bits in (22, 14, 6)
        )

    mine = f"kind = COALESCE(OLD.kind, '') AND (scope, scope_id, bits, number) IN ({keys('OLD')})"
    return (
        "CREATE OR REPLACE FUNCTION seawall_windows() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN "  # noqa: S608 - constants
        "IF TG_OP <> 'INSERT' THEN IF OLD.listed THEN "
        f"UPDATE artifact_windows SET artifacts = artifacts - 1 WHERE {mine}; "
        f"DELETE FROM artifact_windows WHERE artifacts <= 0 AND {mine}; END IF; END IF; "
        "IF TG_OP <> 'DELETE' THEN IF NEW.listed THEN "
        "INSERT INTO artifact_windows (scope, scope_id, bits, number, kind, artifacts) "
        f"SELECT scope, scope_id, bits, number, COALESCE(NEW.kind, ''), 1 FROM ({keys('NEW')}) AS keys "
        "WHERE scope_id IS NOT NULL ON CONFLICT (scope, scope_id, bits, number, kind) "
        "DO UPDATE SET artifacts = artifact_windows.artifacts + 1; END IF; END IF; RETURN NULL; END $$"
    )
