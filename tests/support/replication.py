"""The management API, as far as replication goes."""

from __future__ import annotations

from typing import Any

import httpx

from tests.support.registry import Registry
from tests.support.waiting import SECONDS, until


class Api:
    """The management API of a Seawall, as its administrator."""

    def __init__(self, registry: Registry) -> None:
        self.http = httpx.Client(base_url=f"{registry.url}/api/v2.0", auth=registry.admin, timeout=30)

    def make(self, path: str, body: dict[str, Any]) -> int:
        """POST; the id in the Location."""
        made = self.http.post(path, json=body)
        assert made.status_code == 201, made.text
        return int(made.headers["Location"].rpartition("/")[2])

    def endpoint(self, name: str, url: str, type: str, auth: tuple[str, str] | None = None) -> int:
        """A registry endpoint; the one of that name if it is there."""
        for found in self.http.get("/registries", params={"q": f"name={name}"}).json():
            return int(found["id"])
        credential = {"type": "basic", "access_key": auth[0], "access_secret": auth[1]} if auth else None
        body = {"name": name, "url": url, "type": type, "credential": credential, "insecure": True}
        return self.make("/registries", body)

    def run(self, policy: int) -> dict[str, Any]:
        """Run a policy to its end."""
        return self.wait(self.make("/replication/executions", {"policy_id": policy}))

    def wait(self, execution: int, seconds: float = SECONDS) -> dict[str, Any]:
        """The execution once it is over."""

        def over() -> dict[str, Any] | None:
            found: dict[str, Any] = self.http.get(f"/replication/executions/{execution}").json()
            return found if found["status"] != "InProgress" else None

        return until(over, lambda: self.logs(execution), seconds)

    def logs(self, execution: int) -> str:
        """The logs of every task."""
        tasks = self.http.get(f"/replication/executions/{execution}/tasks", params={"page_size": 100}).json()
        return "".join(
            self.http.get(f"/replication/executions/{execution}/tasks/{item['id']}/log").text
            for item in tasks
        )
