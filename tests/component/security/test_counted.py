"""What strangers choose does not grow what is counted."""

from __future__ import annotations

import httpx

from tests.support.registry import Registry


def test_methods_and_paths_that_nobody_knows_are_one(registry: Registry) -> None:
    with httpx.Client(base_url=registry.url) as client:
        for number in range(20):
            client.request(f"STRANGE{number}", "/v2/")
            client.get(f"/api/v2.0/strange{number}")
            client.request(f"STRANGE{number}", f"/strange{number}")
        told = client.get("/metrics").text
    assert "strange" not in told.lower()
    assert 'method="other"' in told
    assert 'route="other"' in told
