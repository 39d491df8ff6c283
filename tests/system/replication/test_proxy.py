"""Proxy-cache projects over Debian's docker-registry and over another Seawall."""

from __future__ import annotations

import re
import secrets
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor

import httpx
import pytest

from seawall.features.proxycache.filters import wants
from tests.support.digests import digest_of
from tests.support.oci.remote import Remote
from tests.support.registry import Registry
from tests.support.replication import Api
from tests.support.servers.docker_registry import DockerRegistry
from tests.support.waiting import until


@pytest.fixture
def upstream(tmp_path_factory: pytest.TempPathFactory) -> Iterator[DockerRegistry]:
    """A docker-registry of the test's own, to be stopped; it logs its requests."""
    server = DockerRegistry(tmp_path_factory.mktemp("upstream"), access_log=True)
    server.start()
    try:
        yield server
    finally:
        server.stop()


def _project(api: Api, name: str, url: str, kind: str, auth: tuple[str, str] | None = None) -> None:
    body = {
        "project_name": name,
        "registry_id": api.endpoint(f"up-{name}", url, kind, auth),
        "metadata": {"public": "true"},
    }
    made = api.http.post("/projects", json=body)
    assert made.status_code == 201, made.text


def _kept(here: Remote, api: Api) -> None:
    """Wait until the jobs that keep what was pulled have run."""

    def idle() -> bool:
        queues = {
            item["job_type"]: item.get("count", 0) for item in api.http.get("/jobservice/queues").json()
        }
        workers = api.http.get("/jobservice/pools/all/workers").json()
        return not queues["PROXY_FILL"] and not any(w.get("job_name") == "PROXY_FILL" for w in workers)

    until(idle)


def _answers_in_a_row(here: Remote, path: str, status: int) -> bool:
    """Whether many requests on connections of their own, which any process may get, are answered so."""
    return all(httpx.get(f"{here.url}{path}", timeout=30).status_code == status for _ in range(20))


def test_pull_through(api: Api, here: Remote, upstream: DockerRegistry) -> None:
    project = f"cache{secrets.token_hex(4)}"
    _project(api, project, upstream.url, "docker-registry")
    plain = Remote(upstream.url)
    layer = secrets.token_bytes(2_000_000)
    image = plain.push_image("team/app", "v1", [layer])
    children = [plain.push_image("team/app", None) for _ in range(2)]
    index = plain.push_index("team/app", "multi", children)
    repository = f"{project}/team/app"
    # Concurrent misses of one blob, at both server processes, are one request upstream.
    with ThreadPoolExecutor(8) as pool:
        answers = list(
            pool.map(lambda _: here.http.get(f"/v2/{repository}/blobs/{digest_of(layer)}"), range(8))
        )
    assert [(a.status_code, len(a.content)) for a in answers] == [(200, len(layer))] * 8, answers[0].text
    assert {digest_of(answer.content) for answer in answers} == {digest_of(layer)}
    log = upstream.log()
    assert len(re.findall(rf'"GET /v2/team/app/blobs/{digest_of(layer)}', log)) == 1
    # The image, the index and one of its two children.
    here.check(repository, "v1")
    assert here.digest(repository, "multi") == index["digest"]
    here.check(repository, children[0]["digest"])
    assert here.tags(repository) == ["multi", "v1"]
    ranged = here.http.get(f"/v2/{repository}/blobs/{digest_of(layer)}", headers={"Range": "bytes=5-9"})
    assert (ranged.status_code, ranged.content) == (206, layer[5:10])
    _kept(here, api)
    # A tag that moves upstream moves here.
    moved = plain.push_image("team/app", "v1")
    until(lambda: here.digest(repository, "v1") == moved["digest"])
    here.check(repository, "v1")
    _kept(here, api)
    # The upstream is gone: what was pulled is served, the rest is not.
    upstream.stop()
    here.check(repository, "v1")
    here.check(repository, image["digest"])
    assert here.digest(repository, "multi") == index["digest"]
    here.check(repository, children[0]["digest"])
    missing = here.http.get(f"/v2/{repository}/manifests/{children[1]['digest']}")
    assert missing.status_code == 503
    assert missing.json()["errors"][0]["code"] == "UNAVAILABLE"
    assert here.tags(repository) == ["multi", "v1"]
    assert int(missing.headers["Retry-After"]) >= 1
    upstream.start()
    # Each server process finds out by itself, some seconds later at the latest.
    nowhere = "sha256:" + "0" * 64
    until(lambda: _answers_in_a_row(here, f"/v2/{repository}/blobs/{nowhere}", 404))
    here.check(repository, children[1]["digest"])
    assert here.http.get(f"/v2/{repository}/manifests/nothing").status_code == 404
    assert here.http.head(f"/v2/{repository}/blobs/{nowhere}").status_code == 404
    refused = here.http.post(f"/v2/{repository}/blobs/uploads/", headers=here._headers(repository))
    assert refused.status_code == 405
    assert refused.json()["errors"][0]["code"] == "DENIED"
    # Nothing is left waiting for an upstream that ends with this test.
    _kept(here, api)


def test_of_another_seawall_that_asks_for_a_token(
    api: Api, here: Remote, there: Remote, second: Registry
) -> None:
    name = f"up{secrets.token_hex(4)}"
    second.create_project(name)
    image = there.push_image(f"{name}/app", "v1")
    project = f"cache{secrets.token_hex(4)}"
    _project(api, project, second.url, "seawall", second.admin)
    here.check(f"{project}/{name}/app", "v1")
    assert here.digest(f"{project}/{name}/app", image["digest"]) == image["digest"]
    _kept(here, api)


def _set(api: Api, project: str, **metadata: str) -> None:
    answer = api.http.put(f"/projects/{project}", json={"metadata": metadata})
    assert answer.status_code == 200, answer.text


def test_limits_of_speed_and_connections(api: Api, here: Remote, upstream: DockerRegistry) -> None:
    project = f"cache{secrets.token_hex(4)}"
    _project(api, project, upstream.url, "docker-registry")
    # 8,000 kilobits are 1,024,000 bytes a second.
    _set(api, project, proxy_speed_kb="8000", max_upstream_conn="1")
    layers = [secrets.token_bytes(3_000_000), secrets.token_bytes(1000)]
    Remote(upstream.url).push_image("app", "v1", layers)
    Remote(upstream.url).push_image("other", "v1", [layers[1]])
    large, small = (f"/v2/{project}/app/blobs/{digest_of(layer)}" for layer in layers)
    started = time.monotonic()
    with here.http.stream("GET", large) as answer:
        parts = answer.iter_raw()
        data = next(parts)
        # The one connection is taken, for this repository; another has its own.
        refused = here.http.get(small)
        assert refused.status_code == 429, refused.text
        assert refused.json()["errors"][0]["code"] == "TOOMANYREQUESTS"
        assert here.http.get(f"/v2/{project}/other/blobs/{digest_of(layers[1])}").status_code == 200
        data += b"".join(parts)
    assert digest_of(data) == digest_of(layers[0])
    # A lower bound only: half a second's worth may go ahead.
    assert time.monotonic() - started > 3_000_000 / 1_024_000 - 0.6
    until(lambda: here.http.get(small).status_code == 200)


def test_filters_of_a_project(api: Api, here: Remote, upstream: DockerRegistry) -> None:
    plain = Remote(upstream.url)
    layer = secrets.token_bytes(1000)
    plain.push_image("team/app", "v1", [layer])
    plain.push_image("other/app", "v1", [layer])
    blob = digest_of(layer)
    for kind, pattern in (("doublestar", "team/**"), ("regex", "(team|crew)/[a-z]+"), ("", "{team,crew}/*")):
        project = f"cache{secrets.token_hex(4)}"
        _project(api, project, upstream.url, "docker-registry")
        _set(api, project, proxy_cache_filter_pattern=pattern, proxy_cache_filter_kind=kind)
        for path in ("manifests/v1", f"blobs/{blob}", "tags/list"):
            assert here.http.get(f"/v2/{project}/team/app/{path}").status_code == 200
            assert here.http.get(f"/v2/{project}/other/app/{path}").status_code == 404
    _kept(here, api)
    assert f"/v2/other/app/blobs/{blob}" not in re.findall(r'"GET (\S+)', upstream.log())


@pytest.mark.parametrize(
    ("pattern", "kind", "yes", "no"),
    [
        ("", "", "any/thing", None),
        ("a/*", "", "a/b", "a/b/c"),
        ("a/**", "doublestar", "a/b/c", "b/a"),
        ("a.*", "regex", "a/b/c", "ba"),
        ("[", "doublestar", None, "a"),
        ("(", "regex", None, "a"),
        # Seconds and more where patterns are tried by backtracking.
        ("(a*)*b", "regex", "a" * 200 + "b", "a" * 200),
    ],
)
def test_filter_patterns(pattern: str, kind: str, yes: str | None, no: str | None) -> None:
    assert yes is None or wants(pattern, kind, yes)
    assert no is None or not wants(pattern, kind, no)


def test_expiry(registry: Registry, api: Api, here: Remote, upstream: DockerRegistry) -> None:
    project = f"cache{secrets.token_hex(4)}"
    _project(api, project, upstream.url, "docker-registry")
    Remote(upstream.url).push_image("app", "v1")
    here.check(f"{project}/app", "v1")
    _kept(here, api)
    time.sleep(1.5)
    started = registry.cli("jobs", "start", "proxy-expire", '{"days": 0.00001}')
    assert started.returncode == 0, started.stderr
    job_id = started.stdout.strip()
    deadline = time.monotonic() + 30
    while "deleted" not in (log := registry.cli("jobs", "log", job_id).stdout):
        assert time.monotonic() < deadline, log
        time.sleep(0.3)
    upstream.stop()
    assert here.http.get(f"/v2/{project}/app/manifests/v1").status_code == 503
