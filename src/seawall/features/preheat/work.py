"""The jobs of preheating, and what sets them off: a schedule, a push, a scan, a label."""

from __future__ import annotations

import asyncio
import time
from typing import Any

from sqlalchemy import Connection, bindparam, select, update

from seawall.access.projects import settings_of
from seawall.access.service import AuthService
from seawall.access.tokens import Scope, TokenService
from seawall.features.preheat.drivers import ERROR, RUNNING, DriverError, Image, open_driver
from seawall.features.preheat.model import PreheatPolicy
from seawall.features.preheat.service import Preheat
from seawall.features.preheat.tables import preheat_executions, preheat_policies, preheat_tasks
from seawall.features.scan.hub import Shown, scan_overviews
from seawall.infra.db import Database
from seawall.infra.db.batch import Asked
from seawall.infra.jobs.base import JobContext, JobStoppedError
from seawall.infra.jobs.service import JobService
from seawall.kernel import globs
from seawall.kernel.errors import PreconditionError, SeawallError
from seawall.registry.hooks import ContentHook, Push
from seawall.registry.index import SIGNATURES
from seawall.registry.lookups import TaggedArtifact, accessory_digests, label_names, tagged_artifacts

KINDS = ("IMAGE", "CNAI")
LABELED = "ARTIFACT_LABELED"
# Harbor's numbers of severities; what was not scanned passes for the worst.
SEVERITIES = {"None": 0, "Unknown": 0, "Negligible": 1, "Low": 2, "Medium": 3, "High": 4, "Critical": 5}
_UNSCANNED = 99
_TASK_SECONDS = 1800.0
_TOKEN_SECONDS = 3600
_TRIES = 3
_PAUSE = 5.0


class PreheatJobs:
    """The work of preheating's jobs."""

    def __init__(
        self,
        db: Database,
        jobs: JobService,
        preheat: Preheat,
        auth: AuthService,
        tokens: TokenService,
        registry_url: str,
    ) -> None:
        """`registry_url` is where a network pulls from, with `tokens` that let it where callers need one."""
        self._db = db
        self._jobs = jobs
        self._preheat = preheat
        self._auth = auth
        self._tokens = tokens
        self._registry_url = registry_url

    async def plan(self, context: JobContext, args: dict[str, Any]) -> dict[str, Any]:
        """Find what a policy's filters select and make a task for each tag."""
        if "execution" not in args:
            policy = await self._preheat.policies.by_id(int(args["policy"]))
            try:
                return {"execution": await self._preheat.executions.start(policy, "scheduled")}
            except SeawallError as error:
                await context.log(str(error), "ERROR")
                raise
        execution_id = int(args["execution"])
        table = preheat_executions.c
        query = select(table.policy_id, table.status, table.planned).where(table.id == execution_id)
        row = await self._db.read(lambda c: c.execute(query).first())
        if row is None or row.status != "Running" or row.planned:
            return {"execution": execution_id}
        policy = await self._preheat.policies.by_id(row.policy_id)
        chosen: list[dict[str, str]] = args.get("candidates") or []
        if "candidates" not in args:
            chosen = await self._db.read(lambda c: candidates(c, policy))

        def store_plan(connection: Connection) -> None:
            steps = self._preheat.executions.steps
            if not steps.claim(connection, execution_id):
                return
            now = time.time()
            for item in chosen:
                steps.add_task(
                    connection,
                    execution_id,
                    "preheat-task",
                    message="",
                    runs=0,
                    created_at=now,
                    updated_at=now,
                    **item,
                )
            steps.settle_in(connection, execution_id)

        await self._db.write(store_plan)
        self._jobs.nudge()
        await context.log(f"{len(chosen)} tasks")
        return {"execution": execution_id, "tasks": len(chosen)}

    async def run_task(self, context: JobContext, args: dict[str, Any]) -> dict[str, Any]:
        """Tell the network of one tag, and wait for what comes of it."""
        task_id = int(args["task"])
        table = preheat_tasks.c
        query = (
            select(preheat_tasks, preheat_policies.c.provider_id, preheat_policies.c.extra_attrs)
            .join(preheat_executions, preheat_executions.c.id == table.execution_id)
            .join(preheat_policies, preheat_policies.c.id == preheat_executions.c.policy_id)
            .where(table.id == task_id)
        )
        row = await self._db.read(lambda c: c.execute(query).first())
        if row is None or row.status not in ("Pending", "Running"):
            return {}

        async def change(**values: Any) -> None:
            now = time.time()

            def update_task(connection: Connection) -> None:
                own = update(preheat_tasks).where(table.id == task_id)
                connection.execute(own.values(updated_at=now, **values))
                if "ended_at" in values:
                    self._preheat.executions.steps.settle_in(connection, row.execution_id)

            await self._db.write(update_task)

        await change(status="Running", runs=row.runs + 1, started_at=row.started_at or time.time())
        status, message = ERROR, ""
        try:
            status, message = await self._follow(context, row, change)
        except JobStoppedError:
            status = "Stopped"
            raise
        except SeawallError as error:
            message = str(error)
            await context.log(message, "ERROR")
            raise
        finally:
            await change(status=status, message=message[:4000], ended_at=time.time())
        if status == ERROR:
            raise DriverError(message.partition("\n")[0][:500])
        return {"status": status}

    async def _follow(self, context: JobContext, row: Any, change: Any) -> tuple[str, str]:
        instance = await self._preheat.instances.reach(row.provider_id)
        driver = open_driver(instance)
        try:
            remote_id = row.remote_id
            if remote_id is None:
                await context.log(f"{row.repository}:{row.tag} ({row.digest}) to {instance.endpoint}")
                told = await _again(context, lambda: driver.preheat(self._image(row)))
                remote_id = told.remote_id
                await change(remote_id=remote_id[:255])
                if told.status != RUNNING:
                    await context.log(f"{told.status}: {told.message}")
                    return told.status, told.message
            deadline = time.monotonic() + _TASK_SECONDS
            wait = 0.5
            while time.monotonic() < deadline:
                await context.checkpoint()
                found = await _again(context, lambda: driver.progress(remote_id))
                if found.status != RUNNING:
                    await context.log(
                        f"{found.status}: {found.message}", "INFO" if found.status != ERROR else ERROR.upper()
                    )
                    return found.status, found.message
                await asyncio.sleep(wait)
                wait = min(wait * 1.5, 10)
            raise DriverError(f"not done after {_TASK_SECONDS:.0f} seconds")
        finally:
            await driver.close()

    def _image(self, row: Any) -> Image:
        headers = {}
        if self._auth.required:
            scope = Scope("repository", row.repository, frozenset({"pull"}))
            token, _ = self._tokens.issue("seawall-preheat", [scope], _TOKEN_SECONDS)
            headers["Authorization"] = f"Bearer {token}"
        url = f"{self._registry_url.rstrip('/')}/v2/{row.repository}/manifests/{row.tag}"
        return Image(url, row.repository, row.tag, row.digest, headers, row.extra_attrs)

    async def event(self, context: JobContext, args: dict[str, Any]) -> dict[str, Any]:
        """Start the event-based policies of a project that select an artifact."""
        started = []
        for policy in await self._preheat.policies.event_based(int(args["project"])):
            found = await self._db.read(
                lambda c, p=policy: candidates(c, p, args["repository"], args["digest"])  # type: ignore[misc]
            )
            if not found:
                continue
            try:
                started.append(await self._preheat.executions.start(policy, "event_based", found))
            except (PreconditionError, DriverError) as error:
                await context.log(f"policy {policy.name}: {error}", "ERROR")
        return {"executions": started}


def candidates(
    connection: Connection, policy: PreheatPolicy, repository: str | None = None, digest: str | None = None
) -> list[dict[str, str]]:
    """Tags of the project that the policy selects; of one artifact only where it is given.

    Where the project wants signatures or no vulnerabilities, that goes before the policy's own filters.
    """
    wanted = {item["type"]: item["value"] for item in policy.filters}
    settings = settings_of(connection, policy.project_id)
    if "true" in (settings.get("enable_content_trust"), settings.get("enable_content_trust_cosign")):
        wanted["signature"] = True
    if settings.get("prevent_vul") == "true" and settings.get("severity"):
        wanted["vulnerability"] = SEVERITIES.get(str(settings["severity"]).capitalize(), _UNSCANNED)
    result = []
    for row in tagged_artifacts(connection, policy.project_id, KINDS, repository, digest):
        path = row.repository.partition("/")[2]
        if "repository" in wanted and not globs.matches(wanted["repository"] or "**", path):
            continue
        if "tag" in wanted and not globs.matches(wanted["tag"] or "**", row.tag):
            continue
        if "label" in wanted and not _labels(wanted["label"]) <= label_names(connection, row.id):
            continue
        if "signature" in wanted and wanted["signature"] != _signed(connection, row):
            continue
        if "vulnerability" in wanted:
            shown = Shown(row.id, row.repository_id, policy.project_id, row.digest, row.media_type)
            if _severity(connection, shown) >= wanted["vulnerability"]:
                continue
        result.append({"repository": row.repository, "tag": row.tag, "digest": row.digest, "kind": row.kind})
    return result


def _labels(text: str) -> set[str]:
    return {name.strip() for name in text.split(",") if name.strip()}


def _signed(connection: Connection, row: TaggedArtifact) -> bool:
    return bool(accessory_digests(connection, row.repository_id, row.digest, SIGNATURES, 1))


def _severity(connection: Connection, shown: Shown) -> int:
    overviews = scan_overviews(connection, [shown]).get(shown.id, {})
    overview: dict[str, Any] = next(iter(overviews.values()), {})
    if overview.get("scan_status") != "Success":
        return _UNSCANNED
    return SEVERITIES.get(overview.get("severity", "None"), _UNSCANNED)


async def _again(context: JobContext, call: Any) -> Any:
    """`call()`, tried again a few times: a network that restarts must not make a task fail."""
    for attempt in range(_TRIES):
        try:
            return await call()
        except DriverError as error:
            if attempt == _TRIES - 1:
                raise
            await context.log(str(error), "WARNING")
            await asyncio.sleep(_PAUSE * (attempt + 1))
            await context.checkpoint()


# Finds whether a project has event-based policies.
_EVENT_BASED = (
    select(preheat_policies.c.id)
    .where(
        preheat_policies.c.project_id == bindparam("b_project"),
        preheat_policies.c.trigger_type == "event_based",
        preheat_policies.c.enabled.is_(True),
    )
    .limit(1)
)


_LOOK = "preheat.policies"


class PreheatHook(ContentHook):
    """Sets event-based policies off when something is pushed."""

    blind = True

    def __init__(self, db: Database, jobs: JobService) -> None:
        self._db = db
        self._jobs = jobs

    def after_push(self, connection: Connection, push: Push, manifest_id: int) -> None:
        """See ContentHook.after_push."""
        if push.seen.get(_LOOK):
            self._enqueue(connection, push.repository.project_id, push.repository.name, push.digest)

    def looks(self, push: Push) -> dict[str, Asked]:
        """See ContentHook.looks."""
        return {_LOOK: (_EVENT_BASED, {"b_project": push.repository.project_id})} if push.tags else {}

    def tell(self, connection: Connection, project_id: int, repository: str, digest: str) -> None:
        """Look for event-based policies in the background, where the project has any."""
        if connection.execute(_EVENT_BASED, {"b_project": project_id}).first() is not None:
            self._enqueue(connection, project_id, repository, digest)

    def _enqueue(self, connection: Connection, project_id: int, repository: str, digest: str) -> None:
        arguments = {"project": project_id, "repository": repository, "digest": digest}
        self._jobs.enqueue_in(connection, "preheat-event", arguments, trigger="event")

    async def on_event(self, _kind: str, data: dict[str, Any]) -> None:
        """The outbox handler for the end of a scan and for a label."""

        def enqueue_lookups(connection: Connection) -> None:
            for resource in data.get("resources", []):
                self.tell(connection, int(data["project_id"]), data["repository"], resource["digest"])

        if data.get("repository"):
            await self._db.write(enqueue_lookups)
            self._jobs.nudge()
