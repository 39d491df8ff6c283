"""The role and robot tables are Harbor's: held against a plain list of (who, resource, action).

`harbor_roles.txt` lists what Harbor 2.x gives each project role, everyone in a public project, and what a
robot may be given, as facts read off its source.
"""

from __future__ import annotations

from pathlib import Path

from seawall.access.rbac import PUBLIC, ROBOT_PROJECT, ROBOT_SYSTEM, ROLES, SIGNING

FACTS = Path(__file__).with_name("harbor_roles.txt")


def test_tables_are_harbors() -> None:
    expected: dict[str, set[tuple[str, str]]] = {}
    for line in FACTS.read_text().splitlines():
        who, resource, action = line.split()
        expected.setdefault(who, set()).add((resource, action))
    ours = {
        **{role: set(table) for role, table in ROLES.items()},
        "public": set(PUBLIC),
        "robot-system": set(ROBOT_SYSTEM),
        # Harbor knows those that sign by their User-Agent, which is a claim.
        "robot-project": set(ROBOT_PROJECT) - {SIGNING},
    }
    assert ours.keys() == expected.keys()
    for who, table in ours.items():
        assert sorted(table - expected[who]) == [], f"{who} has more than in Harbor"
        assert sorted(expected[who] - table) == [], f"{who} has less than in Harbor"
