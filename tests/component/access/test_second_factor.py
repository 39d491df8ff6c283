"""A second factor: enrolled, asked for, used once, required, lost; and what goes around it."""

from __future__ import annotations

import base64
import time
from collections.abc import Iterator
from typing import Any

import httpx
import pytest
from sqlalchemy import select

from seawall.access import users
from seawall.access.second_factor import code_at
from seawall.access.tables import used_tokens
from seawall.kernel.errors import RegistryError
from tests.support.api import Api
from tests.support.lab import Lab, Run
from tests.support.processes import PASSWORD
from tests.support.registry import Registry
from tests.support.waiting import until

PATH = "/api/v2.0/users/current/second-factor"


class Browser(httpx.Client):
    """A browser with the portal's forms."""

    def __init__(self, registry: Registry) -> None:
        super().__init__(base_url=registry.url, timeout=60)

    def change(self, method: str, path: str, **options: Any) -> httpx.Response:
        csrf = self.get("/api/v2.0/systeminfo").headers["X-Harbor-CSRF-Token"]
        return self.request(method, path, headers={"X-Harbor-CSRF-Token": csrf}, **options)

    def sign_in(self, name: str, password: str = PASSWORD, code: str = "") -> httpx.Response:
        return self.change("POST", "/c/login", data={"principal": name, "password": password, "code": code})


def basic(registry: Registry, name: str, password: str = PASSWORD) -> int:
    return httpx.get(f"{registry.url}/v2/", auth=(name, password), timeout=60).status_code


def codes(secret: str) -> Iterator[str]:
    """Codes that are good now, each once: of this period, and of those beside it."""
    key, step = base64.b32decode(secret), int(time.time()) // 30
    return iter([code_at(key, step + n) for n in (0, 1, -1)])


def enrolled(browser: Browser) -> tuple[Iterator[str], list[str]]:
    begun = browser.change("POST", PATH)
    assert begun.status_code == 201, begun.text
    right = codes(begun.json()["secret"])
    assert browser.change("PUT", PATH, json={"code": "000000"}).status_code == 403
    confirmed = browser.change("PUT", PATH, json={"code": next(right)})
    assert confirmed.status_code == 200, confirmed.text
    return right, confirmed.json()["recovery_codes"]


@pytest.fixture
def person(registry: Registry, admin: Api) -> tuple[int, str]:
    return admin.user()


def test_second_factor(registry: Registry, admin: Api, person: tuple[int, str]) -> None:
    user_id, name = person
    with Browser(registry) as browser:
        assert browser.sign_in(name).status_code == 200
        kept = browser.change(
            "POST", "/api/v2.0/users/current/tokens", json={"name": "ci", "scopes": ["pull", "api-write"]}
        ).json()["token"]
        right, recovery = enrolled(browser)
        # The session that began with the password alone has ended.
        assert browser.get(PATH).status_code == 401
        alone = browser.sign_in(name)
        assert (alone.status_code, "code is needed" in alone.text) == (401, True)
        # Who does not know the password learns nothing of the factor.
        once = next(right)
        assert "second factor" not in browser.sign_in(name, "Wrong-12345", next(right)).text
        assert browser.sign_in(name, code=once).status_code == 200
        assert browser.get(PATH).json() == {"enabled": True, "required": False, "recovery_codes": 10}
        assert browser.change("POST", PATH).status_code == 409
        again = browser.sign_in(name, code=once)
        assert (again.status_code, "used" in again.text) == (401, True)
        assert browser.sign_in(name, code=recovery[0]).status_code == 200
        assert browser.sign_in(name, code=recovery[0]).status_code == 401
        # Programs: not the password any more, but tokens, and the refusal says so.
        for path in ("/service/token", "/v2/", "/api/v2.0/users/current"):
            assert httpx.get(registry.url + path, auth=(name, PASSWORD), timeout=60).status_code == 401
        told = httpx.get(f"{registry.url}/service/token", auth=(name, PASSWORD), timeout=60).text
        assert "personal access token" in told
        assert httpx.get(f"{registry.url}/v2/", auth=(name, kept), timeout=60).status_code == 200
        # A token does not touch the factor.
        holder = Api(registry, (name, kept))
        for method, path in (("POST", ""), ("PUT", ""), ("POST", "/removal")):
            body = {"code": recovery[1]}
            assert holder.request(method, f"/users/current/second-factor{path}", json=body).status_code == 403
        assert browser.sign_in(name, code=recovery[1]).status_code == 200
        assert browser.change("POST", f"{PATH}/removal", json={"code": "1"}).status_code == 403
        # Lost: another user's factor is an administrator's to remove, and nobody else's.
        path = f"/users/{user_id}/second-factor"
        assert Api(registry, (admin.user()[1], PASSWORD)).delete(path).status_code == 403
        assert admin.delete(path).status_code == 200
        assert browser.sign_in(name).status_code == 200


def test_codes_are_not_guessed(registry: Registry, person: tuple[int, str]) -> None:
    _, name = person
    with Browser(registry) as browser:
        assert browser.sign_in(name).status_code == 200
        right, _ = enrolled(browser)
        found = {browser.sign_in(name, code=f"{n:06}").status_code for n in range(12)}
        assert found == {401, 429}
        assert browser.sign_in(name, code=next(right)).status_code == 429


def test_guesses_count_for_the_user_from_everywhere_and_in_each_period(
    run: Run, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def body(lab: Lab) -> None:
        factors, at = lab.services.factors, 1e9
        monkeypatch.setattr(lab.db, "now", lambda: at)
        keys, recovery = {}, {}
        # Names that a directory could take for one.
        for name in ("ann", "ánn"):
            user_id = await lab.db.write(lambda c, name=name: users.create(c, name, "hash"))  # type: ignore[misc]
            secret, _ = await factors.begin(user_id, name, "here")
            keys[user_id] = base64.b32decode(secret)
            recovery[user_id] = await factors.confirm(user_id, code_at(keys[user_id], int(at) // 30))
        ann, other = recovery

        async def guess_on() -> None:
            nonlocal at
            for used in recovery[other][:8]:
                at += 25
                # The right code of another account clears nothing, and a wrong code is another guess in
                # another period.
                assert await factors.check(other, used)
                assert not await factors.check(ann, "000000")

        with pytest.raises(RegistryError, match="too many failed logins"):
            await guess_on()
        # What was used long ago is forgotten.
        at += 600
        assert await factors.check(other, code_at(keys[other], int(at) // 30))
        assert await lab.db.read(lambda c: len(c.execute(select(used_tokens)).all())) == 1

    run(body)


def test_required_by_the_administrator(registry: Registry, admin: Api, person: tuple[int, str]) -> None:
    _, name = person
    with Browser(registry) as operator, Browser(registry) as browser:
        assert operator.sign_in(registry.admin[0], registry.admin[1]).status_code == 200
        answer = operator.change("PUT", "/api/v2.0/configurations", json={"second_factor_required": True})
        assert answer.status_code == 200
        try:
            # Each server process reads the configuration by itself.
            until(lambda: {basic(registry, name) for _ in range(12)} == {401})
            assert browser.sign_in(name).status_code == 200
            assert browser.get("/api/v2.0/users/current").json()["second_factor_needed"] is True
            for path in ("projects", "users/search?username=a", "audit-logs"):
                assert browser.get(f"/api/v2.0/{path}").status_code == 403, path
            token = {"name": "x", "scopes": ["pull"]}
            assert browser.change("POST", "/api/v2.0/users/current/tokens", json=token).status_code == 403
            right, _ = enrolled(browser)
            assert browser.sign_in(name, code=next(right)).status_code == 200
            assert browser.get("/api/v2.0/projects").status_code == 200
        finally:
            operator.change("PUT", "/api/v2.0/configurations", json={"second_factor_required": False})
            until(lambda: basic(registry, *registry.admin) == 200)
