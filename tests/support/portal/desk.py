"""One registry with the portal, with some of everything that the portal shows."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import httpx

from tests.support.portal.images import Pusher
from tests.support.processes import PASSWORD
from tests.support.registry import Registry


class Desk:
    """A registry (SQLite, one worker), its API as the administrator, and a pusher."""

    def __init__(self, registry: Registry) -> None:
        self.url = registry.url
        self.api = httpx.Client(base_url=f"{registry.url}/api/v2.0", auth=("admin", PASSWORD), timeout=60)
        self.push = Pusher(registry.url, ("admin", PASSWORD))

    def make(self, path: str, body: Any) -> str:
        """Make something; returns the last part of its Location."""
        answer = self.api.post(path, json=body)
        assert answer.status_code in (200, 201), answer.text
        return str(answer.headers.get("location", "")).rpartition("/")[2]

    def get(self, path: str) -> Any:
        """What the API has at a path."""
        answer = self.api.get(path)
        assert answer.status_code == 200, answer.text
        return answer.json()

    def project(self, name: str = "web") -> int:
        """The number of a project."""
        return int(self.get(f"/projects/{name}")["project_id"])

    def furnish(self) -> None:
        """One of each thing that has a row somewhere, so that every page and dialog shows something."""
        web = self.project()
        self.make(
            "/users", {"username": "guest", "email": "g@example.com", "realname": "G", "password": PASSWORD}
        )
        self.make("/projects/web/members", {"role_id": 3, "member_user": {"username": "guest"}})
        self.make("/usergroups", {"group_name": "makers", "group_type": 3})
        self.make("/labels", {"name": "stable", "color": "#aa3300", "scope": "g"})
        self.make("/labels", {"name": "local", "color": "#0033aa", "scope": "p", "project_id": web})
        access = [{"resource": "repository", "action": "pull"}]
        for level, name in (("system", "nightly"), ("project", "builder")):
            permission = {"kind": "project", "namespace": "web", "access": access}
            self.make("/robots", {"name": name, "level": level, "duration": 30, "permissions": [permission]})
        registry = self.make(
            "/registries", {"name": "upstream", "type": "docker-registry", "url": self.url, "insecure": True}
        )
        self.make(
            "/replication/policies",
            {"name": "mirror", "dest_registry": {"id": int(registry)}, "trigger": {"type": "manual"}},
        )
        self.make(
            "/p2p/preheat/instances",
            {
                "name": "swarm",
                "vendor": "dragonfly",
                "endpoint": self.url,
                "auth_mode": "NONE",
                "enabled": True,
            },
        )
        swarm = self.get("/p2p/preheat/instances/swarm")["id"]
        self.make(
            "/projects/web/preheat/policies",
            {
                "name": "warm",
                "provider_id": swarm,
                "filters": '[{"type":"repository","value":"**"},{"type":"tag","value":"**"}]',
                "trigger": '{"type":"manual","trigger_setting":{}}',
                "enabled": True,
            },
        )
        self.make(
            "/projects/web/webhook/policies",
            {
                "name": "hook",
                "enabled": True,
                "event_types": ["DELETE_ARTIFACT"],
                "targets": [{"type": "http", "address": "https://127.0.0.1/hook", "skip_cert_verify": True}],
            },
        )
        everything = {"repository": [{"kind": "doublestar", "decoration": "repoMatches", "pattern": "**"}]}
        kept = {"kind": "doublestar", "decoration": "matches", "pattern": "kept-*"}
        self.make(
            "/projects/web/immutabletagrules",
            {
                "action": "immutable",
                "template": "immutable_template",
                "tag_selectors": [kept],
                "scope_selectors": everything,
            },
        )
        self.make(
            "/retentions",
            {
                "algorithm": "or",
                "rules": [
                    {
                        "action": "retain",
                        "template": "latestPushedK",
                        "params": {"latestPushedK": 500},
                        "tag_selectors": [kept],
                        "scope_selectors": everything,
                    }
                ],
                "trigger": {"kind": "Schedule", "settings": {"cron": ""}},
                "scope": {"level": "project", "ref": web},
            },
        )


@contextmanager
def open_desk(root: Path, **settings: str) -> Iterator[Desk]:
    """A registry that runs, with the projects `web` (18 images in `web/app`) and `other`."""
    registry = Registry(
        root / "data",
        {
            "SEAWALL_HTTP__WORKERS": "1",
            "SEAWALL_JOBS__EMBEDDED": "true",
            "SEAWALL_WEBHOOKS__ALLOW_NETWORKS": '["127.0.0.0/8"]',
            **settings,
        },
    )
    registry.launch()
    try:
        registry.wait_ready()
        found = Desk(registry)
        for name in ("web", "other"):
            found.make("/projects", {"project_name": name, "metadata": {"public": "false"}})
        for number in range(18):
            found.push.image("web/app", f"v{number}", text=str(number))
        yield found
    finally:
        registry.kill()
