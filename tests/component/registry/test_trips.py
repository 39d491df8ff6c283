"""How often the requests of a push and a pull wait for PostgreSQL, and in which order a push locks.

`python -m tests.support.metered -v` prints the statements.
"""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from tests.support.metered import Metered, metered
from tests.support.servers.postgres import Postgres

# BEGIN, COMMIT and the look at the token's project are counted.
MOST = {
    "token": 2,
    "upload started": 1,
    "blob PUT that ends an upload": 2,
    "blob in one request": 2,
    # When the token's project was made is asked once a second.
    "blob HEAD": 2,
    "blob HEAD, not there": 2,
    "manifest PUT": 3,
    "manifest PUT of a tag that moves": 3,
    # The policies of the project about pulls are asked for along with the manifest.
    "manifest GET by tag": 2,
    "manifest GET by digest": 2,
}


@pytest.fixture(scope="module")
def meter(postgres: Postgres, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Metered]:
    with metered(postgres, tmp_path_factory.mktemp("metered")) as made:
        made.authenticate("library/x")
        made.project("limited", 10**9)
        yield made


@pytest.mark.parametrize("project", ["library", "limited"])
def test_round_trips(meter: Metered, project: str) -> None:
    costs = meter.costs(f"{project}/app")
    for name, most in MOST.items():
        assert costs[name].trips <= most, f"{name}:\n{costs[name]}"


@pytest.mark.parametrize("project", ["library", "limited"])
def test_layers_cost_no_statements(meter: Metered, project: str) -> None:
    """Neither at the first push of a manifest nor when it is pushed again."""
    name = f"{project}/layers"
    meter.authenticate(name)
    counts: dict[int, set[int]] = {}
    for _ in range(3):
        for layers in (1, 30):
            payload = meter.image(name, layers)
            costs = [meter.put_manifest(name, tag, payload) for tag in ("one", "one", "two")]
            counts.setdefault(layers, set()).add(sum(len(cost.statements) for cost in costs))
    # What is asked once a second is in some of them.
    assert min(counts[30]) == min(counts[1]), counts


@pytest.mark.parametrize("project", ["library", "limited"])
def test_the_quota_is_locked_last(meter: Metered, project: str) -> None:
    """From there on nobody waits for the network: the commit is on its way with the lock."""
    costs = meter.costs(f"{project}/order")
    for name in ("blob PUT that ends an upload", "blob in one request", "manifest PUT"):
        last = costs[name].bursts[-1]
        touching = [number for number, text in enumerate(last) if "quotas" in text]
        assert touching, costs[name]
        # What comes after it says who has committed, and commits.
        assert [text.split(" ")[0] for text in last[touching[0] + 1 :]] == ["INSERT", "COMMIT"], costs[name]
        assert "commit_markers" in last[-2]
        assert not [text for burst in costs[name].bursts[:-1] for text in burst if "quotas" in text]
    first, second = costs["manifest PUT"].bursts[-2:]
    locks = [text for text in first if "FOR" in text or text.startswith("UPDATE")]
    assert "repositories" in locks[0]
    assert "FOR NO KEY UPDATE" in locks[0]
    assert "manifests" in second[0]
