"""What the cluster adds to a process."""

from __future__ import annotations

from seawall.availability.cluster.instances import InstanceRegistry
from seawall.infra.part import Part


def part(instances: InstanceRegistry) -> Part:
    """Say every few seconds that this instance lives; a server process only."""
    return Part(background=(instances.beat,), closers=(instances.leave,))
