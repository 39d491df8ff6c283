"""Figures of requests: added up, then written."""

from __future__ import annotations

import asyncio
import math

from prometheus_client import REGISTRY

from seawall.process.tally import Tally

ROUTE = "/a route of this test"


def shown(name: str, **labels: str) -> float:
    return REGISTRY.get_sample_value(name, labels) or 0.0


def test_nothing_is_lost_and_nothing_counted_twice() -> None:
    async def body() -> None:
        tally = Tally()
        for seconds in (0.001, 0.005, 0.3, 20.0):
            tally.begun()
            tally.ended("GET", ROUTE, 200, seconds, 10, 1000)
        tally.begun()
        tally.ended("GET", ROUTE, 404, 0.3, 0, 0)
        tally.write()
        tally.write()
        tally.begun()
        tally.ended("GET", ROUTE, 200, 0.3, 0, 1)
        # Without being asked to.
        await asyncio.sleep(0.2)

    before = shown("seawall_http_requests_active")
    asyncio.run(body())
    assert shown("seawall_http_requests_active") == before
    assert shown("seawall_http_requests_total", method="GET", route=ROUTE, status="200") == 5
    assert shown("seawall_http_requests_total", method="GET", route=ROUTE, status="404") == 1
    of = {"method": "GET", "route": ROUTE}
    assert shown("seawall_http_request_seconds_count", **of) == 6
    assert math.isclose(shown("seawall_http_request_seconds_sum", **of), 20.906)
    # A bound belongs to its bucket, as in `Histogram.observe`.
    buckets = {"0.005": 2, "0.01": 2, "0.25": 2, "0.5": 5, "10.0": 5, "+Inf": 6}
    assert {le: shown("seawall_http_request_seconds_bucket", le=le, **of) for le in buckets} == buckets


def test_a_loop_that_ended_holds_up_no_other() -> None:
    tally = Tally()

    async def one() -> None:
        tally.begun()
        tally.ended("PUT", ROUTE, 200, 0.001, 0, 0)

    async def other() -> None:
        await one()
        await asyncio.sleep(0.2)

    asyncio.run(one())
    asyncio.run(other())
    assert shown("seawall_http_requests_total", method="PUT", route=ROUTE, status="200") == 2
