"""Several instances on loopback that are one registry."""

from __future__ import annotations

import base64
import secrets
from pathlib import Path

from tests.support.registry import Registry

FAST = {
    "SEAWALL_HTTP__WORKERS": "1",
    "SEAWALL_KEYS__POLL_SECONDS": "0.5",
    "SEAWALL_KEYS__PUBLISH_SECONDS": "1",
    "SEAWALL_HA__HEARTBEAT_SECONDS": "1",
    "SEAWALL_HA__DEAD_SECONDS": "3",
    "SEAWALL_LOG__ACCESS": "false",
    # No test here needs jobs, and a job runner for each instance doubles the time they take to start.
    "SEAWALL_JOBS__EMBEDDED": "false",
}


class Cluster:
    """`count` instances on one database; storage is a shared directory, unless `settings` say otherwise."""

    def __init__(
        self, root: Path, url: str, *, count: int = 3, settings: dict[str, str] | None = None
    ) -> None:
        self.root = root
        master = base64.b64encode(secrets.token_bytes(32)).decode()
        self.settings = {
            "SEAWALL_DATABASE__URL": url,
            "SEAWALL_MASTER_KEY": master,
            "SEAWALL_STORAGE__ROOT": str(root / "shared"),
            **FAST,
            **(settings or {}),
        }
        self.instances = [Registry(root / f"instance{n}", self.settings) for n in range(count)]
        self.admin = self.instances[0].admin

    def start(self) -> None:
        """Start all of them, the first one before the others, which find a migrated database."""
        self.instances[0].start()
        for instance in self.instances[1:]:
            instance.launch()
        for instance in self.instances[1:]:
            instance.wait_ready()

    def close(self) -> None:
        """Kill those that run."""
        for instance in self.instances:
            instance.close()
