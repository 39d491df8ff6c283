"""What a running job has in its hand: its log, its progress, and whether it was asked to stop."""

from __future__ import annotations

import asyncio
import contextlib
import json
from datetime import UTC, datetime
from typing import Any

from sqlalchemy import Connection, insert, select, update

from seawall.infra.db import Database
from seawall.infra.jobs.base import JobStoppedError
from seawall.infra.jobs.service import LOG_LIMIT
from seawall.infra.jobs.tables import job_logs, jobs
from seawall.kernel.errors import UnavailableError


async def always() -> bool:
    """Yes."""
    return True


class RunContext:
    """The JobContext of one run."""

    def __init__(self, job_id: str, attempt: int, db: Database) -> None:
        self.id = job_id
        self.attempt = attempt
        self._db = db
        self.stopping = False
        self._lines: list[str] = []
        self._written = 0
        self._progress: Any = None
        self._has_progress = False
        self._flushing = asyncio.Lock()

    async def log(self, message: str, level: str = "INFO") -> None:
        """See JobContext.log."""
        now = datetime.now(UTC).strftime("%Y-%m-%dT%H:%M:%SZ")
        line = f"{now} [{level}] {message}\n"
        if self._written > LOG_LIMIT:
            return
        self._written += len(line)
        if self._written > LOG_LIMIT:
            line = f"{now} [WARNING] log is full; further lines are not stored\n"
        self._lines.append(storable(line))
        if len(self._lines) >= 200:
            # The lines stay, and are written by a later attempt.
            with contextlib.suppress(UnavailableError):
                await self.flush()

    async def checkpoint(self) -> None:
        """See JobContext.checkpoint."""
        await asyncio.sleep(0)
        if self.stopping:
            raise JobStoppedError

    async def progress(self, value: Any) -> None:
        """See JobContext.progress; written at most once a second. Raises TypeError, ValueError: not JSON."""
        json.dumps(value, allow_nan=False)
        self._progress = value
        self._has_progress = True

    async def flush(self) -> None:
        """Store buffered lines and progress."""
        async with self._flushing:
            lines, self._lines = self._lines, []
            progress, has_progress = self._progress, self._has_progress
            self._has_progress = False
            if not lines and not has_progress:
                return

            def write_log(connection: Connection) -> None:
                if lines:
                    known = connection.execute(select(jobs.c.id).where(jobs.c.id == self.id)).first()
                    if known:
                        connection.execute(insert(job_logs), {"job_id": self.id, "text": "".join(lines)})
                if has_progress:
                    connection.execute(update(jobs).where(jobs.c.id == self.id).values(progress=progress))

            try:
                await self._db.write(write_log, durable=False)
            except UnavailableError:
                self._lines[:0] = lines
                if has_progress and not self._has_progress:
                    self._progress, self._has_progress = progress, True
                raise


async def flush_often(context: RunContext) -> None:
    """Store the log and progress of a job every second, until cancelled."""
    while True:
        await asyncio.sleep(1)
        with contextlib.suppress(Exception):
            await context.flush()


def storable(text: str) -> str:
    """`text` without what PostgreSQL cannot store: NUL, and halves of surrogate pairs."""
    return text.replace("\0", "\N{REPLACEMENT CHARACTER}").encode("utf-8", "replace").decode()
