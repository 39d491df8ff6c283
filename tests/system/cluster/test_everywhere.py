"""What one instance gives, every other takes: tokens, sessions, CSRF tokens, also while keys are rotated."""

from __future__ import annotations

import itertools
import threading
import time
from collections.abc import Iterator

import httpx
import pytest

from tests.support.cluster import Cluster
from tests.support.processes import PASSWORD
from tests.support.servers.postgres import Postgres
from tests.support.servers.redis import RedisNode

HEADER = "X-Harbor-CSRF-Token"


@pytest.fixture(scope="module")
def cluster(postgres: Postgres, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Cluster]:
    """Three instances with a Redis."""
    node = RedisNode()
    node.start()
    found = Cluster(
        tmp_path_factory.mktemp("everywhere"),
        postgres.migrated(),
        settings={"SEAWALL_REDIS__URL": node.url, "SEAWALL_EXTERNAL_URL": "http://127.0.0.1"},
    )
    try:
        found.start()
        yield found
    finally:
        found.close()
        node.close()


def token(url: str) -> str:
    """A token of the instance at `url`."""
    scope = "repository:library/x:pull,push"
    answer = httpx.get(
        f"{url}/service/token", params={"service": "seawall", "scope": scope}, auth=("admin", PASSWORD)
    )
    return str(answer.raise_for_status().json()["token"])


def pulls(url: str, value: str) -> int:
    """Status of a request with a token."""
    return httpx.get(
        f"{url}/v2/library/x/tags/list", headers={"Authorization": f"Bearer {value}"}, timeout=30
    ).status_code


class Browser:
    """A browser that meets another instance with each request, as behind a balancer without stickiness."""

    def __init__(self, urls: list[str]) -> None:
        self._urls = itertools.cycle(urls)
        self._http = httpx.Client(timeout=30)
        self.csrf = ""

    def ask(self, method: str, path: str, **options: object) -> httpx.Response:
        """One request."""
        headers = {HEADER: self.csrf} if self.csrf else {}
        answer = self._http.request(method, next(self._urls) + path, headers=headers, **options)  # type: ignore[arg-type]
        self.csrf = answer.headers.get(HEADER, self.csrf)
        return answer

    def login(self) -> None:
        """Sign in: the form from one instance, sent to the next."""
        assert self.ask("GET", "/api/v2.0/systeminfo").status_code == 200
        form = {"principal": "admin", "password": PASSWORD}
        assert self.ask("POST", "/c/login", data=form).status_code == 200


def test_tokens(cluster: Cluster) -> None:
    urls = [instance.url for instance in cluster.instances]
    for giver, taker in itertools.product(urls, urls):
        # 404: let in, and the repository does not exist.
        assert pulls(taker, token(giver)) == 404


def test_sessions_and_csrf_tokens(cluster: Cluster) -> None:
    urls = [instance.url for instance in cluster.instances]
    for order in itertools.permutations(urls):
        browser = Browser(list(order))
        browser.login()
        for _ in urls:
            assert browser.ask("GET", "/api/v2.0/users/current").json()["username"] == "admin"
            # A change: CSRF token of the last answer's instance, on the next one.
            done = browser.ask("PUT", "/api/v2.0/configurations", json={"self_registration": False})
            assert done.status_code == 200, done.text
        old = dict(browser._http.cookies)
        assert browser.ask("GET", "/c/log_out").status_code == 200
        for url in urls:
            assert httpx.get(f"{url}/api/v2.0/users/current", cookies=old).status_code == 401


def test_keys_are_rotated_under_load(cluster: Cluster) -> None:
    urls = [instance.url for instance in cluster.instances]
    failed: list[str] = []
    done = threading.Event()
    served = [0, 0]

    def clients() -> None:
        for giver, taker in itertools.cycle(itertools.permutations(urls, 2)):
            if done.is_set():
                return
            value = token(giver)
            for url in (taker, giver):
                status = pulls(url, value)
                served[0] += 1
                if status != 404:
                    failed.append(f"token of {giver} at {url}: {status}")

    def browsers() -> None:
        browser = Browser(urls)
        browser.login()
        while not done.is_set():
            first = browser.ask("GET", "/api/v2.0/users/current")
            second = browser.ask("PUT", "/api/v2.0/configurations", json={"self_registration": False})
            served[1] += 1
            if (first.status_code, second.status_code) != (200, 200):
                failed.append(f"session: {first.status_code} {second.status_code} {second.text}")

    early = token(urls[0])
    threads = [threading.Thread(target=work) for work in (clients, clients, browsers)]
    for thread in threads:
        thread.start()
    try:
        for number in range(3):
            rotated = cluster.instances[number].cli("keys", "rotate", "all")
            assert rotated.returncode == 0, rotated.stderr
            time.sleep(1.5)
    finally:
        done.set()
        for thread in threads:
            thread.join()
    assert failed == []
    assert min(served) > 5
    # Three rotations later the token from before them is still good: its time is not over.
    assert [pulls(url, early) for url in urls] == [404] * 3
    listed = cluster.instances[0].cli("keys", "list").stdout
    assert "4" in listed
