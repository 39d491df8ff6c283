"""A limit on how fast a transfer may go."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field

# Bytes of a kilobit, in which Harbor's API states bandwidths.
KILOBIT = 128


@dataclass(slots=True)
class Limiter:
    """A bandwidth limit: `rate` bytes a second, 0 without limit (see KILOBIT).

    `checkpoint` is awaited every half second or so while bytes pass; it may raise to end the transfer.
    """

    rate: int = 0
    checkpoint: Callable[[], Awaitable[None]] | None = None
    _ready_at: float = field(default=0.0)
    _checked_at: float = field(default=0.0)

    async def take(self, amount: int) -> None:
        """Wait until `amount` more bytes may pass."""
        now = time.monotonic()
        await self._check(now)
        if self.rate <= 0:
            return
        self._ready_at = max(now, self._ready_at) + amount / self.rate
        # At most half a second's worth goes ahead of the clock, so that small blobs need not wait each.
        while (wait := self._ready_at - time.monotonic() - 0.5) > 0:
            await asyncio.sleep(min(wait, 0.5))
            await self._check(time.monotonic())

    async def _check(self, now: float) -> None:
        if self.checkpoint is not None and now - self._checked_at > 0.5:
            self._checked_at = now
            await self.checkpoint()
