"""The rules of a migration: what comes after the content that it would have stood in the way of."""

from __future__ import annotations

from typing import Any

from seawall.install.harbor_api import Api, ApiError
from seawall.install.maker import Maker


class Rules:
    """Brings immutable tags, retention and webhooks of projects, registries and replication policies."""

    def __init__(self, source: Api, maker: Maker) -> None:
        self._from = source
        self._maker = maker
        self._registries: dict[int, int] = {}

    async def project(self, project: dict[str, Any], target: int) -> None:
        """Bring the rules of a project of the source; `target` is its id on the new side."""
        name, source = project["name"], project["project_id"]
        await self._immutable(name, source, target)
        await self._retention(project, target)
        await self._webhooks(name, source, target)

    async def _immutable(self, name: str, source: int, target: int) -> None:
        there = [_rule(item) async for item in self._maker.api.all(f"/projects/{target}/immutabletagrules")]
        async for rule in self._from.all(f"/projects/{source}/immutabletagrules"):
            if _rule(rule) in there:
                self._maker.outcome.there["immutable tag rule"] += 1
                continue
            body = {key: value for key, value in rule.items() if key != "id"}
            await self._maker.make("immutable tag rule", name, f"/projects/{target}/immutabletagrules", body)

    async def _retention(self, project: dict[str, Any], target: int) -> None:
        identifier = (project.get("metadata") or {}).get("retention_id")
        if not identifier:
            return
        mine = await self._maker.api.get(f"/projects/{target}")
        if (mine.get("metadata") or {}).get("retention_id"):
            self._maker.outcome.there["retention policy"] += 1
            return
        try:
            policy = await self._from.get(f"/retentions/{identifier}")
        except ApiError as error:
            self._maker.fail(f"retention policy of {project['name']}: {error}")
            return
        rules = [{k: v for k, v in rule.items() if k != "id"} for rule in policy.get("rules") or []]
        trigger = policy.get("trigger") or {}
        body = {
            "algorithm": policy.get("algorithm", "or"),
            "rules": rules,
            "trigger": {
                "kind": trigger.get("kind", "Schedule"),
                "settings": {"cron": (trigger.get("settings") or {}).get("cron", "")},
            },
            "scope": {"level": "project", "ref": target},
        }
        await self._maker.make("retention policy", project["name"], "/retentions", body)

    async def _webhooks(self, name: str, source: int, target: int) -> None:
        there = {item["name"] async for item in self._maker.api.all(f"/projects/{target}/webhook/policies")}
        async for policy in self._from.all(f"/projects/{source}/webhook/policies"):
            if policy["name"] in there:
                self._maker.outcome.there["webhook policy"] += 1
                continue
            keys = ("name", "description", "targets", "event_types", "enabled")
            body = {key: policy[key] for key in keys if policy.get(key) is not None}
            where = f"/projects/{target}/webhook/policies"
            await self._maker.make("webhook policy", f"{policy['name']} of {name}", where, body)

    async def replication(self) -> None:
        """Bring registries and replication policies."""
        there = {item["name"]: item["id"] async for item in self._maker.api.all("/registries")}
        async for registry in self._from.all("/registries"):
            name = registry["name"]
            if name in there:
                self._maker.outcome.there["registry"] += 1
                self._registries[registry["id"]] = there[name]
                continue
            body = {key: registry.get(key) for key in ("name", "type", "url", "description", "insecure")}
            made = await self._maker.make("registry", name, "/registries", body)
            if made is not None:
                self._registries[registry["id"]] = made
                if (registry.get("credential") or {}).get("access_key"):
                    self._maker.outcome.notes.append(
                        f"registry {name} needs its credentials, which cannot be read"
                    )
        names = {item["name"] async for item in self._maker.api.all("/replication/policies")}
        async for policy in self._from.all("/replication/policies"):
            await self._replication_policy(policy, names)

    async def _replication_policy(self, policy: dict[str, Any], there: set[str]) -> None:
        name = policy["name"]
        if name in there:
            self._maker.outcome.there["replication policy"] += 1
            return
        keys = (
            "name",
            "description",
            "dest_namespace",
            "dest_namespace_replace_count",
            "trigger",
            "filters",
            "replicate_deletion",
            "override",
            "speed",
            "copy_by_chunk",
        )
        body: dict[str, Any] = {key: policy[key] for key in keys if policy.get(key) is not None}
        # Off until somebody has looked: credentials are missing, and the Harbor may still be doing it.
        body["enabled"] = False
        for side in ("src_registry", "dest_registry"):
            identifier = (policy.get(side) or {}).get("id")
            if identifier:
                if identifier not in self._registries:
                    self._maker.fail(f"replication policy {name}: its registry was not brought")
                    return
                body[side] = {"id": self._registries[identifier]}
        if await self._maker.make("replication policy", name, "/replication/policies", body) is not None:
            self._maker.outcome.notes.append(f"replication policy {name} is off: look at it, then turn it on")


def _rule(rule: dict[str, Any]) -> dict[str, Any]:
    return {key: rule.get(key) for key in ("action", "template", "tag_selectors", "scope_selectors")}
