"""Figures of users and members, under the names of Harbor's exporter."""

from __future__ import annotations

from sqlalchemy import Connection, func, select

from seawall.access.tables import project_members, projects, users
from seawall.infra.telemetry import Family


def figures(connection: Connection, names: set[str]) -> list[Family]:
    """The figures; `names`: the projects that have figures of their own."""
    rows = connection.execute(
        select(projects.c.name, func.count(project_members.c.user_id))
        .select_from(projects.outerjoin(project_members, project_members.c.project_id == projects.c.id))
        .group_by(projects.c.name)
    ).all()
    number = connection.execute(select(func.count(users.c.id))).scalar_one()
    return [
        Family(
            "harbor_project_member_total",
            "Users who are members of a project, without those of member groups",
            ("project_name",),
            tuple(((row[0],), float(row[1])) for row in rows if row[0] in names),
        ),
        Family.single("seawall_users", "Users", float(number)),
    ]
