"""People who sign in for the first time at the same moment, on one database."""

from __future__ import annotations

import asyncio

from sqlalchemy import select

from seawall.access.oidc_provider import Identity
from seawall.access.tables import user_groups, users
from tests.support.lab import Lab, Run


def person(name: str, group: str) -> Identity:
    return Identity("https://idp.example", name, name, f"{name}@example.com", name, (group,), False, None)


def test_first_sign_ins_at_once(run: Run) -> None:
    """One person's clients, and the members of a group that nobody was in before: all are let in."""

    async def body(lab: Lab) -> None:
        oidc = lab.services.oidc
        for number in range(4):
            names = [f"person{number}"] * 5 + [f"colleague{number}-{n}" for n in range(5)]
            came = await asyncio.gather(
                *(oidc.arrive(person(name, f"team{number}"), onboard_as=name) for name in names)
            )
            assert [principal and principal.name for principal in came] == names
        made = await lab.db.read(lambda c: c.execute(select(users.c.username)).scalars().all())
        assert len([name for name in made if name and name.startswith("person")]) == 4
        teams = await lab.db.read(lambda c: c.execute(select(user_groups.c.name)).scalars().all())
        assert sorted(teams) == [f"team{n}" for n in range(4)]

    run(body)
