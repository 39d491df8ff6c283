"""How often a login and a token wait for PostgreSQL, and that what is asked at once is asked in time."""

from __future__ import annotations

import asyncio
import secrets
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
from sqlalchemy import insert, literal, select

from seawall.access.tables import user_group_members, users
from seawall.access.throttle import LoginThrottle, Seen, guess
from seawall.access.user_tokens import make_token
from seawall.infra.db import open_database
from seawall.infra.redis import RedisClient
from seawall.infra.settings import RedisSettings
from seawall.kernel.errors import RegistryError
from tests.support.databases import with_schema
from tests.support.metered import Metered, metered
from tests.support.processes import PASSWORD
from tests.support.servers.postgres import Postgres

ADMIN = ("admin", PASSWORD)
SCOPES = ["repository:team/app:pull,push", "repository:library/base:pull", "repository:none/x:pull"]


@dataclass
class People:
    """Callers, by what they are."""

    meter: Metered
    callers: dict[str, tuple[str, str] | None]

    def token(self, caller: tuple[str, str] | None, scopes: list[str]) -> Any:
        self.meter.token = ""
        extra = {"auth": caller} if caller else {}
        return self.meter.send("GET", "/service/token", params={"scope": scopes}, **extra)


def api(meter: Metered, method: str, path: str, body: Any = None, auth: tuple[str, str] = ADMIN) -> Any:
    answer, _ = meter.send(method, f"/api/v2.0{path}", auth=auth, json=body)
    assert answer.status_code < 300, answer.text
    return answer


@pytest.fixture(scope="module")
def people(postgres: Postgres, tmp_path_factory: pytest.TempPathFactory) -> Iterator[People]:
    with metered(postgres, tmp_path_factory.mktemp("people")) as meter:
        meter.project("team", 10**9)
        for name in ("member", "grouped", "guesser"):
            body = {"username": name, "password": PASSWORD, "email": f"{name}@x.test", "realname": name}
            api(meter, "POST", "/users", body)
        member = {"role_id": 2, "member_user": {"username": "member"}}
        api(meter, "POST", "/projects/team/members", member)
        group = api(meter, "POST", "/usergroups", {"group_name": "guests", "group_type": 3})
        group_id = int(group.headers["location"].rpartition("/")[2])
        api(meter, "POST", "/projects/team/members", {"role_id": 3, "member_group": {"id": group_id}})
        # A directory or an OpenID provider does this when the user signs in.
        joined = insert(user_group_members).from_select(
            ["user_id", "group_id"],
            select(users.c.id, literal(group_id)).where(users.c.username == "grouped"),
        )
        meter.run(meter.process.db.write(lambda c: c.execute(joined)))
        pairs = [{"resource": "repository", "action": action} for action in ("pull", "push")]
        permission = {"kind": "project", "namespace": "team", "access": pairs}
        robot = {"name": "ci", "level": "project", "duration": 1, "permissions": [permission]}
        made = api(meter, "POST", "/robots", robot).json()
        wanted = {"name": "t", "scopes": ["pull", "push"], "expires_in_days": 1}
        own = api(meter, "POST", "/users/current/tokens", wanted, ("member", PASSWORD)).json()
        callers = {
            "admin": ADMIN,
            "member": ("member", PASSWORD),
            "guest": ("grouped", PASSWORD),
            "robot": (made["name"], made["secret"]),
            "personal token": ("member", own["token"]),
            "stranger": ("guesser", PASSWORD),
            "anonymous": None,
        }
        yield People(meter, callers)


@pytest.mark.parametrize(
    ("name", "granted"),
    [
        ("admin", {"team/app": {"pull", "push"}, "library/base": {"pull"}, "none/x": {"pull"}}),
        ("member", {"team/app": {"pull", "push"}, "library/base": {"pull"}, "none/x": set()}),
        ("guest", {"team/app": {"pull"}, "library/base": {"pull"}, "none/x": set()}),
        ("robot", {"team/app": {"pull", "push"}, "library/base": {"pull"}, "none/x": set()}),
        ("personal token", {"team/app": {"pull", "push"}, "library/base": {"pull"}, "none/x": set()}),
        ("stranger", {"team/app": set(), "library/base": {"pull"}, "none/x": set()}),
        ("anonymous", {"team/app": set(), "library/base": {"pull"}, "none/x": set()}),
    ],
)
def test_a_token_is_two_round_trips(people: People, name: str, granted: dict[str, set[str]]) -> None:
    """However many scopes it names, and by whatever right they are had."""
    caller = people.callers[name]
    costs = []
    for _ in range(3):
        answer, cost = people.token(caller, SCOPES)
        assert answer.status_code == 200, answer.text
        costs.append(cost)
    best = min(costs, key=lambda cost: cost.trips)
    assert best.trips <= (2 if caller else 1), best
    grant = people.meter.process.tokens.verify(answer.json()["token"])
    assert grant is not None
    found = {
        repository: {action for action in ("pull", "push") if grant.allows("repository", repository, action)}
        for repository in granted
    }
    assert found == granted


def test_the_rights_in_a_project_are_few_round_trips(people: People) -> None:
    url = "/api/v2.0/projects?name=team"
    project = people.meter.send("GET", url, auth=ADMIN)[0].json()[0]["project_id"]
    url = f"/api/v2.0/users/current/permissions?scope=/project/{project}"
    costs = []
    for _ in range(3):
        answer, cost = people.meter.send("GET", url, auth=people.callers["member"])
        assert len(answer.json()) > 20, answer.text
        costs.append(cost.trips)
    assert min(costs) <= 3


@pytest.mark.parametrize("name", ["guesser", "robot", "personal token"])
def test_guesses_are_counted(people: People, name: str) -> None:
    """What is asked with the account is the state of the very counter that guesses are counted in."""
    if name == "guesser":
        user, right = "guesser", PASSWORD
    else:
        user, right = people.callers[name] or ("", "")
    for _ in range(5):
        wrong = make_token() if name == "personal token" else secrets.token_hex(8)
        answer, _ = people.token((user, wrong), SCOPES[:1])
        assert answer.status_code == 401, answer.text
    answer, _ = people.token((user, right), SCOPES[:1])
    assert answer.status_code == 429, answer.text
    assert answer.json()["errors"][0]["code"] == "TOOMANYREQUESTS"
    assert 0 < int(answer.headers["Retry-After"]) <= 31


def test_an_old_answer_does_not_let_another_guess_pass(tmp_path: Path) -> None:
    """A counter that was asked before the last guess was counted is asked again."""
    url = f"sqlite:///{tmp_path / 't.db'}"
    with_schema(url)

    async def run() -> None:
        db = open_database(url)
        client = RedisClient(RedisSettings(url=None))
        throttle = LoginThrottle(db, client, attempts=1, wait_seconds=30)
        first, second = (guess("alice", secret, "192.0.2.1") for secret in ("one", "two"))
        counted = throttle.mark()
        assert counted is not None
        seen = Seen(second.key, 0, 0.0, counted)
        # Nothing was counted since: the answer is taken, and no statement is sent.
        async with throttle.attempt(second, seen) as failures:
            assert failures == 0
        await throttle.failed(first)
        with pytest.raises(RegistryError) as refused:
            async with throttle.attempt(second, seen):
                pass
        assert refused.value.code == "TOOMANYREQUESTS"
        # Of another counter it says nothing.
        other = Seen("other", 0, 0.0, throttle.mark() or 0)
        with pytest.raises(RegistryError):
            async with throttle.attempt(second, other):
                pass
        await client.close()
        await db.close()

    asyncio.run(run())
