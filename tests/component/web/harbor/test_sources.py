"""Several OpenID providers in a browser; sources and links over the API and by commands."""

from __future__ import annotations

import json
from collections.abc import Iterator
from typing import Any
from urllib.parse import parse_qsl, urlencode, urlsplit, urlunsplit

import httpx
import pytest

from tests.support.api import Api, code
from tests.support.processes import PASSWORD
from tests.support.registry import Registry
from tests.support.servers.provider import CLIENT_ID, CLIENT_SECRET, Provider, open_provider

SOURCES = "/system/identity-sources"


class World:
    """A registry and two providers, sources `one` and `two`, which have an Alice each."""

    def __init__(self, registry: Registry, one: Provider, two: Provider) -> None:
        self.registry, self.one, self.two = registry, one, two
        self.admin = Api(registry, registry.admin)

    def callback(self, source: str) -> str:
        return f"{self.registry.url}/c/oidc/callback/{source}"

    def begin(self, browser: httpx.Client, source: str) -> str:
        """Go to the provider; returns where it sends the browser."""
        begun = browser.get(f"{self.registry.url}/c/oidc/login", params={"source": source})
        assert begun.status_code == 302, begun.text
        return browser.get(begun.headers["Location"]).headers["Location"]

    def sign_in(self, browser: httpx.Client, source: str) -> httpx.Response:
        return browser.get(self.begin(browser, source))

    def me(self, browser: httpx.Client) -> httpx.Response:
        return browser.get(f"{self.registry.url}/api/v2.0/users/current")


def source(name: str, provider: Provider, **more: Any) -> dict[str, Any]:
    configuration = {
        "endpoint": provider.url,
        "client_id": CLIENT_ID,
        "client_secret": CLIENT_SECRET,
        "user_claim": "preferred_username",
        "groups_claim": "groups",
        "auto_onboard": True,
    }
    return {"name": name, "kind": "oidc", "configuration": configuration, **more}


@pytest.fixture(scope="module")
def world(tmp_path_factory: pytest.TempPathFactory) -> Iterator[World]:
    registry = Registry(tmp_path_factory.mktemp("sources") / "data")
    with open_provider() as one, open_provider() as two:
        try:
            registry.start()
            world = World(registry, one, two)
            for name, provider in (("one", one), ("two", two)):
                made = world.admin.post(SOURCES, json=source(name, provider, title=f"Company {name}"))
                assert made.status_code == 201, made.text
            yield world
        finally:
            registry.close()


@pytest.fixture(autouse=True)
def alices(world: World) -> Iterator[None]:
    """Two people: all that they have in common is what a provider may say of anybody."""
    for provider in (world.one, world.two):
        provider.person = {
            "sub": "1",
            "preferred_username": "alice",
            "email": "alice@example.com",
            "groups": ["admins"],
        }
    yield
    for provider in (world.one, world.two):
        provider.says_iss, provider.sends_to, provider.redirect_to = False, "", ""
        provider.shown.clear()


@pytest.fixture
def browser() -> Iterator[httpx.Client]:
    with httpx.Client(timeout=60) as client:
        yield client


def test_two_people_of_two_providers(world: World) -> None:
    found = []
    for name in ("one", "two"):
        with httpx.Client(timeout=60) as browser:
            done = world.sign_in(browser, name)
            assert (done.status_code, done.headers["Location"]) == (302, "/")
            me = world.me(browser).json()
            assert me["username"] == f"{name}-alice"
            assert me["sysadmin_flag"] is False
            found.append((me["user_id"], me["oidc_user_meta"]["secret"]))
    assert found[0][0] != found[1][0]
    # What programs use is each one's own, too.
    current = f"{world.registry.url}/api/v2.0/users/current"
    assert httpx.get(current, auth=("one-alice", found[0][1])).status_code == 200
    assert httpx.get(current, auth=("two-alice", found[0][1])).status_code == 401
    for provider, user in ((world.one, found[0][0]), (world.two, found[1][0])):
        bearer = {"Authorization": f"Bearer {provider.id_token(sub='1')}"}
        assert httpx.get(current, headers=bearer).json()["user_id"] == user
    forged = {"Authorization": f"Bearer {world.one.id_token(sub='1', iss=world.two.url)}"}
    assert httpx.get(current, headers=forged).status_code == 401
    # The sign-in page knows both.
    info = httpx.get(f"{world.registry.url}/api/v2.0/systeminfo").json()
    assert info["oidc_sources"] == [
        {"name": "one", "title": "Company one"},
        {"name": "two", "title": "Company two"},
    ]
    assert info["auth_mode"] == "db_auth"


def test_administrators_of_one_provider(world: World, browser: httpx.Client) -> None:
    assert world.admin.put(f"{SOURCES}/two", json={"admin_group": "admins"}).status_code == 200
    try:
        world.sign_in(browser, "one")
        assert world.me(browser).json()["admin_role_in_auth"] is False
        assert browser.get(f"{world.registry.url}/api/v2.0/users").status_code == 403
        with httpx.Client(timeout=60) as other:
            world.sign_in(other, "two")
            assert world.me(other).json()["admin_role_in_auth"] is True
            # A source that is switched off takes the rights of its sessions along.
            assert world.admin.put(f"{SOURCES}/two", json={"enabled": False}).status_code == 200
            assert world.me(other).status_code == 401
            assert other.get(f"{world.registry.url}/c/oidc/login?source=two").status_code == 404
    finally:
        world.admin.put(f"{SOURCES}/two", json={"enabled": True, "admin_group": ""})


@pytest.mark.parametrize("says_iss", [False, True])
def test_mix_up(world: World, browser: httpx.Client, says_iss: bool) -> None:
    """A provider sends browsers on to an honest one, to be shown the code (RFC 9700 4.4)."""
    world.one.sends_to = f"{world.two.url}/authorize"
    world.two.says_iss = says_iss
    # The honest provider knows the address of its own source only ...
    world.one.redirect_to = world.callback("two")
    begun = browser.get(f"{world.registry.url}/c/oidc/login", params={"source": "one"})
    onward = browser.get(begun.headers["Location"]).headers["Location"]
    assert onward.startswith(world.two.url)
    back = browser.get(onward).headers["Location"]
    assert browser.get(back).status_code == 403
    assert world.me(browser).status_code == 401
    # ... and one that does not look at it says whose the answer is.
    if says_iss:
        world.one.redirect_to = world.callback("one")
        begun = browser.get(f"{world.registry.url}/c/oidc/login", params={"source": "one"})
        onward = browser.get(begun.headers["Location"]).headers["Location"]
        assert browser.get(browser.get(onward).headers["Location"]).status_code == 403
    assert (world.one.shown, world.two.shown) == ([], [])


def test_answers_without_their_issuer(world: World, browser: httpx.Client) -> None:
    world.one.says_iss = True
    # As a provider that was asked a moment ago: its document is kept for ten minutes.
    back = world.begin(browser, "one")
    parts = urlsplit(back)
    query = [pair for pair in parse_qsl(parts.query) if pair[0] != "iss"]
    wrong = urlunsplit(parts._replace(query=urlencode([*query, ("iss", world.two.url)])))
    assert browser.get(wrong).status_code == 403
    assert world.one.shown == []
    assert browser.get(back).status_code == 302


def test_keys_of_other_kinds(world: World, browser: httpx.Client) -> None:
    """A provider that publishes a key of a kind that nobody here knows lets people in as before."""
    strange: list[dict[str, Any]] = [
        {"kty": "EC", "crv": "P-999", "x": "a", "y": "b", "kid": "1"},
        {"kty": "RSA", "kid": "2"},
        {"kty": "AKP", "alg": "ML-DSA-44", "pub": "a", "kid": "3"},
    ]
    with open_provider() as provider, open_provider() as empty:
        for one in (provider, empty):
            one.person = {"sub": "1", "preferred_username": "alice"}
        provider.more_keys = strange
        # Its keys are said to be where none are.
        empty.document["jwks_uri"] = f"{empty.url}/.well-known/openid-configuration"
        for name, one in (("strange", provider), ("empty", empty)):
            assert world.admin.post(SOURCES, json=source(name, one)).status_code == 201
        try:
            refused = world.sign_in(browser, "empty")
            assert (refused.status_code, refused.headers.get("Location", "")) == (403, "")
            world.sign_in(browser, "strange")
            assert world.me(browser).json()["username"] == "strange-alice"
        finally:
            for name in ("strange", "empty"):
                world.admin.delete(f"{SOURCES}/{name}")


def test_callbacks_of_another_source(world: World, browser: httpx.Client) -> None:
    back = world.begin(browser, "one")
    for path in ("/c/oidc/callback/two", "/c/oidc/callback"):
        moved = urlunsplit(urlsplit(back)._replace(path=path))
        assert browser.get(moved).status_code in (403, 412)
    assert browser.get(urlunsplit(urlsplit(back)._replace(path="/c/oidc/callback/three"))).status_code == 404
    assert browser.get(f"{world.registry.url}/c/oidc/login?source=three").status_code == 404
    assert browser.get(f"{world.registry.url}/c/oidc/login").status_code == 412
    assert (world.one.shown, world.two.shown) == ([], [])


def test_a_taken_name_and_the_prefix(world: World, browser: httpx.Client) -> None:
    world.sign_in(browser, "one")
    # Another person of the same provider, with the name of the first.
    world.one.person = {"sub": "2", "preferred_username": "alice", "email": "alice@example.com"}
    with httpx.Client(timeout=60) as second:
        done = world.sign_in(second, "one")
        assert done.headers["Location"].startswith("/oidc-onboard?username=one-alice")
        info = second.get(f"{world.registry.url}/api/v2.0/systeminfo")
        header = {"X-Harbor-CSRF-Token": info.headers["X-Harbor-CSRF-Token"]}
        url = f"{world.registry.url}/c/oidc/onboard"
        for name, status in (("one-alice", 409), ("admin", 400), ("two-alice2", 400), ("one-alice2", 200)):
            answer = second.post(url, json={"username": name}, headers=header)
            assert answer.status_code == status, (name, answer.text)


def test_management(world: World) -> None:
    listed = world.admin.get(SOURCES)
    assert [item["name"] for item in listed.json()] == ["one", "two"]
    assert CLIENT_SECRET not in listed.text
    assert listed.json()[0]["configuration"]["endpoint"] == world.one.url
    assert CLIENT_SECRET not in world.admin.get(f"{SOURCES}/one").text
    assert world.admin.post(f"{SOURCES}/one/ping").status_code == 200
    world.admin.put(f"{SOURCES}/two", json={"position": 0})
    assert [item["name"] for item in world.admin.get(SOURCES).json()] == ["two", "one"]
    world.admin.put(f"{SOURCES}/two", json={"position": 2})
    for body, status in (
        (source("one", world.one), 409),
        (source("other", world.one, prefix="ONE-"), 409),
        (source("Bad name", world.one), 400),
        ({"name": "x", "kind": "oidc"}, 400),
        ({"name": "x", "kind": "oidc", "configuration": {"endpoint": 5}}, 400),
        ({"name": "x", "kind": "oidc", "configuration": []}, 422),
        ({"kind": "oidc"}, 422),
    ):
        answer = world.admin.post(SOURCES, json=body)
        assert answer.status_code == status, (body, answer.text)
        assert code(answer)
    assert world.admin.get(f"{SOURCES}/none").status_code == 404
    assert world.admin.put(f"{SOURCES}/none", json={}).status_code == 404
    assert world.admin.delete(f"{SOURCES}/none").status_code == 404
    _, name = world.admin.user()
    with Api(world.registry, (name, PASSWORD)) as user, Api(world.registry) as anonymous:
        for method, path in (("GET", SOURCES), ("POST", SOURCES), ("DELETE", f"{SOURCES}/one")):
            assert user.request(method, path, json=source("x", world.one)).status_code == 403
            assert anonymous.request(method, path, json=source("x", world.one)).status_code == 401


def test_a_robot_manages_no_sources(world: World) -> None:
    """Who says where users come from could be any of them: a right over configuration is not enough."""
    permission = {"kind": "system", "namespace": "/", "access": [{"resource": "user", "action": "update"}]}
    body = {"name": "manager", "level": "system", "duration": -1, "permissions": [permission]}
    made = world.admin.post("/robots", json=body)
    assert made.status_code == 201, made.text
    with Api(world.registry, (made.json()["name"], made.json()["secret"])) as robot:
        assert robot.post(SOURCES, json=source("x", world.one)).status_code == 403
        linked = robot.post("/users/1/identities", json={"source": "one", "subject": "9"})
        assert linked.status_code == 403
        assert robot.delete("/users/1/identities", params={"source": "one"}).status_code == 403


def test_links(world: World, browser: httpx.Client) -> None:
    number, name = world.admin.user()
    project = world.admin.project()
    world.admin.member(project, name, 1)
    link = {"source": "two", "subject": "77"}
    linked = world.admin.post(f"/users/{number}/identities", json=link)
    assert linked.status_code == 201, linked.text
    world.two.person["sub"] = "77"
    world.sign_in(browser, "two")
    me = world.me(browser).json()
    assert (me["user_id"], me["username"]) == (number, name)
    found = browser.get(f"{world.registry.url}/api/v2.0/projects/{project}").json()
    assert found["current_user_role_id"] == 1
    # The password here is good as before; the CLI secret opens no session, and changes no password.
    with Api(world.registry, (name, PASSWORD)) as user:
        assert user.get("/users/current").status_code == 200
        secret = me["oidc_user_meta"]["secret"]
        own = {"old_password": secret, "new_password": "Other-password-1"}
        assert user.put(f"/users/{number}/password", json=own).status_code == 403
    current = f"{world.registry.url}/api/v2.0/users/current"
    assert httpx.get(current, auth=(name, secret)).status_code == 200
    assert world.admin.get(f"/users/{number}/identities").json()[0]["subject"] == "77"
    # Nobody else is linked to her, and unlinked she is signed out.
    other, _ = world.admin.user()
    assert world.admin.post(f"/users/{other}/identities", json=link).status_code == 409
    gone = world.admin.delete(f"/users/{number}/identities", params={"source": "two"})
    assert gone.status_code == 200, gone.text
    assert world.me(browser).status_code == 401
    assert world.admin.get(f"/users/{number}/identities").json() == []
    for body, status in (
        ({"source": "three", "subject": "1"}, 404),
        ({"source": "one"}, 400),
        ({"subject": "1"}, 400),
        ({"source": 5}, 422),
    ):
        assert world.admin.post(f"/users/{number}/identities", json=body).status_code == status, body
    assert world.admin.post("/users/99999/identities", json=link).status_code == 404
    assert world.admin.get("/users/99999/identities").status_code == 404
    log = world.admin.get("/auditlog-exts", params={"page_size": 50}).text
    assert f"link {name} to 77 of source two" in log
    assert f"unlink {name} from source two" in log


def test_commands(world: World) -> None:
    registry = world.registry
    settings = ["--set", f"endpoint={world.one.url}", "--set", f"client_id={CLIENT_ID}"]
    added = registry.cli(
        "source",
        "add",
        "three",
        "--kind",
        "oidc",
        *settings,
        "--secret",
        "client_secret",
        stdin="S3cret-123\n",
    )
    assert added.returncode == 0, added.stderr
    listed = registry.cli("source", "list", "--json")
    rows = json.loads(listed.stdout)
    assert [row["source"] for row in rows] == ["one", "two", "three"]
    assert "S3cret-123" not in listed.stdout
    assert registry.cli("source", "test", "three").returncode == 0
    shown = registry.cli("source", "add", "x", "--kind", "oidc", "--set", "client_secret=y")
    assert shown.returncode != 0
    assert "standard input" in shown.stderr
    assert registry.cli("source", "change", "three", "--disable", "--title", "Three").returncode == 0
    _, name = world.admin.user()
    assert registry.cli("user", "link", name, "three", "--subject", "5").returncode == 0
    known = json.loads(registry.cli("user", "identities", name, "--json").stdout)
    assert known == [{"source": "three", "issuer": world.one.url, "subject": "5"}]
    for arguments in (
        ("user", "link", name, "four", "--subject", "5"),
        ("user", "link", name, "three"),
        ("user", "link", "nobody", "three", "--subject", "6"),
        ("user", "unlink", name, "one"),
        ("source", "change", "four", "--enable"),
        ("source", "remove", "four"),
    ):
        failed = registry.cli(*arguments)
        assert failed.returncode != 0, arguments
        assert "Traceback" not in failed.stderr
    assert registry.cli("user", "unlink", name, "three").returncode == 0
    removed = registry.cli("source", "remove", "three")
    assert removed.returncode == 0, removed.stderr
    assert [item["name"] for item in world.admin.get(SOURCES).json()] == ["one", "two"]
    # What was done, and nothing of what failed, is in the audit log.
    rows = world.admin.get("/auditlog-exts", params={"page_size": 50}).json()
    mine = [row for row in rows if row["username"].startswith("seawall (")]
    assert [(row["operation"], row["resource_type"], row["operation_description"]) for row in mine] == [
        ("delete", "configuration", "remove source three"),
        ("update", "user", f"unlink {name} from source three"),
        ("update", "user", f"link {name} to 5 of source three"),
        ("update", "configuration", "change source three"),
        ("create", "configuration", "add source three"),
    ]
