"""What a check of a cluster found."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

from seawall.availability.cluster.instances import Instance


@dataclass(frozen=True, slots=True)
class Fault:
    """Something that is wrong: between which instances (addresses), and how to correct it."""

    kind: str
    instances: list[str]
    message: str
    cure: str


@dataclass(slots=True)
class CheckReport:
    """What a check found. `pairs`: ordered pairs of instances that were tested against each other."""

    instances: list[dict[str, Any]] = field(default_factory=list)
    pairs: int = 0
    tested: list[str] = field(default_factory=list)
    faults: list[Fault] = field(default_factory=list)

    @property
    def ok(self) -> bool:
        """Whether nothing is wrong."""
        return not self.faults

    def fault(self, kind: str, where: list[str], message: str, cure: str) -> None:
        """Note a fault."""
        self.faults.append(Fault(kind, sorted(where), message, cure))


def shown(item: Instance) -> dict[str, Any]:
    """JSON-able facts about an instance."""
    return {
        "id": item.id,
        "hostname": item.hostname,
        "address": item.address,
        "version": item.version,
        "alive": item.alive,
        "seen_seconds_ago": round(item.age, 1),
        "started_at": item.started_at,
        "clock_skew": item.clock_skew,
        "external_url": item.external_url,
        "health": item.health,
    }


def error_of(value: Any) -> str:
    """What a probe says went wrong with a part."""
    return str(value.get("error", "not found")) if isinstance(value, dict) else "not found"
