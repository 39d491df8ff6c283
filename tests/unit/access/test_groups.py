"""Groups are those that the provider named last."""

from __future__ import annotations

from sqlalchemy import create_engine, insert, select

from seawall.access import members
from seawall.access.tables import user_group_members, user_groups, users


def test_a_group_that_is_taken_away_is_gone() -> None:
    """CVE-2025-23208 (zot): groups were added at each sign-in, and never taken away."""
    engine = create_engine("sqlite://")
    with engine.begin() as connection:
        for table in (users, user_groups, user_group_members):
            table.create(connection)
        row = {"username": "a", "sysadmin": False, "created_at": 1.0, "updated_at": 1.0}
        connection.execute(insert(users).values(id=1, **row))
        ids = {members.create_group(connection, name, members.OIDC) for name in ("ops", "dev", "qa")}
        for held in (ids, set(sorted(ids)[:1]), set(sorted(ids)[1:]), set()):
            members.set_groups_of(connection, 1, held)
            assert set(connection.execute(select(user_group_members.c.group_id)).scalars()) == held
