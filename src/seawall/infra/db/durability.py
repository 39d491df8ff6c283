"""What an acknowledged commit survives."""

from __future__ import annotations

from sqlalchemy import Connection, text

from seawall.infra.db.dialect import is_embedded

_SETTINGS = text("SELECT current_setting('synchronous_standby_names'), current_setting('synchronous_commit')")


def may_lose_commits(connection: Connection) -> bool:
    """Whether a standby that is promoted may lack what was committed: no commit waits for one.

    False for the embedded database, which has none.
    """
    if is_embedded(connection):
        return False
    names, level = connection.execute(_SETTINGS).one()
    return not names or level in ("off", "local")
