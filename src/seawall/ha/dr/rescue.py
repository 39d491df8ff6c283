"""What an old active acknowledged and the new one never received."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from seawall.services import Services


class Rescue:
    """The old active's part."""

    def __init__(self, services: Services) -> None:
        self._services = services

    async def run(self, seen: dict[str, Any]) -> None:
        """Hand over."""


async def take_in(services: Services, body: dict[str, Any]) -> dict[str, Any]:
    """The new active's part."""
    return {}
