"""An hour of random faults under load. Not part of `make test`: `make soak`.

`SEAWALL_SOAK_MINUTES` is how long (60 unless told), `SEAWALL_CHAOS_SECONDS` how long each fault lasts (12).
"""

from __future__ import annotations

import json
import os
from collections import Counter
from pathlib import Path
from typing import Any

import pytest

from tests.support.testbed import in_own_network


@pytest.mark.timeout(0)
def test_nothing_is_lost_in_an_hour(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SEAWALL_SOAK_MINUTES", os.environ.get("SEAWALL_SOAK_MINUTES", "60"))
    file = tmp_path / "result.json"
    seconds = os.environ.get("SEAWALL_CHAOS_SECONDS", "12")
    done = in_own_network("tests.system.cluster.chaos", seconds, str(file), timeout=None)
    assert file.exists(), done.stderr[-6000:]
    result: dict[str, Any] = json.loads(file.read_text())
    told = {name: result[name] for name in ("manifests", "blobs", "operations", "load_average")}
    faults = Counter(case["name"] for case in result["cases"])
    reads, writes = (
        max((case["fault"][name], case["name"]) for case in result["cases"])
        for name in ("reads_out", "writes_out")
    )
    print(done.stderr.splitlines()[:2], told, faults, f"reads out {reads}, writes out {writes}")
    assert result["fatal"] == []
    assert result["lost"] == []
    assert result["unauthorized"] == []
    assert all(result["linearizable"].values()), json.dumps(result["wrong"], indent=1)
    assert result["check"] == []
