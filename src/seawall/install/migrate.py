"""Bring what a Harbor has to a Seawall, over the API of both: run it from anywhere that reaches the two.

In this order: labels, users, projects with members, robots and labels, artifacts with everything attached to
them, then the rules that would have stood in the way (immutable tags, retention, webhooks), registries and
replication policies. What is there already is left as it is, so a run can be repeated: it goes on where the
last one stopped, and brings what is new since.

Passwords, robots' secrets and registries' credentials cannot be read over Harbor's API. Users and robots get
new ones, which are written to a file of the operator's; registries come without.
"""

from __future__ import annotations

import errno
import os
import secrets
import string
from pathlib import Path
from typing import Any
from urllib.parse import quote

from seawall.features.replication.client import RegistryClient
from seawall.features.replication.copy import Copier
from seawall.features.replication.endpoint import RemoteEndpoint
from seawall.features.replication.login import Credentials
from seawall.infra.private import check_writable
from seawall.install.harbor_api import Api, ApiError, Side
from seawall.install.maker import Maker, Outcome, Say
from seawall.install.migrate_rules import Rules
from seawall.kernel import progress
from seawall.kernel.errors import ConfigError, SeawallError

# Metadata that has another meaning elsewhere, or is set by itself.
_NOT_BROUGHT = {"retention_id", "public"}


class Migration:
    """One run."""

    def __init__(
        self,
        source: Side,
        target: Side,
        *,
        projects: list[str] | None = None,
        artifacts: bool = True,
        secrets_file: Path | None = None,
        say: Say = print,
    ) -> None:
        """`projects` limits what is brought to those; `say` takes a line of progress."""
        self._from = Api(source)
        self._to = Api(target)
        self._clients = [
            RegistryClient(
                side.url, Credentials(side.username, side.password), insecure=side.insecure, stay=True
            )
            for side in (source, target)
        ]
        self._projects = projects
        self._artifacts = artifacts
        self._secrets = secrets_file
        self._maker = Maker(self._to, say)
        self._repositories_seen = 0
        self._labels: dict[int, int] = {}

    async def run(self) -> Outcome:
        """Bring everything. Raises ApiError when a side cannot be reached or takes no login."""
        try:
            for api in (self._from, self._to):
                me = await api.get("/users/current")
                if not me.get("sysadmin_flag"):
                    raise ConfigError(f"{api.url}: {me.get('username')} is not a system administrator")
            self._secrets_can_be_kept()
            await self._global_labels()
            await self._users()
            brought = []
            async for project in self._from.all("/projects"):
                if self._projects is not None and project["name"] not in self._projects:
                    continue
                target = await self._project(project)
                if target is not None:
                    brought.append((project, target))
            await self._robots("system", None, None)
            if self._artifacts:
                for project, _ in brought:
                    await self._repositories(project)
            rules = Rules(self._from, self._maker)
            for project, target in brought:
                await rules.project(project, target)
            if self._projects is None:
                await rules.replication()
            return self._maker.outcome
        finally:
            await self._from.close()
            await self._to.close()
            for client in self._clients:
                await client.close()

    # -- secrets -----------------------------------------------------------------------------------

    def _secret(self, kind: str, name: str, value: str) -> None:
        if self._secrets is None:
            return
        try:
            fd = os.open(self._secrets, os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o600)
            with os.fdopen(fd, "ab", buffering=0) as file:
                end = os.fstat(fd).st_size
                line = f"{kind} {name} {value}\n".encode()
                try:
                    if file.write(line) != len(line):
                        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
                    os.fsync(fd)
                except OSError:
                    # The next run's first line must not be the end of half a line.
                    file.truncate(end)
                    raise
        except OSError as error:
            raise ConfigError(
                f"{self._secrets}: {error.strerror}; {kind} {name} was made, but its secret is in no file: "
                "give it another one, then run this again"
            ) from None

    def _secrets_can_be_kept(self) -> None:
        """Raise OSError when the file of secrets cannot be written, before anything is made."""
        if self._secrets is None:
            return
        check_writable(self._secrets)

    # -- the system's ------------------------------------------------------------------------------

    async def _global_labels(self) -> None:
        await self._copy_labels({"scope": "g"}, {"scope": "g"})

    async def _copy_labels(self, source: dict[str, Any], target: dict[str, Any]) -> None:
        there = {item["name"]: item["id"] async for item in self._to.all("/labels", **target)}
        async for label in self._from.all("/labels", **source):
            name = label["name"]
            if name in there:
                self._maker.outcome.there["label"] += 1
                self._labels[label["id"]] = there[name]
                continue
            body = {key: label.get(key) or "" for key in ("name", "description", "color")}
            made = await self._maker.make("label", name, "/labels", {**body, **target})
            if made is not None:
                self._labels[label["id"]] = made

    async def _users(self) -> None:
        mode = (await self._from.get("/systeminfo")).get("auth_mode", "db_auth")
        if mode != "db_auth":
            self._maker.outcome.notes.append(
                f"users come from {mode}: configure it here too; they are made as they sign in"
            )
            return
        there = {user["username"] async for user in self._to.all("/users")}
        async for user in self._from.all("/users"):
            name = user["username"]
            if name in there or name == "admin":
                self._maker.outcome.there["user"] += 1
                continue
            password = new_password()
            body = {
                "username": name,
                "password": password,
                "email": user.get("email") or f"{name}@example.invalid",
                "realname": user.get("realname") or name,
                "comment": user.get("comment") or "",
            }
            made = await self._maker.make("user", name, "/users", body)
            if made is None:
                continue
            self._secret("user", name, password)
            if user.get("sysadmin_flag"):
                flag = {"sysadmin_flag": True}
                await self._maker.attempt("user", name, "PUT", f"/users/{made}/sysadmin", flag)

    # -- projects ----------------------------------------------------------------------------------

    async def _project(self, project: dict[str, Any]) -> int | None:
        name = project["name"]
        if project.get("registry_id"):
            self._maker.outcome.notes.append(
                f"project {name} is a proxy cache: make it here with its registry"
            )
            return None
        metadata = {k: v for k, v in (project.get("metadata") or {}).items() if k not in _NOT_BROUGHT}
        metadata["public"] = (project.get("metadata") or {}).get("public", "false")
        body: dict[str, Any] = {"project_name": name, "metadata": metadata}
        limit = await self._quota(project["project_id"])
        if limit is not None:
            body["storage_limit"] = limit
        self._maker.say(f"project {name}")
        before = self._maker.outcome.made["project"]
        await self._maker.make("project", name, "/projects", body)
        try:
            target = int((await self._to.get(f"/projects/{quote(name, safe='')}"))["project_id"])
        except ApiError as error:
            self._maker.fail(f"project {name}: {error}")
            return None
        allowlist = project.get("cve_allowlist") or {}
        if self._maker.outcome.made["project"] > before:
            change: dict[str, Any] = {"metadata": metadata}
            if allowlist.get("items"):
                kept = {key: allowlist[key] for key in ("items", "expires_at") if allowlist.get(key)}
                change["cve_allowlist"] = kept
            await self._maker.attempt("project", name, "PUT", f"/projects/{target}", change)
        source = project["project_id"]
        await self._copy_labels({"scope": "p", "project_id": source}, {"scope": "p", "project_id": target})
        await self._members(name, source, target)
        await self._robots("project", source, name)
        return target

    async def _quota(self, project_id: int) -> int | None:
        try:
            found = await self._from.get("/quotas", reference="project", reference_id=project_id)
        except ApiError:
            return None
        hard = found[0].get("hard", {}) if found else {}
        return int(hard["storage"]) if "storage" in hard else None

    async def _members(self, name: str, source: int, target: int) -> None:
        there = {
            (item["entity_type"], item["entity_name"])
            async for item in self._to.all(f"/projects/{target}/members")
        }
        async for member in self._from.all(f"/projects/{source}/members"):
            entity = (member["entity_type"], member["entity_name"])
            if entity in there:
                self._maker.outcome.there["member"] += 1
                continue
            who: dict[str, Any]
            if member["entity_type"] == "u":
                who = {"member_user": {"username": member["entity_name"]}}
            else:
                found = [
                    group
                    async for group in self._from.all("/usergroups")
                    if group["group_name"] == member["entity_name"]
                ]
                if not found:
                    self._maker.fail(f"member {entity[1]} of {name}: its group is not to be found")
                    continue
                keys = ("group_name", "group_type", "ldap_group_dn")
                who = {"member_group": {key: found[0][key] for key in keys if found[0].get(key)}}
            body = {"role_id": member["role_id"], **who}
            await self._maker.make("member", f"{entity[1]} of {name}", f"/projects/{target}/members", body)

    async def _robots(self, level: str, project_id: int | None, project: str | None) -> None:
        query = "Level=system" if project_id is None else f"Level=project,ProjectID={project_id}"
        mine = "Level=system"
        if project is not None:
            target = (await self._to.get(f"/projects/{quote(project, safe='')}"))["project_id"]
            mine = f"Level=project,ProjectID={target}"
        there = {_robot_name(robot["name"]) async for robot in self._to.all("/robots", q=mine)}
        async for robot in self._from.all("/robots", q=query):
            name = _robot_name(robot["name"])
            if name in there:
                self._maker.outcome.there["robot"] += 1
                continue
            body = {
                "name": name,
                "description": robot.get("description") or "",
                "level": level,
                "disable": bool(robot.get("disable")),
                "duration": robot.get("duration", -1),
                "permissions": robot.get("permissions") or [],
            }
            label = f"{project}+{name}" if project else name
            answer = await self._maker.attempt("robot", label, "POST", "/robots", body)
            if answer is not None:
                self._maker.outcome.made["robot"] += 1
                made = answer.json()
                self._secret("robot", made["name"], made["secret"])

    # -- content -----------------------------------------------------------------------------------

    async def _repositories(self, project: dict[str, Any]) -> None:
        async for repository in self._from.all(f"/projects/{quote(project['name'], safe='')}/repositories"):
            name = repository["name"]
            self._repositories_seen += 1
            progress.step("repositories", self._repositories_seen)
            try:
                await self._repository(project["name"], name, repository.get("description"))
            except SeawallError as error:
                self._maker.fail(f"repository {name}: {error}")

    async def _repository(self, project: str, name: str, description: str | None) -> None:
        path = f"/projects/{quote(project, safe='')}/repositories/{_twice(name.partition('/')[2])}"
        references: list[str] = []
        labelled: list[tuple[str, list[int]]] = []
        async for artifact in self._from.all(f"{path}/artifacts", with_tag="true", with_label="true"):
            tags = [tag["name"] for tag in artifact.get("tags") or []]
            references += tags or [artifact["digest"]]
            labels = [item["id"] for item in artifact.get("labels") or []]
            if labels:
                labelled.append((artifact["digest"], labels))
        source, destination = (RemoteEndpoint(client) for client in self._clients)
        copier = Copier(source, destination, name, name)
        failed = await copier.run(references)
        for reference, error in failed.items():
            self._maker.fail(f"artifact {name}:{reference}: {error}")
        report = copier.report
        self._maker.outcome.made["artifact"] += report.artifacts
        self._maker.outcome.there["artifact"] += report.skipped
        if report.artifacts:
            self._maker.say(f"{name}: {report.artifacts} artifacts, {report.bytes} bytes")
        if description:
            change = {"description": description}
            await self._maker.attempt("repository", name, "PUT", path, change)
        for digest, labels in labelled:
            for label in labels:
                if label in self._labels:
                    where, body = f"{path}/artifacts/{digest}/labels", {"id": self._labels[label]}
                    await self._maker.attempt("artifact label", f"{name}@{digest}", "POST", where, body)


def _robot_name(full: str) -> str:
    """A robot's own name: without prefix (`robot$`) and project (`project+`)."""
    return full.rpartition("$")[2].rpartition("+")[2]


def _twice(path: str) -> str:
    # Harbor wants slashes of repository names encoded twice.
    return quote(quote(path, safe=""), safe="")


def new_password() -> str:
    """A password that satisfies Harbor's rule: upper case, lower case and a digit."""
    letters = string.ascii_letters + string.digits
    return "".join(secrets.choice(letters) for _ in range(20)) + "aA1"


async def migrate(source: Side, target: Side, **options: Any) -> Outcome:
    """Run a Migration with these options."""
    return await Migration(source, target, **options).run()
