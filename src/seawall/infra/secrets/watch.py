"""Following the cluster's keys as other processes change them."""

from __future__ import annotations

import asyncio
import contextlib
import time
from typing import Any

import structlog

from seawall.infra.db import Database
from seawall.infra.db.notify import listen
from seawall.infra.secrets.rotation import KeyRotation
from seawall.infra.secrets.versions import CHANNEL, KeyVersions
from seawall.infra.settings import KeysSettings
from seawall.kernel.errors import ConfigError

log: Any = structlog.get_logger("seawall.keys")


class KeyWatch:
    """Keeps the versions that this process knows fresh."""

    def __init__(
        self, db: Database, versions: KeyVersions, rotation: KeyRotation, settings: KeysSettings
    ) -> None:
        self._db = db
        self._versions = versions
        self._rotation = rotation
        self._settings = settings
        self._wake: asyncio.Event | None = None
        self._told = False

    @property
    def overdue(self) -> bool:
        """Whether keys are followed, and could not be read for a while."""
        late = max(10.0, 5 * self._settings.poll_seconds)
        return self._wake is not None and time.monotonic() - self._versions.read_at > late

    def wake(self) -> None:
        """Ask `run` to look for new keys now."""
        if self._wake is not None:
            self._wake.set()

    async def run(self) -> None:
        """Follow the cluster's keys until cancelled; finish secret rotations that others began."""
        self._wake = asyncio.Event()
        told = asyncio.create_task(self._listen())
        try:
            await self._follow()
        finally:
            told.cancel()
            await asyncio.gather(told, return_exceptions=True)

    async def _listen(self) -> None:
        """Look at once when another process says that it has changed the keys."""
        assert self._wake is not None
        async for _ in listen(self._db, CHANNEL):
            self._told = True
            self._wake.set()

    async def _follow(self) -> None:
        assert self._wake is not None
        while True:
            with contextlib.suppress(TimeoutError):
                await asyncio.wait_for(self._wake.wait(), self._settings.poll_seconds)
                if not self._told:
                    # Unknown key ids come from outside: they must not set the pace of database reads.
                    await asyncio.sleep(0.5)
            self._told = False
            self._wake.clear()
            try:
                await self._versions.refresh()
                await self._rotation.finish_if_due()
            except ConfigError:
                raise
            except Exception as error:
                log.warning("keys cannot be refreshed", error=type(error).__name__)
