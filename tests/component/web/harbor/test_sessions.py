"""The portal's sessions: CSRF, fixation, sign-out, rate limits."""

from __future__ import annotations

from tests.support.api import Api, code
from tests.support.processes import PASSWORD
from tests.support.registry import Registry

HEADER = "X-Harbor-CSRF-Token"


def _root(api: Api, path: str) -> str:
    return str(api.base_url).removesuffix("/api/v2.0/") + path


def _login(api: Api, name: str, password: str = PASSWORD) -> int:
    token = api.get("/systeminfo").headers[HEADER]
    form = {"principal": name, "password": password}
    return api.post(_root(api, "/c/login"), data=form, headers={HEADER: token}).status_code


def test_login_and_csrf(registry: Registry, admin: Api) -> None:
    _, name = admin.user()
    with Api(registry) as browser:
        # Signing in needs the token of this very browser.
        form = {"principal": name, "password": PASSWORD}
        assert browser.post(_root(browser, "/c/login"), data=form).status_code == 403
        assert _login(browser, name, "Wrong-12345") == 401
        assert _login(browser, name) == 200
        cookie = next(item for item in browser.cookies.jar if item.name == "sid")
        assert cookie.has_nonstandard_attr("HttpOnly")
        current = browser.get("/users/current")
        assert current.json()["username"] == name
        # A change needs the header, whatever else the request has.
        body = {"project_name": f"{name}-p"}
        refused = browser.post("/projects", json=body)
        assert (refused.status_code, code(refused)) == (403, "FORBIDDEN")
        token = current.headers[HEADER]
        assert browser.post("/projects", json=body, headers={HEADER: token + "x"}).status_code == 403
        assert browser.post("/projects", json=body, headers={HEADER: token}).status_code == 201
        with Api(registry) as other:
            assert _login(other, name) == 200
            # A token is good in its own session only.
            assert other.delete(f"/projects/{name}-p", headers={HEADER: token}).status_code == 403
            own = other.get("/users/current").headers[HEADER]
            assert other.delete(f"/projects/{name}-p", headers={HEADER: own}).status_code == 200
        sid = browser.cookies["sid"]
        assert browser.get(_root(browser, "/c/log_out")).status_code == 200
        assert browser.get("/users/current").status_code == 401
    with Api(registry) as thief:
        thief.cookies.set("sid", sid)
        assert thief.get("/users/current").status_code == 401


def test_session_from_elsewhere(registry: Registry, admin: Api) -> None:
    """Terraform's `session_id`: the session's cookie alone; it looks for the CSRF cookie by its name."""
    _, name = admin.user()
    with Api(registry) as browser, Api(registry) as provider:
        assert _login(browser, name) == 200
        provider.cookies.set("sid", browser.cookies["sid"])
        first = provider.get("/users/current")
        assert first.json()["username"] == name
        assert first.cookies["_gorilla_csrf"]
        token = first.headers[HEADER]
        again = provider.post("/projects", json={"project_name": f"{name}-p"}, headers={HEADER: token})
        assert (again.status_code, "_gorilla_csrf" in again.cookies) == (201, False)


def test_basic_needs_no_csrf_token(admin: Api) -> None:
    assert admin.project()


def test_session_fixation(registry: Registry, admin: Api) -> None:
    _, name = admin.user()
    with Api(registry) as browser:
        browser.cookies.set("sid", "chosen-by-somebody-else", domain="127.0.0.1", path="/")
        token = browser.get("/systeminfo").headers[HEADER]
        form = {"principal": name, "password": PASSWORD}
        done = browser.post(_root(browser, "/c/login"), data=form, headers={HEADER: token})
        assert done.status_code == 200
        assert done.cookies["sid"] != "chosen-by-somebody-else"
    with Api(registry) as other:
        other.cookies.set("sid", "chosen-by-somebody-else")
        assert other.get("/users/current").status_code == 401


def test_password_change_and_lost_rights_end_sessions(registry: Registry, admin: Api) -> None:
    user_id, name = admin.user()
    with Api(registry) as browser:
        assert _login(browser, name) == 200
        assert browser.get("/users/current").status_code == 200
        assert (
            admin.put(f"/users/{user_id}/password", json={"new_password": "Changed-12345"}).status_code == 200
        )
        assert browser.get("/users/current").status_code == 401
        assert _login(browser, name, "Changed-12345") == 200
        assert admin.delete(f"/users/{user_id}").status_code == 200
        assert browser.get("/users/current").status_code == 401


def test_wrong_passwords_are_throttled(registry: Registry, admin: Api) -> None:
    _, name = admin.user()
    answers = []
    for number in range(8):
        # The same wrong password again would be no new guess.
        with Api(registry, (name, f"Wrong-1234{number}")) as guesser:
            answers.append(guesser.get("/users/current").status_code)
    assert answers[0] == 401
    assert answers[-1] == 429
    with Api(registry, (name, "Wrong-98765")) as guesser:
        limited = guesser.get("/users/current")
        assert code(limited) == "TOO_MANY_REQUESTS"
        assert int(limited.headers["Retry-After"]) > 0
    with Api(registry) as browser:
        assert _login(browser, name) == 429


def test_robots_cannot_use_the_portal(registry: Registry, admin: Api) -> None:
    project = admin.project()
    access = [{"resource": "repository", "action": "pull"}]
    body = {
        "name": "p",
        "level": "project",
        "duration": -1,
        "permissions": [{"kind": "project", "namespace": project, "access": access}],
    }
    robot = admin.post("/robots", json=body).json()
    with Api(registry) as browser:
        assert _login(browser, robot["name"], robot["secret"]) == 401
