"""Events of exports go to those whose exports they are."""

from __future__ import annotations

from sqlalchemy import Connection, insert

from seawall.access.onlookers import Rights
from seawall.access.principal import Limits, Principal
from seawall.access.tables import users
from seawall.features.scan.live import of_exports
from seawall.features.scan.tables import scan_exports
from seawall.infra.live.events import Event
from seawall.web.harbor.streams import visible
from tests.support.lab import Lab, Run


def _export(connection: Connection, user_id: int, name: str) -> int:
    row = {"user_id": user_id, "user_name": name, "name": "", "criteria": {}, "status": "Pending"}
    query = insert(scan_exports).values(**row, started_at=1.0).returning(scan_exports.c.id)
    return int(connection.execute(query).scalar_one())


def test_a_robot_with_the_id_of_a_user(run: Run) -> None:
    async def check(lab: Lab) -> None:
        def ask(connection: Connection) -> tuple[int, dict[str, Event]]:
            row = {"id": 77, "username": "mary", "email": "m@example.org", "sysadmin": False}
            row |= {"created_at": 1.0, "updated_at": 1.0}
            connection.execute(insert(users).values(**row))
            own, robots, nobodys = (
                _export(connection, *of) for of in ((77, "mary"), (77, "robot$ci"), (0, "anonymous"))
            )
            jobs = {"own": {"export": own}, "robots": {"export": robots}, "nobodys": {"export": nobodys}}
            return own, of_exports(connection, jobs)

        own, events = await lab.db.write(ask)
        assert sorted(events) == ["nobodys", "own"]
        assert events["own"] == Event("export", execution=own, user_id=77)

    run(check)


def test_a_token_for_some_projects_hears_of_no_export() -> None:
    """The API refuses it the list of exports, which are of all projects."""
    event, nothing = Event("export", execution=1, user_id=7), Rights({}, {}, {}, {})
    everywhere, somewhere = (Limits(frozenset({"api-read"}), named) for named in (None, (("p", 1.0),)))
    assert visible(event, Principal(7, "mary", limits=everywhere), nothing) == ""
    assert visible(event, Principal(7, "mary", limits=somewhere), nothing) is None
    assert visible(event, Principal(8, "john"), nothing) is None
