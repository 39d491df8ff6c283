"""What the cluster adds to a process."""

from __future__ import annotations

from functools import partial

from seawall.availability.cluster.health import Health
from seawall.availability.cluster.instances import InstanceRegistry
from seawall.infra.part import Part


def part(instances: InstanceRegistry, health: Health) -> Part:
    """Say every few seconds that this instance lives; a server process only."""
    return Part(background=(partial(instances.beat, health),), closers=(instances.leave,))
