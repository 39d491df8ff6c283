"""Personal access tokens: where they are taken, what they never allow, when they end, and attacks."""

from __future__ import annotations

import json
import time
from collections.abc import Callable
from typing import Any

import httpx
import pytest
from sqlalchemy import insert, select, update

from seawall.access.tables import user_tokens
from seawall.access.token_text import hash_of, is_token
from tests.support.api import Api
from tests.support.lab import Lab
from tests.support.processes import PASSWORD
from tests.support.registry import Registry

AsUser = Callable[[str, str], Api]


def make(api: Api, *scopes: str, **more: Any) -> str:
    body = {"name": f"t{time.monotonic_ns()}", "scopes": list(scopes), **more}
    answer = api.post("/users/current/tokens", json=body)
    assert answer.status_code == 201, answer.text
    return str(answer.json()["token"])


def pull_scope(registry: Registry, name: str, secret: str, repository: str) -> str:
    """The scope of the token that the token endpoint gives for pull, push and delete."""
    form = {
        "grant_type": "password",
        "username": name,
        "password": secret,
        "scope": f"repository:{repository}:pull,push,delete",
    }
    answer = httpx.post(f"{registry.url}/service/token", data=form, timeout=60)
    assert answer.status_code == 200, answer.text
    return str(answer.json()["scope"]).rpartition(":")[2]


def test_scopes_at_the_registry_and_at_the_api(registry: Registry, admin: Api, as_user: AsUser) -> None:
    mine, other = admin.project(public="false"), admin.project(public="false")
    _, name = admin.user()
    for project in (mine, other):
        admin.member(project, name, 1)
    owner = as_user(name, PASSWORD)
    allowed = {
        ("pull",): "pull",
        ("push",): "pull,push",
        ("push", "api-write"): "delete,pull,push",
        ("api-read",): "",
    }
    for scopes, actions in allowed.items():
        token = make(owner, *scopes, projects=[mine])
        assert is_token(token, "swp_")
        assert pull_scope(registry, name, token, f"{mine}/x") == actions
        assert pull_scope(registry, name, token, f"{other}/x") == ""
        basic = httpx.get(f"{registry.url}/v2/{mine}/x/tags/list", auth=(name, token), timeout=60)
        assert basic.status_code == (404 if "pull" in actions else 403), basic.text
        catalog = httpx.get(f"{registry.url}/v2/_catalog", auth=(name, token), timeout=60)
        assert catalog.status_code == (200 if "api-read" in scopes or "api-write" in scopes else 403)
        holder = as_user(name, token)
        reads, writes = holder.get(f"/projects/{mine}"), holder.put(f"/projects/{mine}", json={})
        assert reads.status_code == (200 if {"api-read", "api-write"} & set(scopes) else 403)
        assert writes.status_code == (200 if "api-write" in scopes else 403)
        assert holder.get(f"/projects/{other}").status_code == 403
    headers = {"Authorization": f"Bearer {make(owner, 'api-read')}"}
    anonymous = httpx.get(f"{registry.url}/api/v2.0/users/current", headers=headers, timeout=60)
    assert anonymous.json()["username"] == name
    reader = as_user(name, make(owner, "api-read", projects=[mine]))
    listed = [
        item["name"]
        for project in (mine, other)
        for item in reader.get("/projects", params={"name": project}).json()
    ]
    assert listed == [mine]


def test_an_administrators_token_for_one_project_administers_nothing_else(
    registry: Registry, admin: Api, as_user: AsUser
) -> None:
    mine, other = admin.project(public="false"), admin.project(public="false")
    token = make(admin, "push", "api-write", projects=[mine])
    holder = as_user("admin", token)
    assert holder.get(f"/projects/{mine}").status_code == 200
    for path in (f"/projects/{other}", "/users", "/registries", "/configurations", "/robots"):
        assert holder.get(path).status_code == 403, path
    assert holder.post("/projects", json={"project_name": "px"}).status_code == 403
    assert {item["project_id"] for item in holder.get("/audit-logs").json() if "project_id" in item} <= {None}
    assert pull_scope(registry, "admin", token, f"{other}/x") == ""
    catalog = httpx.get(
        f"{registry.url}/service/token?scope=registry:catalog:*", auth=("admin", token), timeout=60
    ).json()["token"]
    headers = {"Authorization": f"Bearer {catalog}"}
    assert httpx.get(f"{registry.url}/v2/_catalog", headers=headers, timeout=60).status_code in (401, 403)


def test_a_token_makes_no_credentials(registry: Registry, admin: Api, as_user: AsUser) -> None:
    user_id, _name = admin.user()
    project = admin.project(public="false")
    holder = as_user("admin", make(admin, "pull", "push", "api-write"))
    robot = {
        "name": "r",
        "level": "project",
        "duration": -1,
        "permissions": [
            {
                "kind": "project",
                "namespace": project,
                "access": [{"resource": "repository", "action": "pull"}],
            }
        ],
    }
    refused = (
        ("POST", "/users/current/tokens", {"name": "x", "scopes": ["pull"]}),
        ("POST", "/robots", robot),
        ("POST", "/users", {"username": "sneaked", "password": PASSWORD}),
        ("PUT", f"/users/{user_id}/password", {"new_password": "Another-12345"}),
        ("PUT", f"/users/{user_id}/sysadmin", {"sysadmin_flag": True}),
        ("PUT", f"/users/{user_id}/cli_secret", {"secret": "Another-12345"}),
        ("PUT", "/users/1", {"email": "other@example.com"}),
        # A provider or directory of one's own would say who is an administrator.
        ("PUT", "/configurations", {"auth_mode": "oidc_auth"}),
        ("PUT", "/configurations", {"oidc_admin_group": "mine", "token_expiration": 30}),
        ("PUT", "/configurations", {"ldap_url": "ldap://127.0.0.1:3890"}),
        ("PUT", "/configurations", {"self_registration": False}),
    )
    for method, path, body in refused:
        answer = holder.request(method, path, json=body)
        assert answer.status_code == 403, (method, path, answer.text)
    # Nor does it open a session of the portal.
    token = make(admin, "api-write")
    with httpx.Client(base_url=registry.url, timeout=60) as browser:
        csrf = browser.get("/api/v2.0/systeminfo").headers["X-Harbor-CSRF-Token"]
        answer = browser.post(
            "/c/login",
            data={"principal": "admin", "password": token},
            headers={"X-Harbor-CSRF-Token": csrf},
        )
        assert answer.status_code == 401


def test_bounds_names_and_listing(admin: Api, as_user: AsUser) -> None:
    user_id, name = admin.user()
    owner = as_user(name, PASSWORD)
    for body in (
        {"name": "x", "scopes": []},
        {"name": "x", "scopes": ["admin"]},
        {"name": "", "scopes": ["pull"]},
        {"name": "x\n", "scopes": ["pull"]},
        {"name": "x", "scopes": ["pull"], "expires_in_days": 0},
        {"name": "x", "scopes": ["pull"], "expires_in_days": 366},
        {"name": "x", "scopes": ["pull"], "expires_in_days": -1},
        {"name": "x", "scopes": ["pull"], "projects": []},
        {"name": "x", "scopes": ["pull"], "projects": ["none-such"]},
        # Of a project that the user does not see it is not said that it is there.
        {"name": "x", "scopes": ["pull"], "projects": [admin.project(public="false")]},
    ):
        assert owner.post("/users/current/tokens", json=body).status_code == 400, body
    made = owner.post("/users/current/tokens", json={"name": "ci", "scopes": ["pull"]})
    again = owner.post("/users/current/tokens", json={"name": "ci", "scopes": ["pull"]})
    assert (made.status_code, again.status_code) == (201, 409)
    assert made.headers["Cache-Control"] == "no-store"
    token, uid = made.json()["token"], made.json()["id"]
    for listing in (owner.get("/users/current/tokens"), admin.get(f"/users/{user_id}/tokens")):
        [shown] = listing.json()
        assert (shown["id"], shown["scopes"], shown["kind"]) == (uid, ["pull"], "personal")
        assert token not in listing.text
        assert hash_of(token) not in listing.text
    _, stranger_name = admin.user()
    stranger = as_user(stranger_name, PASSWORD)
    assert stranger.get(f"/users/{user_id}/tokens").status_code == 403
    assert stranger.delete(f"/users/{user_id}/tokens/{uid}").status_code == 403
    assert stranger.delete(f"/users/current/tokens/{uid}").status_code == 404
    assert admin.delete(f"/users/{user_id}/tokens/{uid}").status_code == 200
    assert owner.get("/users/current/tokens").json() == []
    told = admin.get("/audit-logs?q=resource_type=token&page_size=100").json()
    assert {item["operation"] for item in told if item["resource"] == "ci"} == {"create", "delete"}


def test_ends_with_its_user_and_the_users_rights(registry: Registry, admin: Api, as_user: AsUser) -> None:
    user_id, name = admin.user()
    project = admin.project(public="false")
    member = admin.member(project, name, 2)
    owner = as_user(name, PASSWORD)
    token = make(owner, "push", "api-read")
    assert pull_scope(registry, name, token, f"{project}/x") == "pull,push"
    admin.delete(f"/projects/{project}/members/{member}")
    assert pull_scope(registry, name, token, f"{project}/x") == ""
    admin.put(f"/users/{user_id}/sysadmin", json={"sysadmin_flag": True})
    assert as_user(name, token).get("/users").status_code == 200
    admin.put(f"/users/{user_id}/sysadmin", json={"sysadmin_flag": False})
    assert as_user(name, token).get("/users/current").status_code == 401
    token = make(owner, "api-read")
    assert as_user(name, token).get("/users/current").status_code == 200
    admin.delete(f"/users/{user_id}")
    assert as_user(name, token).get("/users/current").status_code == 401


def test_of_another_user_forged_and_guessed(admin: Api, as_user: AsUser) -> None:
    _, name = admin.user()
    token = make(as_user(name, PASSWORD), "api-read")
    assert as_user("admin", token).get("/users/current").status_code == 401
    # A wrong checksum makes it a password, and a wrong one.
    assert (
        as_user(name, token[:-1] + ("a" if token[-1] != "a" else "b")).get("/users/current").status_code
        == 401
    )
    guesses = [make(as_user(name, PASSWORD), "pull") for _ in range(12)]
    _, victim = admin.user()
    found = {as_user(victim, guess).get("/users/current").status_code for guess in guesses}
    assert found == {401, 429}


def test_counters_of_tokens_are_not_those_of_passwords(run: Callable[..., None]) -> None:
    from seawall.access import user_tokens as domain
    from seawall.access import users
    from seawall.access.principal import Principal
    from seawall.access.user_tokens import TokenRequest
    from seawall.kernel.errors import RegistryError

    async def body(lab: Lab) -> None:
        logins, auth = lab.services.callers._user_tokens, lab.services.auth
        # The password of this user is elsewhere.
        user_id = await lab.db.write(lambda c: users.create(c, "ann", None))
        token, request = domain.make_token(), TokenRequest("ci", ("pull",), 3)
        user = Principal(user_id, "ann")
        await lab.db.write(lambda c: domain.create(c, user, request, token, max_days=365))

        async def guess_on() -> None:
            # A right token in between clears nothing that was guessed of the password.
            for number in range(12):
                assert await auth.authenticate("ann", f"Wrong{number:05}", "192.0.2.1") is None
                assert await logins.admit("ann", token, "192.0.2.1") is not None

        with pytest.raises(RegistryError, match="too many failed logins"):
            await guess_on()
        # Old bearer tokens of one program keep no other of the same address out.
        for _ in range(12):
            assert await logins.admit(None, domain.make_token(), "192.0.2.1") is None
        assert await logins.admit(None, token, "192.0.2.1") is not None

    run(body)


def test_a_project_made_again_is_another(registry: Registry, admin: Api, as_user: AsUser) -> None:
    project = admin.project(public="false")
    _, name = admin.user()
    admin.member(project, name, 2)
    token = make(as_user(name, PASSWORD), "pull", "api-read", projects=[project])
    assert pull_scope(registry, name, token, f"{project}/x") == "pull"
    assert admin.delete(f"/projects/{project}").status_code == 200
    admin.made("/projects", {"project_name": project, "metadata": {"public": "false"}})
    admin.member(project, name, 2)
    assert pull_scope(registry, name, token, f"{project}/x") == ""
    assert as_user(name, token).get(f"/projects/{project}").status_code == 403


def test_use_is_written_seldom_and_an_end_is_said_and_announced(run: Callable[..., None]) -> None:
    from seawall.access import user_tokens as domain
    from seawall.access import users
    from seawall.access.principal import EndedError, Principal
    from seawall.access.user_tokens import TokenRequest
    from seawall.features.webhooks.token_notices import TokenNotices

    async def body(lab: Lab) -> None:
        process = lab.services
        await lab.project("p")
        logins = process.callers._user_tokens
        user_id = await lab.db.write(lambda c: users.create(c, "ann", None))
        user = Principal(user_id, "ann", sysadmin=True)
        token = domain.make_token()
        request = TokenRequest("ci", ("pull",), 3, ("p",))
        made = await lab.db.write(lambda c: domain.create(c, user, request, token, max_days=365))

        async def used() -> float | None:
            return (await lab.db.read(lambda c: domain.get(c, user_id, made.uid))).last_used_at

        assert await used() is None
        assert await logins.admit("ann", token, "192.0.2.1") is not None
        first = await used()
        assert first is not None
        await logins.admit("ann", token, "192.0.2.2")
        assert await used() == first

        events: list[tuple[str, dict[str, Any]]] = []

        class Told:
            def record(self, _connection: Any, kind: str, data: dict[str, Any]) -> None:
                events.append((kind, data))

        class Context:
            async def checkpoint(self) -> None: ...
            async def log(self, _line: str) -> None: ...

        notices = TokenNotices(lab.db, Told())  # type: ignore[arg-type]
        assert [await notices.run(Context(), {}) for _ in range(2)] == [1, 0]  # type: ignore[arg-type]
        [(kind, data)] = events
        assert kind == "TOKEN_EXPIRING"
        assert "ci of ann" in str(data["event_data"])
        assert token not in str(data)

        past = update(user_tokens).values(expires_at=time.time() - 1)
        await lab.db.write(lambda c: c.execute(past))
        with pytest.raises(EndedError, match="token ci expired at 20"):
            await logins.admit("ann", token, "192.0.2.1")
        stored = await lab.db.read(lambda c: c.execute(select(user_tokens)).all())
        assert token not in str(stored)

    run(body)


def test_whom_the_provider_shut_out_learns_when_and_why(run: Callable[..., None]) -> None:
    from seawall.access import user_tokens as domain
    from seawall.access import users
    from seawall.access.principal import Principal
    from seawall.access.tables import oidc_users
    from seawall.access.user_tokens import TokenRequest
    from seawall.web.caller import CredentialsError

    async def body(lab: Lab) -> None:
        process = lab.services
        await process.configuration.set({"auth_mode": "oidc_auth"})
        user_id = await lab.db.write(lambda c: users.create(c, "ann", None))
        refresh = json.dumps({"refresh_token": "r", "at": 0}).encode()
        row = {
            "user_id": user_id,
            "issuer": "i",
            "subject": "s",
            "secret": process.keys.encrypt("cli-secret", b"Cli-secret-12345"),
            "token": process.keys.encrypt("oidc-token", refresh),
            "created_at": 1.0,
            "updated_at": 1.0,
        }
        await lab.db.write(lambda c: c.execute(insert(oidc_users).values(**row)))
        token, request = domain.make_token(), TokenRequest("ci", ("pull",), 3)
        user = Principal(user_id, "ann")
        await lab.db.write(lambda c: domain.create(c, user, request, token, max_days=365))
        for secret in ("Cli-secret-12345", token):
            assert (await process.callers.by_password("ann", secret, "192.0.2.1")).name == "ann"

        async def shut_out(user_id: int) -> bool:
            return user_id == 0

        # What the provider's refusal of the refresh token makes of it (`test_oidc.py` has a real provider).
        process.oidc.still_valid = shut_out  # type: ignore[method-assign]
        process.auth._known.clear()
        process.auth._outside.clear()
        with pytest.raises(CredentialsError, match="after 1970-01-01T00:00:00Z; sign in to the portal"):
            await process.callers.by_password("ann", "Cli-secret-12345", "192.0.2.1")
        with pytest.raises(CredentialsError, match="provider no longer lets ann in"):
            await process.callers.by_password("ann", token, "192.0.2.1")
        with pytest.raises(CredentialsError, match="wrong user name or password"):
            await process.callers.by_password("ann", "Wrong-secret-12345", "192.0.2.1")

    run(body)
