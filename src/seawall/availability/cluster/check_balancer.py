"""Whether the balancer spreads requests, and tells instances who asks."""

from __future__ import annotations

import asyncio
import time
from typing import Any

import httpx

from seawall.availability.cluster.prober import Prober
from seawall.availability.cluster.report import CheckReport
from seawall.infra.settings import Settings

# How long an instance may take to be chosen by the balancer, how long each question is held there, and how
# many are asked at once.
_BALANCER_SECONDS = 8.0


_MOST_QUESTIONS = 64


async def check_balancer(
    prober: Prober, report: CheckReport, settings: Settings, facts: dict[str, dict[str, Any]]
) -> None:
    """Ask through `external_url` until each instance has answered."""
    url = settings.external_url or next((f["external_url"] for f in facts.values() if f["external_url"]), "")
    if not url:
        return
    report.tested.append("balancer")
    missing = {fact["id"]: address for address, fact in facts.items()}
    strangers: list[str] = []
    error = ""
    failures = 0

    async def ask() -> str | Exception:
        try:
            return str((await prober.through(url))["id"])
        except PermissionError:
            strangers.append(url)
            return ""
        except (httpx.HTTPError, ValueError, KeyError) as problem:
            return problem

    # A balancer that chooses the instance with the fewest requests chooses none that is busier than the
    # others (this one is, with the check): so questions are held, and more of them are asked each time. One
    # that has just started is chosen only after some health checks of the balancer, so there is time in
    # between. Peers (own-storage HA) answer at the balancer too.
    count = 2 * (len(facts) + len(settings.peers.urls))
    deadline = time.monotonic() + _BALANCER_SECONDS
    while True:
        for answer in await asyncio.gather(*(ask() for _ in range(count))):
            if isinstance(answer, str):
                missing.pop(answer, None)
            else:
                error = f"{type(answer).__name__}: {answer}".splitlines()[0][:200]
                failures += 1
        if not missing or strangers or failures >= 5 or time.monotonic() > deadline:
            break
        count = min(2 * count, _MOST_QUESTIONS)
        await asyncio.sleep(0.5)
    if strangers:
        report.fault(
            "clusters",
            list(facts),
            f"these are two clusters: behind {url} answers a registry that does not know this one's keys, so "
            "clients get 401 wherever the next request goes to the other one",
            "give all of them the same database.url and master key (one cluster), or `peers.urls` with the "
            "same keys (`seawall keys import DIR`, docs/peers.md), or keep each client at one of them "
            "(`balance source` in HAProxy, `ip_hash` in nginx) with replication policies between them",
        )
    elif error:
        report.fault(
            "balancer",
            list(missing.values()) or list(facts),
            f"{url}: {error}",
            "see that the balancer runs, that external_url is its address, and (with a CA of your own) "
            "that ca_download names the CA",
        )
    elif missing:
        report.fault(
            "balancer",
            list(missing.values()),
            f"the balancer at {url} does not send requests to {', '.join(sorted(missing.values()))}",
            "add it to the balancer (`seawall ha lb-config`) and look at its health check there",
        )
