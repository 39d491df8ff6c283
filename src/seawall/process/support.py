"""What a support bundle has in it: the state of a registry, without its secrets.

Each part is asked by itself: one that fails is a line that says why, and the others are there all the same.
"""

from __future__ import annotations

import asyncio
import importlib.metadata
import json
import os
import platform
import re
import ssl
import time
from collections import deque
from collections.abc import Awaitable, Callable
from dataclasses import asdict
from pathlib import Path
from typing import Any

import httpx

from seawall import __version__
from seawall.access import identities
from seawall.availability.cluster.check import check
from seawall.availability.cluster.instances import InstanceRegistry
from seawall.availability.cluster.report import shown
from seawall.infra.configuration import ITEMS, Configuration
from seawall.infra.db import Database, open_database
from seawall.infra.db.activity import activity
from seawall.infra.jobs.service import JobService
from seawall.infra.secrets.keyring import KeyRing
from seawall.infra.secrets.redaction import Redactor, secrets_of
from seawall.infra.settings import Settings, redacted

_LINES = 5000
_JOBS = 100
_PART_SECONDS = 60.0
_SCRAPE_SECONDS = 10.0
# Samples that name what users chose: projects, policies, registries.
_NAMED = re.compile(r"^[^#\s]*\{[^}]*\b(project_name|policy|registry)=")
_WORTH = ('"level": "error"', '"level": "warning"', '"level": "critical"', "Traceback")

Parts = dict[str, str]


class Support:
    """Gathers the parts of a bundle."""

    def __init__(self, settings: Settings, *, names: bool = False) -> None:
        """`names`: samples that name projects stay in."""
        self._settings = settings
        self._names = names
        self._redactor = Redactor(secrets_of(settings))
        self.parts: Parts = {}
        self.failed: dict[str, str] = {}

    async def gather(self, logs: list[Path]) -> Parts:
        """File names of the bundle and their texts."""
        self._add("versions.json", _versions())
        self._add("settings.json", redacted(self._settings))
        for number, path in enumerate(logs, 1):
            await self._part(f"log-{number}.txt", lambda path=path: asyncio.to_thread(_tail, path))  # type: ignore[misc]
        db = open_database(self._settings.database_url, pool_size=2)
        try:
            await self._part("database.json", lambda: db.read(activity))
            await self._part("failed-jobs.json", lambda: _failed_jobs(db))
            await self._keyed(db)
        finally:
            await db.close()
        self._add(
            "manifest.json",
            {
                "made_at": time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime()),
                "files": sorted(self.parts),
                "failed": self.failed,
            },
        )
        return self.parts

    async def _keyed(self, db: Database) -> None:
        try:
            ring = KeyRing.open(db, self._settings, files=False, generate_missing=False)
        except Exception as error:
            self._fail("ha-check.json", error)
            return
        registry = InstanceRegistry(db, self._settings, ring)

        async def instances() -> list[dict[str, Any]]:
            return [shown(item) for item in await registry.list()]

        async def checked() -> dict[str, Any]:
            report = await check(db, self._settings, ring)
            return {**asdict(report), "ok": report.ok}

        async def configuration() -> dict[str, Any]:
            values = await Configuration(
                db, ring, self._settings, has_other_users=identities.has_unlinked
            ).all()
            return {name: values[name] for name, item in ITEMS.items() if item.kind != "password"}

        await self._part("instances.json", instances)
        await self._part("configuration.json", configuration)
        await self._part("ha-check.json", checked)
        try:
            living = [item for item in await registry.list() if item.alive]
        except Exception as error:
            self._fail("metrics", error)
            return
        for item in living:
            name = re.sub(r"[^A-Za-z0-9.-]+", "-", item.address.partition("://")[2])
            await self._part(f"metrics-{name}.txt", lambda url=item.address: self._metrics(url))  # type: ignore[misc]

    async def _metrics(self, url: str) -> str:
        token = self._settings.metrics.token
        # The token goes to nobody whose certificate is not right.
        verify = ssl.create_default_context()
        headers = {"Authorization": f"Bearer {token}"} if token else {}
        async with httpx.AsyncClient(timeout=_SCRAPE_SECONDS, verify=verify, trust_env=False) as client:
            answer = await client.get(f"{url}/metrics", headers=headers)
        answer.raise_for_status()
        lines = answer.text.splitlines(keepends=True)
        return "".join(line for line in lines if self._names or not _NAMED.match(line))

    async def _part(self, name: str, ask: Callable[[], Awaitable[Any]]) -> None:
        try:
            async with asyncio.timeout(_PART_SECONDS):
                self._add(name, await ask())
        except Exception as error:
            self._fail(name, error)

    def _add(self, name: str, content: Any) -> None:
        text = content if isinstance(content, str) else json.dumps(content, indent=1, default=str) + "\n"
        self.parts[name] = self._redactor.clean(text)

    def _fail(self, name: str, error: Exception) -> None:
        first = (str(error).strip().splitlines() or [""])[0]
        self.failed[name] = self._redactor.clean(f"{type(error).__name__}: {first}")


def _versions() -> dict[str, Any]:
    packages = {item.metadata["Name"]: item.version for item in importlib.metadata.distributions()}
    return {
        "seawall": __version__,
        "python": platform.python_version(),
        "system": platform.platform(),
        "processors": os.cpu_count(),
        "load": os.getloadavg(),
        "packages": dict(sorted(packages.items(), key=lambda pair: str(pair[0]).lower())),
    }


async def _failed_jobs(db: Database) -> list[dict[str, Any]]:
    """The last jobs that failed, without their arguments and results: those may name anything."""
    found = await JobService(db).list(status="error", limit=_JOBS)
    names = ("id", "kind", "error", "created_at", "started_at", "ended_at", "attempts", "schedule")
    return [{name: getattr(item, name) for name in names} for item in found]


def _tail(path: Path) -> str:
    """The last warnings and errors of a log."""
    kept: deque[str] = deque(maxlen=_LINES)
    with path.open(encoding="utf-8", errors="replace") as file:
        for line in file:
            if any(word in line for word in _WORTH):
                kept.append(line if line.endswith("\n") else line + "\n")
    return "".join(kept)
