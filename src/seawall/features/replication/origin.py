"""Where a change came from, so that registries that replicate to each other settle.

A Seawall that copies to another sends a header along with manifests and deletions:

    Seawall-Replication: path=<id>,<id>...; at=<seconds>

`path` are the registries the change has passed, the sender last; one that finds itself further up refuses
the change (412, `SETTLED`), as it made it or has had it. `at`, sent by event-based policies, is when the tag
was pushed first: where both push to the same tag, the later push stays (of the same moment, the greater
digest).
"""

from __future__ import annotations

import hashlib
import re

from seawall.kernel.context import Actor

HEADER = "Seawall-Replication"
# The detail of a refusal (412) that settles a change: the other registry has it, or a later one. Any other
# refusal, as by a rule for immutable tags, means that the change is missing there.
SETTLED = {"replication": "settled"}
_MOST = 16


def cluster_id(fingerprint: str, external_url: str) -> str:
    """How a cluster calls itself in paths; `fingerprint` is that of its first signing key."""
    return hashlib.sha256(f"{fingerprint} {external_url}".encode()).hexdigest()[:16]


def registry_mark(registry_id: int) -> str:
    """What stands in a path for a registry that a policy pulled from; it never leaves this cluster."""
    return f"registry:{registry_id}"


def format_header(path: list[str], own: str, at: float | None) -> str:
    """The header of a change that came here by `path`."""
    passed = [item for item in path if not item.startswith("registry:")]
    text = "path=" + ",".join([*passed, own][-_MOST:])
    return text if at is None else f"{text}; at={at:.6f}"


def parse_header(value: str, now: float) -> tuple[tuple[str, ...], float | None]:
    """(path, time) of a header; what is malformed counts as absent, a time in the future as now."""
    match = re.fullmatch(
        r"path=([0-9a-f]{16}(?:,[0-9a-f]{16}){0,15})(?:; at=(\d{1,12}(?:\.\d{1,9})?))?", value
    )
    if match is None:
        return (), None
    return tuple(match[1].split(",")), min(float(match[2]), now) if match[2] else None


def came_from(actor: Actor, own: str) -> bool:
    """Whether the cluster `own` has had this change before; the last of a path is who sent it."""
    return own in actor.passed[:-1]
