"""Sign-in through a real OpenID provider (Canaille), run by the test."""

from __future__ import annotations

from collections.abc import Iterator
from urllib.parse import parse_qs, urlsplit

import httpx
import pytest

from tests.support.api import Api, code
from tests.support.processes import PASSWORD, free_port
from tests.support.registry import Registry
from tests.support.servers.canaille import CLIENT_ID, CLIENT_SECRET, Canaille

HEADER = "X-Harbor-CSRF-Token"
USERS = {
    "alice": ["developers"],
    "bob": ["registry-admins", "developers", "hidden"],
    "carol": [],
    "dave": [],
    # The registry has a local administrator of this name.
    "admin": ["registry-admins"],
}


class World:
    """A registry, its provider, and browsers."""

    def __init__(self, registry: Registry, provider: Canaille) -> None:
        self.registry, self.provider = registry, provider
        self.admin = Api(registry, registry.admin)

    def configure(self, **values: object) -> None:
        done = self.admin.put("/configurations", json=values)
        assert done.status_code == 200, done.text

    def to_provider(self, browser: httpx.Client, target: str = "/portal") -> str:
        begun = browser.get(f"{self.registry.url}/c/oidc/login", params={"redirect_url": target})
        assert begun.status_code == 302, begun.text
        return begun.headers["Location"]

    def sign_in(self, browser: httpx.Client, user: str, target: str = "/portal") -> httpx.Response:
        """The whole way; returns the answer of the callback."""
        back = self.provider.sign_in(browser, self.to_provider(browser, target), user)
        assert back.startswith(f"{self.registry.url}/c/oidc/callback?"), back
        return browser.get(back)

    def me(self, browser: httpx.Client) -> httpx.Response:
        return browser.get(f"{self.registry.url}/api/v2.0/users/current")


@pytest.fixture(scope="module")
def world(tmp_path_factory: pytest.TempPathFactory) -> Iterator[World]:
    registry = Registry(tmp_path_factory.mktemp("oidc") / "data", {"SEAWALL_HTTP__WORKERS": "1"})
    provider = Canaille(
        tmp_path_factory.mktemp("canaille"), free_port(), f"{registry.url}/c/oidc/callback", USERS
    )
    try:
        provider.start()
        registry.start()
        world = World(registry, provider)
        world.configure(
            auth_mode="oidc_auth",
            oidc_name="canaille",
            oidc_endpoint=provider.url,
            oidc_client_id=CLIENT_ID,
            oidc_client_secret=CLIENT_SECRET,
            oidc_scope="openid,profile,email,groups",
            oidc_groups_claim="groups",
            oidc_group_filter="^(?!hidden)",
            oidc_admin_group="registry-admins",
            oidc_user_claim="sub",
            oidc_auto_onboard=True,
        )
        yield world
    finally:
        provider.stop()
        registry.close()


@pytest.fixture
def browser() -> Iterator[httpx.Client]:
    with httpx.Client(timeout=60) as client:
        yield client


def test_sign_in_groups_and_cli_secret(world: World, browser: httpx.Client) -> None:
    project = world.admin.project()
    member = {"role_id": 2, "member_group": {"group_name": "developers", "group_type": 3}}
    world.admin.made(f"/projects/{project}/members", member)
    done = world.sign_in(browser, "alice")
    assert done.status_code == 302, done.text
    assert done.headers["Location"] == "/portal"
    me = world.me(browser).json()
    assert me["realname"] == "The alice"
    assert me["email"] == "alice@provider.test"
    assert me["sysadmin_flag"] is False
    name, secret = me["username"], me["oidc_user_meta"]["secret"]
    found = browser.get(f"{world.registry.url}/api/v2.0/projects/{project}")
    assert found.json()["current_user_role_id"] == 2
    # The CLI secret is the password of docker login and of Basic ...
    auth = (name, secret)
    assert httpx.post(f"{world.registry.url}/v2/{project}/a/blobs/uploads/", auth=auth).status_code == 202
    assert httpx.get(f"{world.registry.url}/service/token", auth=auth).status_code == 200
    # ... shown to nobody else, not good for the portal, and replaced at will.
    assert secret not in world.admin.get(f"/users/{me['user_id']}").text
    with Api(world.registry) as other:
        token = other.get("/systeminfo").headers[HEADER]
        form = {"principal": name, "password": secret}
        login = other.post(f"{world.registry.url}/c/login", data=form, headers={HEADER: token})
        assert login.status_code == 401
    token = world.me(browser).headers[HEADER]
    changed = browser.put(
        f"{world.registry.url}/api/v2.0/users/{me['user_id']}/cli_secret",
        json={"secret": "Cli-secret-12345"},
        headers={HEADER: token},
    )
    assert changed.status_code == 200, changed.text
    current = f"{world.registry.url}/api/v2.0/users/current"
    assert httpx.get(current, auth=auth).status_code == 401
    assert httpx.get(current, auth=(name, "Cli-secret-12345")).status_code == 200
    # The same person again is the same user.
    with httpx.Client(timeout=60) as second:
        world.sign_in(second, "alice")
        assert world.me(second).json()["user_id"] == me["user_id"]


def test_administrator_by_group(world: World, browser: httpx.Client) -> None:
    world.sign_in(browser, "bob")
    me = world.me(browser).json()
    assert (me["sysadmin_flag"], me["admin_role_in_auth"]) == (False, True)
    assert browser.get(f"{world.registry.url}/api/v2.0/users").status_code == 200
    groups = {item["group_name"] for item in world.admin.get("/usergroups").json()}
    assert "registry-admins" in groups
    assert "hidden" not in groups


def test_onboarding_and_a_taken_name(world: World, browser: httpx.Client) -> None:
    # A person called like the local administrator never becomes it.
    done = world.sign_in(browser, "admin")
    assert done.headers["Location"].startswith("/oidc-onboard?username=admin")
    assert world.me(browser).status_code == 401
    url = f"{world.registry.url}/c/oidc/onboard"
    assert browser.post(url, json={"username": "other-admin"}).status_code == 403
    token = browser.get(f"{world.registry.url}/api/v2.0/systeminfo").headers[HEADER]
    taken = browser.post(url, json={"username": "admin"}, headers={HEADER: token})
    assert (taken.status_code, code(taken)) == (409, "CONFLICT")
    made = browser.post(url, json={"username": "other-admin"}, headers={HEADER: token})
    assert made.status_code == 200, made.text
    assert world.me(browser).json()["username"] == "other-admin"


def test_without_auto_onboard_the_user_chooses(world: World, browser: httpx.Client) -> None:
    world.configure(oidc_auto_onboard=False)
    try:
        done = world.sign_in(browser, "carol", "/harbor/projects")
        where = urlsplit(done.headers["Location"])
        assert where.path == "/oidc-onboard"
        assert parse_qs(where.query)["redirect_url"] == ["/harbor/projects"]
    finally:
        world.configure(oidc_auto_onboard=True)


@pytest.mark.parametrize("target", ["https://evil.test/", "//evil.test", "/\\evil.test", "javascript:x"])
def test_no_open_redirect(world: World, browser: httpx.Client, target: str) -> None:
    done = world.sign_in(browser, "dave", target)
    assert done.headers["Location"] == "/"


def test_forged_callbacks(world: World, browser: httpx.Client) -> None:
    address = world.to_provider(browser)
    query = parse_qs(urlsplit(address).query)
    assert query["code_challenge_method"] == ["S256"]
    assert query["nonce"]
    callback = f"{world.registry.url}/c/oidc/callback"
    state = query["state"][0]
    assert browser.get(callback, params={"code": "x", "state": "other"}).status_code == 403
    assert browser.get(callback, params={"code": "invented", "state": state}).status_code == 403
    # Another browser cannot finish what this one began (login CSRF).
    back = world.provider.sign_in(browser, world.to_provider(browser), "alice")
    with httpx.Client(timeout=60) as stranger:
        assert stranger.get(back).status_code == 403
    # And a code is good once.
    assert browser.get(back).status_code == 302
    assert browser.get(back).status_code == 403


def test_bearer_tokens_of_others_are_refused(world: World) -> None:
    for token in ("x", "e30.e30.", "eyJhbGciOiJub25lIn0.eyJzdWIiOiJhZG1pbiJ9."):
        answer = httpx.get(
            f"{world.registry.url}/api/v2.0/users/current", headers={"Authorization": f"Bearer {token}"}
        )
        assert answer.status_code == 401


def test_local_administrator_and_ping(world: World) -> None:
    assert world.admin.get("/users/current").json()["username"] == "admin"
    assert world.admin.post("/users", json={"username": "l", "password": PASSWORD}).status_code == 403
    assert world.admin.post("/system/oidc/ping", json={"url": world.provider.url}).status_code == 200
    away = f"http://127.0.0.1:{free_port()}"
    for wrong in (away, "", "nonsense", "ftp://idp.example"):
        assert world.admin.post("/system/oidc/ping", json={"url": wrong}).status_code == 400
    assert world.admin.get("/systeminfo").json()["oidc_provider_name"] == "canaille"
    assert CLIENT_SECRET not in world.admin.get("/configurations").text
    assert CLIENT_SECRET not in world.registry.log.read_text()
