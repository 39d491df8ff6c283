"""Rate limits: buckets of one instance's processes, in Redis, and what clients are told."""

from __future__ import annotations

import asyncio
import multiprocessing
import time
from collections.abc import Iterator
from pathlib import Path

import httpx
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from seawall.infra.ratelimit import LocalBuckets, RateLimiter
from seawall.infra.redis import RedisClient
from seawall.infra.settings import RateSettings, RedisSettings
from seawall.kernel.errors import RegistryError
from tests.support.processes import PASSWORD
from tests.support.registry import Registry
from tests.support.servers.redis import RedisNode

BURST = 6


def limiter(redis: str | None = None, shared: Path | None = None, **values: object) -> RateLimiter:
    chosen = {"per_address": 0.01, "address_burst": BURST, "per_user": 0.01, "user_burst": 3, "exempt": []}
    chosen |= values
    return RateLimiter(RateSettings.model_validate(chosen), RedisClient(RedisSettings(url=redis)), shared)


async def passed(rates: RateLimiter, address: str, count: int, path: str = "/v2/") -> int:
    done = 0
    for _ in range(count):
        try:
            await rates.check_address(path, address)
            done += 1
        except RegistryError as error:
            assert error.code == "TOOMANYREQUESTS"
            assert 1 <= int(error.headers["Retry-After"]) <= 100
    return done


@settings(max_examples=50, deadline=None)
@given(st.lists(st.sampled_from(["a", "b", "c", "ü\udcff"]), max_size=60), st.integers(1, 9))
def test_a_bucket_gives_its_burst_and_no_more(keys: list[str], burst: int) -> None:
    buckets = LocalBuckets(None)
    given_: dict[str, int] = {}
    for key in keys:
        wait = buckets.take(key, 1e-6, burst)
        assert (wait == 0) == (given_.get(key, 0) < burst)
        given_[key] = given_.get(key, 0) + (wait == 0)
    buckets.close()


def test_tokens_come_back() -> None:
    buckets = LocalBuckets(None)
    assert [buckets.take("k", 2.0, 2) == 0 for _ in range(3)] == [True, True, False]
    wait = buckets.take("k", 2.0, 2)
    assert 0 < wait <= 0.5
    time.sleep(wait)
    assert buckets.take("k", 2.0, 2) == 0
    buckets.close()


def _take(path: Path, count: int, results: multiprocessing.Queue[int]) -> None:
    buckets = LocalBuckets(path)
    results.put(sum(buckets.take("one", 1e-6, 500) == 0 for _ in range(count)))


def test_processes_share_buckets(tmp_path: Path) -> None:
    context = multiprocessing.get_context("spawn")
    results = context.Queue()
    workers = [context.Process(target=_take, args=(tmp_path / "rates", 400, results)) for _ in range(2)]
    for worker in workers:
        worker.start()
    taken = [results.get(timeout=60) for _ in workers]
    for worker in workers:
        worker.join(30)
    assert sum(taken) == 500


def test_who_counts_together() -> None:
    async def run() -> None:
        rates = limiter(exempt=["192.0.2.128/25"])
        assert await passed(rates, "192.0.2.1", BURST + 2) == BURST
        assert await passed(rates, "::ffff:192.0.2.1", 1) == 0
        assert await passed(rates, "192.0.2.2", 1) == 1
        assert await passed(rates, "192.0.2.129", BURST + 2) == BURST + 2
        assert await passed(rates, "2001:db8:0:1::1", BURST) == BURST
        assert await passed(rates, "2001:db8:0:1:ffff::2", 1) == 0
        assert await passed(rates, "2001:db8:0:2::1", 1) == 1
        for path in ("/healthz", "/readyz", "/metrics", "/api/v2.0/health", "/api/v2.0/ping", "/"):
            assert await passed(rates, "192.0.2.1", 1, path) == 1
        await rates.close()
        assert await passed(limiter(), "192.0.2.1", BURST + 2, "/oauth/token") == BURST
        off = limiter(per_address=0, per_user=0)
        assert await passed(off, "192.0.2.1", 100) == 100
        await off.check_user("somebody", "192.0.2.1")
        await off.close()

    asyncio.run(run())


def test_instances_count_together_in_redis_and_alone_without() -> None:
    node = RedisNode()
    node.start()

    async def run() -> None:
        one, two = limiter(node.url), limiter(node.url)
        assert await passed(one, "192.0.2.1", 4) == 4
        assert await passed(two, "192.0.2.1", 4) == BURST - 4
        assert await passed(one, "192.0.2.2", 1) == 1
        # Of a large bucket each takes some at once, and together they take no more than there is.
        many = [limiter(node.url, address_burst=2000) for _ in range(2)]
        done = [0, 0]
        for number in range(4100):
            done[number % 2] += await passed(many[number % 2], "192.0.2.4", 1)
        assert sum(done) == 2000
        for rates in many:
            await rates.close()
        quick = limiter(node.url, per_address=2, address_burst=1)
        assert await passed(quick, "192.0.2.3", 2) == 1
        await asyncio.sleep(0.55)
        assert await passed(quick, "192.0.2.3", 1) == 1
        node.kill()
        assert await passed(one, "192.0.2.1", BURST + 1) == BURST
        assert await passed(two, "192.0.2.1", BURST + 1) == BURST
        for rates in (one, two, quick):
            await rates.close()

    try:
        asyncio.run(run())
    finally:
        node.close()


def test_no_honest_client_comes_near_the_defaults(monkeypatch: pytest.MonkeyPatch) -> None:
    """2,000 nodes behind one address pull an image of 20 layers at once with one robot account."""
    defaults = RateSettings()
    pull = 25
    assert defaults.address_burst >= 2000 * pull
    assert defaults.per_address * 60 >= 2400 * pull
    assert defaults.user_burst >= 2 * defaults.address_burst

    async def run() -> None:
        rates = RateLimiter(defaults, RedisClient(RedisSettings()), None)
        # A flood is one all the same.
        monkeypatch.setattr("seawall.infra.ratelimit.time.monotonic", lambda: 1.0)
        assert await passed(rates, "192.0.2.1", defaults.address_burst + 100) == defaults.address_burst
        assert await passed(rates, "192.0.2.2", 100) == 100
        assert await passed(rates, "127.0.0.1", 1000) == 1000
        await rates.close()

    asyncio.run(run())


@pytest.fixture(scope="module")
def limited(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Registry]:
    """Two processes; a user may make 8 requests, an address 40, and none comes back soon."""
    registry = Registry(
        tmp_path_factory.mktemp("rates") / "data",
        {
            "SEAWALL_RATE__PER_ADDRESS": "0.001",
            "SEAWALL_RATE__ADDRESS_BURST": "40",
            "SEAWALL_RATE__PER_USER": "0.001",
            "SEAWALL_RATE__USER_BURST": "8",
            # Loopback is, by default.
            "SEAWALL_RATE__EXEMPT": "[]",
            "SEAWALL_HTTP__WORKERS": "2",
            "SEAWALL_JOBS__EMBEDDED": "false",
        },
    )
    registry.start()
    yield registry
    registry.close()


def test_what_clients_are_told(limited: Registry) -> None:
    def get(path: str, auth: tuple[str, str] | None = None) -> httpx.Response:
        # A connection of its own: both processes get some.
        return httpx.get(limited.url + path, auth=auth, timeout=30)

    admin = ("admin", PASSWORD)
    token = get("/service/token?service=seawall&scope=repository:a/b:pull", admin)
    bearer = {"Authorization": f"Bearer {token.json()['token']}"}
    answers = [get("/api/v2.0/projects", admin) for _ in range(9)]
    assert [a.status_code for a in answers] == [200] * 7 + [429] * 2
    assert answers[-1].json()["errors"][0]["code"] == "TOO_MANY_REQUESTS"
    assert int(answers[-1].headers["Retry-After"]) > 1
    for refused in (
        get("/v2/", admin),
        get("/service/token", admin),
        httpx.get(f"{limited.url}/v2/", headers=bearer),
        httpx.get(f"{limited.url}/v2/a/b/manifests/x", headers=bearer),
        httpx.get(f"{limited.url}/v2/_catalog", headers=bearer),
    ):
        code = refused.json()["errors"][0]["code"]
        assert (refused.status_code, code) in ((429, "TOOMANYREQUESTS"), (401, "UNAUTHORIZED")), refused.url
        assert refused.status_code == 429 or "_catalog" in str(refused.url)
    # Somebody else at the same address goes on, until the address's own bucket is empty.
    assert get("/api/v2.0/systeminfo").status_code == 200
    codes = [get("/api/v2.0/systeminfo").status_code for _ in range(40)]
    assert codes == sorted(codes)
    assert codes[-1] == 429
    last = get("/api/v2.0/systeminfo")
    assert last.json()["errors"][0]["code"] == "TOO_MANY_REQUESTS"
    assert "Retry-After" in last.headers
    assert get("/v2/").json()["errors"][0]["code"] == "TOOMANYREQUESTS"
    for path in ("/readyz", "/api/v2.0/ping", "/api/v2.0/health"):
        assert get(path).status_code == 200
    assert 'seawall_http_limited_total{by="address"}' in get("/metrics").text
