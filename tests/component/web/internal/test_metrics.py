"""`/metrics`: what an operator and Harbor's dashboards find there."""

from __future__ import annotations

import asyncio
from typing import Any

import httpx
import pytest
from prometheus_client.parser import text_string_to_metric_families
from sqlalchemy import Connection, event

from seawall.availability.cluster.figures import Figures
from seawall.infra.telemetry import Family
from seawall.kernel.errors import UnavailableError
from tests.support.api import Api
from tests.support.lab import Lab, Run
from tests.support.registry import Registry
from tests.support.waiting import until

Samples = dict[tuple[str, frozenset[tuple[str, str]]], float]


def scrape(registry: Registry, path: str = "/metrics", **headers: str) -> Samples:
    """Every sample by its name and labels."""
    answer = httpx.get(registry.url + path, headers=headers)
    assert answer.status_code == 200, answer.text
    return {
        (sample.name, frozenset(sample.labels.items())): sample.value
        for family in text_string_to_metric_families(answer.text)
        for sample in family.samples
    }


def value(samples: Samples, name: str, **labels: str) -> float:
    """The sample of exactly these labels."""
    return samples[name, frozenset(labels.items())]


@pytest.fixture
def scraped(server: Registry) -> Registry:
    """A registry that nothing else uses, two projects, and 5 bytes in one."""
    with Api(server, server.admin) as api:
        assert api.post("/projects", json={"project_name": "hushed", "storage_limit": 99}).status_code == 201
    digest = "sha256:2cf24dba5fb0a30e26e83b2ac5b9e29e1b161e5c1fa7425e73043362938b9824"
    url = f"{server.url}/v2/hushed/thing/blobs/uploads/?digest={digest}"
    assert httpx.post(url, content=b"hello", auth=server.admin).status_code == 201
    assert httpx.get(f"{server.url}/service/token", auth=("admin", "wrong")).status_code == 401
    assert httpx.get(f"{server.url}/service/token", auth=server.admin).status_code == 200
    return server


def test_over_http(scraped: Registry) -> None:
    check_values(scraped)
    check_parts(scraped)
    check_who_sees_names(scraped)


def check_values(scraped: Registry) -> None:
    found = scrape(scraped)
    assert value(found, "harbor_project_total", public="true") == 1
    assert value(found, "harbor_project_total", public="false") == 1
    assert value(found, "harbor_project_quota_byte", project_name="hushed") == 99
    assert value(found, "harbor_project_quota_usage_byte", project_name="hushed") == 5
    assert value(found, "harbor_project_member_total", project_name="hushed") == 1
    assert value(found, "harbor_statistics_total_project_amount") == 2
    assert value(found, "harbor_up", component="database") == 1
    assert value(found, "seawall_instances", state="alive") == 1
    assert value(found, "seawall_outbox_events", subscriber="webhooks") == 0
    assert value(found, "seawall_logins_total", result="refused") == 1
    assert value(found, "seawall_tokens_total", result="issued") == 1
    assert value(found, "seawall_storage_bytes_total", driver="filesystem", direction="in") == 5
    assert value(found, "seawall_http_received_bytes_total", route="/v2/*/blobs/uploads") == 5
    assert value(found, "registry_http_requests_total", handler="blob_upload", method="post", code="201") == 1
    names = {"method": "POST", "code": "201", "operation": "createProject"}
    assert value(found, "harbor_core_http_request_total", **names) == 1
    assert value(found, "seawall_database_seconds_count", pool="write") > 0
    # Jobs run in a process of their own, beside the servers.
    until(lambda: value(scrape(scraped), "harbor_up", component="jobservice") == 1, "a runner")


def check_parts(scraped: Registry) -> None:
    exporter = {name for name, _ in scrape(scraped, "/metrics?comp=exporter")}
    assert "harbor_health" in exporter
    assert not {name for name in exporter if name.startswith(("registry_http", "harbor_core"))}
    core = {name for name, _ in scrape(scraped, "/metrics?comp=core")}
    assert "harbor_core_http_request_total" in core
    assert "harbor_health" not in core
    assert {name.partition("_")[0] for name, _ in scrape(scraped, "/metrics?comp=registry")} == {"registry"}
    assert httpx.get(f"{scraped.url}/metrics?comp=x").status_code == 400
    answer = httpx.get(f"{scraped.url}/metrics", headers={"Accept": "application/openmetrics-text"})
    assert answer.headers["Content-Type"].startswith("application/openmetrics-text")
    assert answer.text.endswith("# EOF\n")


def check_who_sees_names(scraped: Registry) -> None:
    """A request that came through a proxy gets totals only; with a token, nobody gets anything without it."""
    far = httpx.get(f"{scraped.url}/metrics", headers={"X-Forwarded-For": "10.0.0.1"}).text
    assert "harbor_project_total" in far
    assert "hushed" not in far
    scraped.stop()
    scraped.environment["SEAWALL_METRICS__TOKEN"] = "a-long-token"
    scraped.start()
    for authorization in ("", "Bearer wrong", "Basic YTpi", "Bearer"):
        refused = httpx.get(f"{scraped.url}/metrics", headers={"Authorization": authorization})
        assert (refused.status_code, "seawall_" in refused.text) == (401, False)
    headers = {"Authorization": "Bearer a-long-token", "X-Forwarded-For": "10.0.0.1"}
    assert 'project_name="hushed"' in httpx.get(f"{scraped.url}/metrics", headers=headers).text


def figures_of(lab: Lab, **changes: Any) -> Figures:
    """Figures of another instance of the same cluster."""
    values: dict[str, Any] = {
        "every_seconds": 30,
        "projects": 1000,
        "dead_seconds": 10,
        "kinds": lambda: ["gc"],
        "subscribers": lambda: ["webhooks"],
        "harbors": str.upper,
        **changes,
    }
    return Figures(lab.services.db, **values)


def by_name(families: list[Family]) -> dict[str, Family]:
    return {item.name: item for item in families}


def test_computed_once_for_the_cluster(run: Run) -> None:
    async def body(lab: Lab) -> None:
        await lab.project("one")
        computed = 0
        instances = [figures_of(lab) for _ in range(4)]

        def counting(inner: Any) -> Any:
            def compute(connection: Connection) -> list[Family]:
                nonlocal computed
                computed += 1
                found: list[Family] = inner(connection)
                return found

            return compute

        for item in instances:
            item.compute = counting(item.compute)  # type: ignore[method-assign]
        answers = await asyncio.gather(*(item.read() for item in instances))
        for _ in range(3):
            answers = await asyncio.gather(*(item.read() for item in instances))
            await asyncio.sleep(0)
        assert computed == 1
        assert "harbor_project_total" in by_name(answers[0])
        # An instance that comes later has what the first computed.
        late = figures_of(lab)
        late.compute = counting(late.compute)  # type: ignore[method-assign]
        found = by_name(await late.read())
        assert computed == 1
        assert (("one",), 0.0) in found["harbor_project_quota_usage_byte"].samples
        # Once they are too old, somebody computes again, and who asks gets the old ones meanwhile.
        hasty = figures_of(lab, every_seconds=0)
        hasty.compute = counting(hasty.compute)  # type: ignore[method-assign]
        await hasty.read()
        assert computed == 2

    run(body)


def test_never_walks_artifacts(run: Run) -> None:
    """The cost must not grow with artifacts and blobs: no statement reads their tables."""

    async def body(lab: Lab) -> None:
        await lab.project("one")
        await lab.project("two", public=False)
        digest = await lab.image("one/image", "latest")
        await lab.index("one/image", "index", [digest])
        statements: list[str] = []

        def look(connection: Connection) -> list[Family]:
            listener = lambda c, cursor, statement, *_: statements.append(statement)  # noqa: E731
            event.listen(connection.engine, "before_cursor_execute", listener)
            try:
                return figures_of(lab).compute(connection)
            finally:
                event.remove(connection.engine, "before_cursor_execute", listener)

        found = by_name(await lab.services.db.read(look))
        assert len(statements) < 60
        for table in ("manifests", "blobs", "repository_blobs", "project_blobs", "tags", "blob_proofs"):
            assert not [item for item in statements if f" {table}" in item.replace("\n", " ")], table
        # The index, and its child, which has a tag of its own.
        artifacts = found["harbor_project_artifact_total"].samples
        assert artifacts == ((("one", "true", "IMAGE"), 2.0),)
        assert (("one", "true"), 1.0) in found["harbor_project_repo_total"].samples
        one = figures_of(lab, projects=1)
        few = by_name(await lab.services.db.read(one.compute))
        assert [labels for labels, _ in few["harbor_project_quota_byte"].samples] == [("one",)]
        assert [labels for labels, _ in few["harbor_project_member_total"].samples] == [("one",)]

    run(body)


def test_database_away(run: Run) -> None:
    """Without its database an instance still says what it counts itself."""

    async def body(lab: Lab) -> None:
        figures = figures_of(lab)

        async def away(*_: object, **__: object) -> None:
            raise UnavailableError("the database does not answer")

        lab.services.db.read = away  # type: ignore[method-assign,assignment]
        assert await figures.read() == []

    run(body)
