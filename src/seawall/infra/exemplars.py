"""Exemplars: the trace of one request for each bucket of a histogram, so that a slow one can be looked at.

`prometheus_client` keeps none where several processes count together. So each process remembers the newest
ones, and writes them into the folder of its counters, at most once a second.
"""

from __future__ import annotations

import contextlib
import json
import os
import time
from collections.abc import Sequence
from pathlib import Path

from seawall.infra.temporary import METRICS_VARIABLE

# Labels of the sample (values, in order) and the bucket's upper bound -> trace id, seconds, Unix time.
Key = tuple[str, ...]
Seen = tuple[str, float, float]

HISTOGRAM = "seawall_http_request_seconds"
BUCKETS = (0.005, 0.01, 0.025, 0.05, 0.075, 0.1, 0.25, 0.5, 0.75, 1.0, 2.5, 5.0, 7.5, 10.0)
_WRITE_SECONDS = 1.0
# As many as labels and buckets can make; more would be a bug.
_MOST = 4096
_seen: dict[Key, Seen] = {}
_written = 0.0


def note(labels: Sequence[str], seconds: float, trace_id: str) -> None:
    """Remember a request that is traced."""
    global _written
    bound = next((str(item) for item in BUCKETS if seconds <= item), "+Inf")
    key = (*labels, bound)
    if key not in _seen and len(_seen) >= _MOST:
        return
    now = time.time()
    _seen[key] = (trace_id, seconds, now)
    folder = os.environ.get(METRICS_VARIABLE)
    if folder and abs(now - _written) >= _WRITE_SECONDS:
        _written = now
        with contextlib.suppress(OSError):
            file = Path(folder) / f"exemplars-{os.getpid()}.json"
            half = file.with_suffix(".half")
            half.write_text(json.dumps([[list(key), seen] for key, seen in _seen.items()]))
            half.replace(file)


def newest() -> dict[Key, Seen]:
    """Those of all processes of the instance."""
    found = dict(_seen)
    folder = os.environ.get(METRICS_VARIABLE)
    for file in Path(folder).glob("exemplars-*.json") if folder else ():
        with contextlib.suppress(OSError, ValueError):
            for key, (trace_id, seconds, at) in json.loads(file.read_text()):
                old = found.get(tuple(key))
                if old is None or old[2] < at:
                    found[tuple(key)] = (trace_id, seconds, at)
    return found
