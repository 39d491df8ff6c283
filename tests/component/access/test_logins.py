"""`seawall login`: device flow, browser flow, renewal, the credential helper, and attacks on each."""

from __future__ import annotations

import base64
import hashlib
import json
import os
import re
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import httpx
import pytest
from sqlalchemy import update

from seawall.access import users
from seawall.access.accounts import LocalAccounts
from seawall.access.login_requests import OAuthError
from seawall.access.principal import Principal
from seawall.access.tables import login_requests, user_tokens
from seawall.kernel.errors import NotFoundError
from tests.support.api import Api
from tests.support.lab import Lab
from tests.support.processes import PASSWORD
from tests.support.registry import Registry

DEVICE = "urn:ietf:params:oauth:grant-type:device_code"
VERIFIER = "v" * 43
CHALLENGE = base64.urlsafe_b64encode(hashlib.sha256(VERIFIER.encode()).digest()).decode().rstrip("=")
LOOPBACK = "http://127.0.0.1:34567/"


class Program:
    """A program that asks the OAuth endpoints."""

    def __init__(self, registry: Registry) -> None:
        self.http = httpx.Client(base_url=registry.url, timeout=60)

    def post(self, path: str, **fields: str) -> httpx.Response:
        return self.http.post(path, data={"client_id": "seawall-cli", **fields})

    def begin(self, **fields: str) -> dict[str, Any]:
        answer = self.post("/oauth/device_authorization", client_name="a laptop", **fields)
        assert answer.status_code == 200, answer.text
        return dict(answer.json())

    def token(self, **fields: str) -> tuple[int, dict[str, Any]]:
        answer = self.post("/oauth/token", **fields)
        assert answer.headers["Cache-Control"] == "no-store"
        return answer.status_code, answer.json()

    def poll(self, device_code: str) -> tuple[int, dict[str, Any]]:
        return self.token(grant_type=DEVICE, device_code=device_code)

    def renew(self, refresh: str) -> tuple[int, dict[str, Any]]:
        return self.token(grant_type="refresh_token", refresh_token=refresh)


def approve(api: Api, code: str, yes: bool = True) -> httpx.Response:
    return api.put("/users/current/logins/device", json={"user_code": code, "approve": yes})


def signed_in(program: Program, api: Api) -> dict[str, Any]:
    begun = program.begin()
    assert approve(api, begun["user_code"]).status_code == 200
    status, given = program.poll(begun["device_code"])
    assert status == 200, given
    return given


@pytest.fixture
def program(registry: Registry) -> Program:
    return Program(registry)


def test_device_flow(registry: Registry, admin: Api, program: Program) -> None:
    _, name = admin.user()
    user = Api(registry, (name, PASSWORD))
    begun = program.begin(scope="pull")
    assert re.fullmatch("[B-Z]{4}-[B-Z]{4}", begun["user_code"])
    assert begun["expires_in"] <= 600
    assert "verification_uri_complete" not in begun
    assert program.poll(begun["device_code"])[1]["error"] == "authorization_pending"
    assert program.poll(begun["device_code"])[1]["error"] == "slow_down"
    shown = user.post("/users/current/logins/device", json={"user_code": begun["user_code"].lower()})
    assert shown.status_code == 200, shown.text
    assert shown.json()["client"] == "a laptop"
    assert shown.json()["address"]
    assert shown.json()["scopes"] == ["pull"]
    assert approve(user, begun["user_code"]).status_code == 200
    # The user's code is used up, also for somebody else.
    assert approve(admin, begun["user_code"]).status_code == 404
    status, given = program.poll(begun["device_code"])
    assert (status, given["username"], given["token_type"], given["scope"]) == (200, name, "Bearer", "pull")
    # The device's too.
    assert program.poll(begun["device_code"])[1]["error"] == "invalid_grant"
    assert httpx.get(f"{registry.url}/v2/", auth=(name, given["access_token"]), timeout=60).status_code == 200
    assert Api(registry, (name, given["access_token"])).get("/users/current").status_code == 403
    [listed] = user.get("/users/current/tokens").json()
    assert listed["kind"] == "login"
    assert "a laptop" in listed["client"]
    user.delete(f"/users/current/tokens/{listed['id']}")
    assert httpx.get(f"{registry.url}/v2/", auth=(name, given["access_token"]), timeout=60).status_code == 401
    assert program.renew(given["refresh_token"])[1]["error"] == "invalid_grant"


def test_refused_expired_and_malformed(registry: Registry, admin: Api, program: Program) -> None:
    begun = program.begin()
    assert approve(admin, begun["user_code"], False).status_code == 200
    assert program.poll(begun["device_code"])[1]["error"] == "access_denied"
    assert program.post("/oauth/device_authorization", scope="everything").json()["error"] == "invalid_scope"
    for fields, error in (
        ({"grant_type": "password"}, "unsupported_grant_type"),
        ({}, "unsupported_grant_type"),
        ({"grant_type": DEVICE}, "invalid_request"),
        ({"grant_type": DEVICE, "device_code": "x\0"}, "invalid_request"),
        ({"grant_type": DEVICE, "device_code": "guess"}, "invalid_grant"),
        ({"grant_type": "refresh_token", "refresh_token": "a.b.c"}, "invalid_grant"),
        ({"grant_type": "refresh_token", "client_id": "other"}, "invalid_client"),
    ):
        assert program.token(**fields)[1]["error"] == error, fields
    twice = "client_id=seawall-cli&grant_type=a&grant_type=b"
    form = {"Content-Type": "application/x-www-form-urlencoded"}
    answer = program.http.post("/oauth/token", content=twice, headers=form)
    assert (answer.status_code, answer.json()["error"]) == (400, "invalid_request")


def test_user_codes_are_not_guessed_nor_approved_by_what_is_no_person(
    registry: Registry, admin: Api, program: Program
) -> None:
    _, name = admin.user()
    guesser = Api(registry, (name, PASSWORD))
    codes = [f"BBBB-BBB{letter}" for letter in "BCDFGHJKLMNP"]
    found = [approve(guesser, code).status_code for code in codes]
    assert found[0] == 404
    assert found[-1] == 429
    begun = program.begin()
    # Past the limit a right code is refused as well, so that the answer says nothing.
    assert approve(guesser, begun["user_code"]).status_code == 429
    body = {"name": "t", "scopes": ["api-write"]}
    token = admin.post("/users/current/tokens", json={**body, "name": f"t{time.time()}"}).json()["token"]
    assert approve(Api(registry, ("admin", token)), begun["user_code"]).status_code == 403
    assert approve(Api(registry), begun["user_code"]).status_code == 401
    # Another site's page has the cookie, and not the token against forged requests.
    with httpx.Client(base_url=registry.url, timeout=60) as browser:
        csrf = browser.get("/api/v2.0/systeminfo").headers["X-Harbor-CSRF-Token"]
        signed = browser.post(
            "/c/login",
            data={"principal": "admin", "password": PASSWORD},
            headers={"X-Harbor-CSRF-Token": csrf},
        )
        assert signed.status_code == 200
        decision = {"user_code": begun["user_code"], "approve": True}
        for headers in ({}, {"X-Harbor-CSRF-Token": csrf}):
            forged = browser.put("/api/v2.0/users/current/logins/device", json=decision, headers=headers)
            assert forged.status_code == 403
    assert program.poll(begun["device_code"])[1]["error"] == "authorization_pending"


def authorize(api: Api, **changes: str) -> httpx.Response:
    body = {
        "redirect_uri": LOOPBACK,
        "code_challenge": CHALLENGE,
        "code_challenge_method": "S256",
        "state": "state-of-the-program",
        **changes,
    }
    return api.post("/users/current/logins/browser", json=body)


def test_browser_flow_with_pkce(registry: Registry, admin: Api, program: Program) -> None:
    def code() -> str:
        target = authorize(admin).json()["redirect_to"]
        assert target.startswith(LOOPBACK + "?")
        assert httpx.URL(target).params["state"] == "state-of-the-program"
        return str(httpx.URL(target).params["code"])

    def redeem(value: str, verifier: str = VERIFIER, to: str = LOOPBACK) -> tuple[int, dict[str, Any]]:
        return program.token(
            grant_type="authorization_code", code=value, code_verifier=verifier, redirect_uri=to
        )

    once = code()
    status, given = redeem(once)
    assert status == 200
    assert Api(registry, ("admin", given["access_token"])).get("/users").status_code == 200
    assert redeem(once)[1]["error"] == "invalid_grant"
    stolen = code()
    assert redeem(stolen, "w" * 43)[1]["error"] == "invalid_grant"
    # The thief's attempt has used it up.
    assert redeem(stolen)[1]["error"] == "invalid_grant"
    assert redeem(code(), to="http://127.0.0.1:34568/")[1]["error"] == "invalid_grant"
    assert redeem(code(), CHALLENGE)[1]["error"] == "invalid_grant"
    missing = program.token(grant_type="authorization_code", code=code(), redirect_uri=LOOPBACK)
    assert missing[1]["error"] == "invalid_request"
    for changes in (
        {"code_challenge": ""},
        {"code_challenge_method": "plain"},
        {"code_challenge_method": ""},
        {"code_challenge": "short"},
        {"redirect_uri": "https://evil.example.com/"},
        {"redirect_uri": "http://evil.example.com:80/"},
        {"redirect_uri": "http://127.0.0.1:80@evil.example.com/"},
        {"redirect_uri": "http://127.0.0.1.evil.example.com:80/"},
        {"redirect_uri": "http://localhost:80/"},
        {"redirect_uri": "http://127.0.0.1/"},
        {"redirect_uri": "http://127.0.0.1:80/?a=b"},
        {"redirect_uri": "http://127.0.0.1:80/#a"},
        {"redirect_uri": "http://127.0.0.1:80\\@evil.example.com/"},
        {"redirect_uri": "javascript:alert(1)//127.0.0.1:80"},
        {"redirect_uri": "http://[::1"},
        {"scope": "everything"},
    ):
        assert authorize(admin, **changes).status_code == 400, changes


def test_renewal_rotates_and_a_copy_ends_the_login(registry: Registry, admin: Api, program: Program) -> None:
    given = signed_in(program, admin)
    status, next_given = program.renew(given["refresh_token"])
    assert status == 200
    assert Api(registry, ("admin", given["access_token"])).get("/users").status_code == 401
    assert Api(registry, ("admin", next_given["access_token"])).get("/users").status_code == 200
    # Who renews with what was used has a copy: both are out.
    assert program.renew(given["refresh_token"])[1]["error"] == "invalid_grant"
    assert program.renew(next_given["refresh_token"])[1]["error"] == "invalid_grant"
    assert Api(registry, ("admin", next_given["access_token"])).get("/users").status_code == 401
    told = admin.get("/audit-logs?q=resource_type=login&page_size=100").json()
    assert "delete" in {item["operation"] for item in told}
    # A forged one ends nothing.
    given = signed_in(program, admin)
    uid, number, secret = given["refresh_token"].split(".")
    other = signed_in(program, admin)["refresh_token"].split(".")[2]
    assert program.renew(f"{uid}.{number}.{other}")[1]["error"] == "invalid_grant"
    assert program.renew(f"{uid}.7.{secret}")[0] == 503
    assert program.renew(given["refresh_token"])[0] == 200


def test_a_login_ends_with_password_user_and_time(registry: Registry, admin: Api, program: Program) -> None:
    user_id, name = admin.user()
    user = Api(registry, (name, PASSWORD))
    given = signed_in(program, user)
    body = {"old_password": PASSWORD, "new_password": PASSWORD + "x"}
    assert user.put(f"/users/{user_id}/password", json=body).status_code == 200
    assert program.renew(given["refresh_token"])[1]["error"] == "invalid_grant"
    user = Api(registry, (name, PASSWORD + "x"))
    given = signed_in(program, user)
    admin.delete(f"/users/{user_id}")
    assert program.renew(given["refresh_token"])[1]["error"] == "invalid_grant"


def test_requests_and_logins_end_with_time(run: Callable[..., None]) -> None:
    async def body(lab: Lab) -> None:
        logins, past = lab.services.logins, time.time() - 1
        user_id = await lab.db.write(lambda c: users.create(c, "ann", None))
        ann = Principal(user_id, "ann")

        async def write(change: Any) -> None:
            await lab.db.write(lambda c: c.execute(change))

        device, code = await logins.begin_device(("pull",), "a\nlaptop", "192.0.2.1")
        await write(update(login_requests).values(expires_at=past))
        with pytest.raises(NotFoundError):
            await logins.decide(ann, code, "192.0.2.1", approve=True)
        with pytest.raises(OAuthError) as refused:
            await logins.poll(device)
        assert refused.value.code == "expired_token"
        device, code = await logins.begin_device(("pull",), "a\nlaptop", "192.0.2.1")
        assert (await logins.decide(ann, code, "192.0.2.1", approve=True)).client == "alaptop"
        given = await logins.poll(device)
        for days, change in ((0, {}), (30, {"refresh_until": past})):
            if change:
                await write(update(user_tokens).values(**change))
            with pytest.raises(OAuthError, match="sign in again"):
                await logins.renew(given.refresh, "192.0.2.1", days)
        for _ in range(20):
            await logins.begin_device(("pull",), "", "192.0.2.9")
        with pytest.raises(OAuthError, match="too many devices"):
            await logins.begin_device(("pull",), "", "192.0.2.9")
        # Of IPv6 a client has a /64.
        for number in range(20):
            await logins.begin_device(("pull",), "", f"2001:db8:0:1::{number}")
        with pytest.raises(OAuthError, match="too many devices"):
            await logins.begin_device(("pull",), "", "2001:db8:0:1:1:1:1:1")
        await logins.begin_device(("pull",), "", "2001:db8:0:2::1")

    run(body)


@pytest.mark.parametrize("by", ["command", "api", "cli secret"])
def test_a_new_password_ends_what_the_old_one_began(by: str, run: Callable[..., None]) -> None:
    async def body(lab: Lab) -> None:
        logins, accounts = lab.services.logins, LocalAccounts(lab.db)
        await accounts.create_user("ann", PASSWORD)
        found = await lab.services.auth.user("ann")
        assert found is not None
        fetched, waiting = [await logins.begin_device(("pull",), "", "192.0.2.1") for _ in range(2)]
        for _, code in (fetched, waiting):
            await logins.decide(found, code, "192.0.2.1", approve=True)
        given = await logins.poll(fetched[0])
        session = await lab.services.sessions.create(found.id)
        if by == "command":
            await accounts.set_password("ann", "Another-12345")
            assert await lab.services.sessions.get(session) is None
        elif by == "api":
            hashed = await lab.services.auth.hash("Another-12345")
            await lab.db.write(lambda c: users.set_hash(c, found.id, hashed))
        else:
            await lab.db.write(lambda c: users.set_cli_secret(c, found.id, "sealed"))
        with pytest.raises(OAuthError, match="ended"):
            await logins.renew(given.refresh, "192.0.2.1", 30)
        # The user had agreed, and the program had yet to ask.
        with pytest.raises(OAuthError, match="wrong or was used"):
            await logins.poll(waiting[0])

    run(body)


def test_seawall_login_and_the_credential_helper(
    registry: Registry, admin: Api, program: Program, tmp_path: Path
) -> None:
    environment = {
        **os.environ,
        "XDG_CONFIG_HOME": str(tmp_path),
        "DOCKER_CONFIG": str(tmp_path / "docker"),
    }
    with subprocess.Popen(
        [sys.executable, "-m", "seawall", "login", registry.url, "--device"],
        env=environment,
        stdout=subprocess.PIPE,
        text=True,
    ) as login:
        assert login.stdout is not None
        code = login.stdout.readline().split()[-1]
        assert approve(admin, code).status_code == 200
        assert login.stdout.readline().rstrip().endswith("as admin")
    host = registry.url.removeprefix("http://")
    assert json.loads((tmp_path / "docker/config.json").read_text())["credHelpers"] == {host: "seawall"}
    kept = tmp_path / "seawall/logins.json"
    assert kept.stat().st_mode & 0o077 == 0

    def helper(action: str, given: str = "") -> subprocess.CompletedProcess[str]:
        helper = "from seawall.process.credentials import main; main()"
        command = [sys.executable, "-c", helper, action]
        return subprocess.run(
            command, env=environment, input=given, capture_output=True, text=True, check=False
        )

    for server in (host, f"http://{host}", f"https://{host}/v1/\n"):
        found = json.loads(helper("get", server).stdout)
        assert found["Username"] == "admin"
        assert found["Secret"].startswith("swl_")
    answer = httpx.get(f"{registry.url}/v2/", auth=("admin", found["Secret"]), timeout=60)
    assert answer.status_code == 200
    # What is near its end is renewed, however many ask at once.
    content = json.loads(kept.read_text())
    content[host]["until"] = time.time() + 60
    kept.write_text(json.dumps(content))
    running = [
        subprocess.Popen(
            [sys.executable, "-c", "from seawall.process.credentials import main; main()", "get"],
            env=environment,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
        )
        for _ in range(3)
    ]
    secrets = {json.loads(one.communicate(host)[0])["Secret"] for one in running}
    assert len(secrets) == 1
    assert secrets != {found["Secret"]}
    assert json.loads(helper("list").stdout) == {host: "admin"}
    missing = helper("get", "other.example.com")
    assert (missing.returncode, missing.stdout.strip()) == (1, "credentials not found in native keychain")
    stored = {"ServerURL": "https://other.example.com", "Username": "ann", "Secret": "s"}
    assert helper("store", json.dumps(stored)).returncode == 0
    assert json.loads(helper("get", "other.example.com").stdout)["Secret"] == "s"
    assert helper("store", "no").returncode == 1
    assert helper("nonsense").returncode == 1
    refresh = json.loads(kept.read_text())[host]["refresh"]
    assert helper("erase", host).returncode == 0
    assert helper("get", host).returncode == 1
    # It ended at the registry too.
    assert program.renew(refresh)[1]["error"] == "invalid_grant"
