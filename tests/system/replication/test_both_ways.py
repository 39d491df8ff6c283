"""Two Seawalls whose event-based policies push to each other settle, and on the same."""

from __future__ import annotations

import secrets
import time
from collections.abc import Iterator
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from sqlalchemy import create_engine, text

from seawall.features.replication.origin import came_from, cluster_id, format_header, parse_header
from seawall.kernel.context import Actor
from tests.support.oci.remote import Remote
from tests.support.registry import Registry
from tests.support.replication import Api
from tests.support.waiting import until


@pytest.fixture(scope="module")
def project(registry: Registry) -> str:
    """One for each kind of database the tests run on."""
    return f"mutual{registry.port}{secrets.token_hex(4)}"


@pytest.fixture(scope="module")
def sides(registry: Registry, second: Registry, project: str) -> Iterator[tuple[Api, Api]]:
    """The APIs of two Seawalls, each with a policy that pushes the project to the other as it changes."""
    apis = Api(registry), Api(second)
    made = []
    registry.create_project(project)
    second.create_project(project)
    for api, other in ((apis[0], second), (apis[1], registry)):
        target = api.endpoint(f"mutual-{other.port}", other.url, "seawall", other.admin)
        body: dict[str, Any] = {
            "name": project,
            "dest_registry": {"id": target},
            "trigger": {"type": "event_based"},
            "replicate_deletion": True,
            "override": True,
            "enabled": True,
            "filters": [{"type": "name", "value": f"{project}/**"}],
        }
        made.append((api, api.make("/replication/policies", body)))
    try:
        yield apis
    finally:
        for api, policy in made:
            _quiet([api])
            assert api.http.delete(f"/replication/policies/{policy}").status_code == 200


def _executions(api: Api) -> tuple[list[dict[str, Any]], int]:
    """The last executions by event, and how many there are in all."""
    query: dict[str, str | int] = {"trigger": "event_based", "page_size": 20}
    answer = api.http.get("/replication/executions", params=query)
    return answer.json(), int(answer.headers["x-total-count"])


def _quiet(apis: list[Api]) -> int:
    """Wait until nothing has been under way for a while; how many executions there are."""
    since, last = time.monotonic(), -1
    deadline = since + 60
    while time.monotonic() - since < 1.2:
        assert time.monotonic() < deadline, "the two sides do not settle"
        found = [_executions(api) for api in apis]
        total = sum(count for _, count in found)
        if total != last or any(item["status"] == "InProgress" for items, _ in found for item in items):
            since, last = time.monotonic(), total
        time.sleep(0.1)
    return last


def test_a_push_goes_over_once_and_both_settle(
    sides: tuple[Api, Api], project: str, here: Remote, there: Remote
) -> None:
    repository = f"{project}/app"
    before = _quiet(list(sides))
    one = here.push_image(repository, "one")
    two = there.push_image(repository, "two")
    until(lambda: there.digest(repository, "one") == one["digest"])
    until(lambda: here.digest(repository, "two") == two["digest"])
    # Each push: one execution that copies, one at the other side that finds it done.
    assert _quiet(list(sides)) - before == 4
    for api in sides:
        assert {item["status"] for item in _executions(api)[0][:2]} == {"Succeed"}


def test_pushes_of_one_tag_at_both_sides_end_with_the_later(
    sides: tuple[Api, Api], project: str, here: Remote, there: Remote
) -> None:
    repository = f"{project}/race"
    for _ in range(2):
        here.push_image(repository, "v1")
        there.push_image(repository, "v1")
        here.push_image(repository, "v1")
        last = there.push_image(repository, "v1")["digest"]
        _quiet(list(sides))
        assert (here.digest(repository, "v1"), there.digest(repository, "v1")) == (last, last)


def test_a_deletion_that_comes_back_does_not_delete_a_new_push(
    sides: tuple[Api, Api], project: str, here: Remote, there: Remote
) -> None:
    repository = f"{project}/again"
    for _ in range(2):
        old = here.push_image(repository, "v1")
        until(lambda old=old: there.digest(repository, "v1") == old["digest"])  # type: ignore[misc]
        headers = here._headers(repository)
        assert here.http.delete(f"/v2/{repository}/manifests/v1", headers=headers).status_code == 202
        new = here.push_image(repository, "v1")["digest"]
        _quiet(list(sides))
        assert (here.digest(repository, "v1"), there.digest(repository, "v1")) == (new, new)


def test_what_came_from_here_is_refused(registry: Registry, here: Remote, project: str) -> None:
    """By its header alone, whatever policies there are; the direct sender is not taken for oneself."""
    repository = f"{project}/header"
    registry.api("HEAD", "/projects", params={"project_name": project})
    image = here.push_image(repository, "v1")
    payload = here.http.get(
        f"/v2/{repository}/manifests/v1", headers={"Accept": image["mediaType"], **here._headers(repository)}
    ).content
    default = f"sqlite:///{registry.data_dir}/seawall.db"
    url = registry.environment.get("SEAWALL_DATABASE__URL", default)
    engine = create_engine(url.replace("postgresql://", "postgresql+psycopg://"))
    query = "SELECT fingerprint FROM cluster_keys WHERE name = 'token-signing' ORDER BY version LIMIT 1"
    with engine.connect() as connection:
        own = cluster_id(connection.execute(text(query)).scalar_one(), "")
    engine.dispose()
    other = "0" * 16

    def send(method: str, reference: str, value: str) -> int:
        headers = {"Content-Type": image["mediaType"], "Seawall-Replication": value}
        headers |= here._headers(repository)
        path = f"/v2/{repository}/manifests/{reference}"
        return here.http.request(method, path, content=payload, headers=headers).status_code

    assert send("PUT", "v2", f"path={other}") == 201
    assert send("PUT", "v3", f"path={own}") == 201
    assert send("PUT", "v4", "nonsense") == 201
    assert send("PUT", "v5", f"path={own},{other}") == 412
    assert send("DELETE", "v2", f"path={own},{other}") == 412
    assert here.tags(repository) == ["v1", "v2", "v3", "v4"]
    assert send("DELETE", "v2", f"path={other}") == 202


IDS = st.text("0123456789abcdef", min_size=16, max_size=16)


@given(st.lists(IDS, max_size=30), IDS, st.none() | st.floats(0, 2e9))
def test_header_round_trip(path: list[str], own: str, at: float | None) -> None:
    passed, when = parse_header(format_header(["registry:3", *path], own, at), 3e9)
    assert passed == tuple([*path, own][-16:])
    assert (when is None) == (at is None)
    assert at is None or abs((when or 0) - at) < 1e-5
    # A clone of this cluster, with the same id, is not this cluster; what has been here and came back is.
    assert came_from(Actor(passed=passed), own) == (own in path[-15:])


@given(st.text(max_size=80))
def test_any_header_is_read_or_ignored(value: str) -> None:
    passed, at = parse_header(value, 100.0)
    assert all(len(item) == 16 for item in passed)
    assert at is None or at <= 100


def test_an_id_is_of_keys_and_address() -> None:
    assert cluster_id("a", "https://x") != cluster_id("a", "https://y") != cluster_id("b", "https://y")
