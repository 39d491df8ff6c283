"""The event stream: what it says, to whom, and when it ends; on both databases."""

from __future__ import annotations

import contextlib
import secrets
import socket
import time
from collections.abc import Iterator
from functools import partial
from pathlib import Path

import httpx
import psycopg
import pytest
from psycopg import sql
from sqlalchemy import update

from seawall.access.tables import sessions
from seawall.infra.db import open_database
from tests.support.api import Api, code
from tests.support.events import PATH, Listener, listening_to
from tests.support.processes import PASSWORD
from tests.support.registry import Registry
from tests.support.servers.postgres import Postgres
from tests.support.sites import push
from tests.support.waiting import until

HEADER = "X-Harbor-CSRF-Token"


def _push(registry: Registry, project: str, repository: str = "app", tag: str = "1") -> str:
    """Push a tiny image; returns the repository's full name."""
    name = f"{project}/{repository}"
    push(registry.url, registry.admin, name, tag, secrets.token_bytes(16))
    return name


@contextlib.contextmanager
def _signed_in(registry: Registry, name: str) -> Iterator[Api]:
    with Api(registry) as browser:
        root = registry.url
        token = browser.get("/systeminfo").headers[HEADER]
        form = {"principal": name, "password": PASSWORD}
        assert browser.post(f"{root}/c/login", data=form, headers={HEADER: token}).status_code == 200
        yield browser


def test_members_hear_of_their_project_and_nobody_else_does(registry: Registry, admin: Api) -> None:
    project, public = admin.project(), admin.project(public="true")
    _, member = admin.user()
    _, stranger = admin.user()
    admin.member(project, member, 3)
    with (
        listening_to(registry.url, auth=(member, PASSWORD)) as inside,
        listening_to(registry.url, auth=(stranger, PASSWORD)) as outside,
        listening_to(registry.url, auth=registry.admin) as over,
    ):
        name = _push(registry, project)
        open_name = _push(registry, public)
        for listener in (inside, over):
            listener.wait(partial(_heard, listener, name))
        project_id = admin.get(f"/projects/{project}").json()["project_id"]
        first = next(item for item in inside.changes("artifact") if item["repository"] == name)
        assert first == {"kind": "artifact", "project_id": project_id, "project": project, "repository": name}
        # The public project came after: with its event, the other one would have come too.
        outside.wait(lambda: {"repository": open_name} in _repositories(outside))
        assert {"repository": name} not in _repositories(outside)
        before = len(inside.changes("artifact"))
        assert admin.delete(f"/projects/{project}/repositories/app/artifacts/1").status_code == 200
        inside.wait(lambda: len(inside.changes("artifact")) > before)
        # Nothing of the whole system reaches who may not see it.
        body = {"schedule": {"type": "Manual"}, "parameters": {"dry_run": True}}
        assert admin.post("/system/gc/schedule", json=body).status_code == 201
        over.wait(lambda: over.changes("gc") and over.changes("job"))
        before = len(outside.changes("artifact"))
        _push(registry, public, tag="2")
        outside.wait(lambda: len(outside.changes("artifact")) > before)
        assert not outside.changes("gc")
        assert not outside.changes("job")
        assert not inside.changes("job")


def _heard(listener: Listener, name: str) -> bool:
    return {"repository": name} in _repositories(listener)


def _repositories(listener: Listener) -> list[dict[str, str]]:
    return [{"repository": item["repository"]} for item in listener.changes("artifact")]


def test_a_scan_is_told_of_in_its_project(registry: Registry, admin: Api) -> None:
    project = admin.project()
    _, guest = admin.user()
    admin.member(project, guest, 3)
    name = _push(registry, project)
    with listening_to(registry.url, auth=(guest, PASSWORD)) as stream:
        answer = admin.post(f"/projects/{project}/repositories/app/artifacts/1/scan")
        assert answer.status_code == 202, answer.text
        # At least one: the stream reports changes of the same second once.
        stream.wait(lambda: name in [item["repository"] for item in stream.changes("scan")])


def test_a_right_that_is_withdrawn_ends_what_the_stream_shows(registry: Registry, admin: Api) -> None:
    project, other = admin.project(), admin.project()
    _, name = admin.user()
    membership = admin.member(project, name, 3)
    admin.member(other, name, 3)
    with listening_to(registry.url, auth=(name, PASSWORD)) as stream:
        first = _push(registry, project)
        stream.wait(lambda: {"repository": first} in _repositories(stream))
        assert admin.delete(f"/projects/{project}/members/{membership}").status_code == 200
        told = len(_repositories(stream))
        _push(registry, project, "secret")
        known = _push(registry, other)
        stream.wait(lambda: {"repository": known} in _repositories(stream))
        assert not any(item["repository"].startswith(project) for item in _repositories(stream)[told:])


def _changes(api: Api) -> dict[str, str]:
    return {HEADER: api.get("/users/current").headers[HEADER]}


def test_a_session_that_ends_ends_its_stream(registry: Registry, admin: Api) -> None:
    _, name = admin.user()
    with _signed_in(registry, name) as browser, _signed_in(registry, name) as other:
        with (
            listening_to(registry.url, cookies=dict(browser.cookies)) as stream,
            listening_to(registry.url, cookies=dict(other.cookies)) as stays,
        ):
            assert browser.get(f"{registry.url}/c/log_out").status_code == 200
            stream.wait(lambda: stream.ended)
            assert stream.events[-1] == ("end", {"reason": "session"})
            assert not stays.ended
        answer = httpx.get(registry.url + PATH, cookies=dict(browser.cookies))
        assert (answer.status_code, answer.json()["errors"][0]["code"]) == (401, "UNAUTHORIZED")


def test_a_user_who_is_deleted_hears_no_more(registry: Registry, admin: Api) -> None:
    user_id, name = admin.user()
    with listening_to(registry.url, auth=(name, PASSWORD)) as stream:
        assert admin.delete(f"/users/{user_id}").status_code == 200
        stream.wait(lambda: stream.ended)
        assert stream.names()[-1] == "end"


def _older(registry: Registry, user_id: int, seconds: float) -> int:
    """Have a user's sessions been used so long ago; returns how many there are."""
    url = registry.environment.get("SEAWALL_DATABASE__URL", f"sqlite:///{registry.data_dir}/seawall.db")
    earlier = update(sessions).where(sessions.c.user_id == user_id).values(seen_at=time.time() - seconds)
    return open_database(url).sync_write(lambda c: c.execute(earlier).rowcount)


def test_a_stream_keeps_no_session_alive(registry: Registry, admin: Api) -> None:
    """It is not a use of the session: who only has the page open is signed out after the time that is set."""
    user_id, name = admin.user()
    kept = admin.get("/configurations").json()["session_timeout"]["value"]
    with (
        _signed_in(registry, name) as browser,
        listening_to(registry.url, cookies=dict(browser.cookies)) as stream,
    ):
        try:
            assert admin.put("/configurations", json={"session_timeout": 1}).status_code == 200
            # In the quarter of a minute that is left the stream looks at its session several times, and each
            # use, so long after the last one, would give it another minute.
            assert _older(registry, user_id, 45) == 1
            until(lambda: stream.ended, seconds=110)
            assert stream.events[-1] == ("end", {"reason": "session"})
        finally:
            admin.put("/configurations", json={"session_timeout": kept})


def test_refusals(registry: Registry, anonymous: Api) -> None:
    answer = anonymous.get("/seawall/events")
    assert (answer.status_code, code(answer)) == (401, "UNAUTHORIZED")
    answer = httpx.get(registry.url + PATH, auth=("admin", "Wrong-12345"))
    assert answer.status_code == 401


def test_a_client_that_comes_back_is_told_to_ask_for_everything(registry: Registry) -> None:
    with listening_to(registry.url, auth=registry.admin) as stream:
        assert stream.names()[0] == "ready"
    with listening_to(registry.url, auth=registry.admin, headers={"Last-Event-ID": "7"}) as stream:
        assert stream.names()[0] == "refetch"


@pytest.fixture
def small(tmp_path: Path) -> Iterator[Registry]:
    """A registry that allows few streams."""
    registry = Registry(
        tmp_path / "data", {"SEAWALL_HTTP__STREAMS": "3", "SEAWALL_HTTP__STREAMS_PER_USER": "2"}
    )
    registry.start()
    try:
        yield registry
    finally:
        registry.close()


def test_streams_are_bounded_and_end_with_the_server(small: Registry) -> None:
    with Api(small, small.admin) as admin, contextlib.ExitStack() as open_streams:
        _, name = admin.user()
        began = time.monotonic()
        mine = [open_streams.enter_context(listening_to(small.url, auth=small.admin)) for _ in range(2)]
        answer = admin.get("/seawall/events")
        assert (answer.status_code, code(answer)) == (429, "TOO_MANY_REQUESTS"), answer.text
        assert "of this user" in answer.text
        assert answer.headers["Retry-After"] == "30"
        open_streams.enter_context(listening_to(small.url, auth=(name, PASSWORD)))
        answer = httpx.get(small.url + PATH, auth=(name, PASSWORD))
        assert answer.status_code == 429
        assert "at this instance" in answer.text
        # Longer than the answers of this test take in all, also on a machine that does other work.
        time.sleep(max(0.0, 2 * (time.monotonic() - began) + 3))
        # A stream that is closed makes room.
        mine[0].close()
        was_open = time.monotonic() - began
        until(lambda: _opens(small), lambda: "no room")
        figures = httpx.get(f"{small.url}/metrics").text
        assert 'seawall_event_streams_refused_total{bound="caller"}' in figures
        assert 'seawall_event_streams_refused_total{bound="process"}' in figures
        # How long streams were open is not how long the server took to answer.
        assert _slowest(figures) < was_open
        started = time.monotonic()
        small.stop()
        # Not as long as answers that go on may take (http.drain_seconds).
        assert time.monotonic() - started < 25
        mine[1].wait(lambda: mine[1].ended)
        assert mine[1].events[-1] == ("end", {"reason": "drain"})


def _opens(registry: Registry) -> bool:
    with httpx.stream("GET", registry.url + PATH, auth=registry.admin) as answer:
        return answer.status_code == 200


def _slowest(figures: str) -> float:
    lines = [line for line in figures.splitlines() if line.startswith("seawall_http_request_seconds_sum")]
    return max(float(line.rpartition(" ")[2]) for line in lines if "/seawall" in line)


def test_a_reader_that_never_reads_costs_nothing(small: Registry) -> None:
    """What waits for it does not grow, and in the end its connection is dropped."""
    with Api(small, small.admin) as admin, socket.create_connection(("127.0.0.1", small.port)) as sluggish:
        sluggish.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
        project = admin.project()
        basic = httpx.BasicAuth(*small.admin)._auth_header
        request = f"GET {PATH} HTTP/1.1\r\nHost: {small.host}\r\nAuthorization: {basic}\r\n\r\n"
        sluggish.sendall(request.encode())
        with listening_to(small.url, auth=small.admin) as stream:
            for number in range(8):
                _push(small, project, f"r{number}-{secrets.token_hex(60)}")
            stream.wait(lambda: len(_repositories(stream)) >= 8)
            assert not stream.ended


@pytest.fixture
def remote(postgres: Postgres, tmp_path: Path) -> Iterator[Registry]:
    """A registry on a database that can be away, which SQLite cannot."""
    registry = Registry(tmp_path / "data", {"SEAWALL_DATABASE__URL": postgres.migrated()})
    registry.start()
    try:
        yield registry
    finally:
        registry.close()


def test_a_database_that_is_away_is_a_gap(remote: Registry) -> None:
    """The stream stays; afterwards it says that everything is to be asked for again."""
    where, name = remote.environment["SEAWALL_DATABASE__URL"].rsplit("/", 1)
    with (
        listening_to(remote.url, auth=remote.admin) as stream,
        psycopg.connect(f"{where}/postgres", autocommit=True) as operator,
    ):
        allow = sql.SQL("ALTER DATABASE {} WITH ALLOW_CONNECTIONS {}")
        operator.execute(allow.format(sql.Identifier(name), sql.SQL("false")))
        try:
            end = "SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE datname = %s"
            operator.execute(end, (name,))
            until(lambda: "cannot look" in remote.log.read_text(), remote.log.read_text)
        finally:
            operator.execute(allow.format(sql.Identifier(name), sql.SQL("true")))
        stream.wait(lambda: "refetch" in stream.names())
        _push(remote, "library")
        stream.wait(lambda: {"repository": "library/app"} in _repositories(stream))
