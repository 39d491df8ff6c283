"""Everything about preheating but doing it; the work itself is in `seawall.features.preheat.work`."""

from __future__ import annotations

from dataclasses import dataclass

from sqlalchemy import Connection

from seawall.features.preheat.instances import Instances
from seawall.features.preheat.model import PreheatPolicy
from seawall.features.preheat.policies import Policies
from seawall.features.preheat.tables import preheat_executions, preheat_tasks
from seawall.infra.db import Database
from seawall.infra.db.together import Also, nothing
from seawall.infra.jobs.executions import Executions, Words
from seawall.infra.jobs.service import JobService
from seawall.infra.secrets.keyring import KeyRing
from seawall.kernel.errors import PreconditionError

WORDS = Words(running="Running", success="Success", error="Error")


class PreheatExecutions:
    """Starts executions; `steps` settles and stops them."""

    def __init__(self, db: Database, jobs: JobService, instances: Instances, steps: Executions) -> None:
        self._db = db
        self._jobs = jobs
        self._instances = instances
        self.steps = steps

    async def start(
        self,
        policy: PreheatPolicy,
        trigger: str,
        candidates: list[dict[str, str]] | None = None,
        *,
        also: Also = nothing,
    ) -> int:
        """Begin an execution: of `candidates`, or of all that the policy's filters select; returns its id.

        Raises PreconditionError when policy or instance is switched off, DriverError when it is not well.
        """
        if not policy.enabled:
            raise PreconditionError(f"preheat policy {policy.name} is not enabled")
        await self._instances.check(policy)

        def insert_execution(connection: Connection) -> int:
            return self.steps.begin(
                connection,
                "preheat",
                {} if candidates is None else {"candidates": candidates},
                job_trigger="event" if trigger == "event_based" else "manual",
                policy_id=policy.id,
                message="",
                trigger=trigger,
            )

        execution = await self._db.write(insert_execution, also=also)
        self._jobs.nudge()
        return execution

    async def log(self, job_id: str) -> str:
        """The log of a task's job."""
        return await self._jobs.log(job_id)


@dataclass(frozen=True, slots=True)
class Preheat:
    """Instances, policies and executions, as the management API offers them."""

    instances: Instances
    policies: Policies
    executions: PreheatExecutions


def open_preheat(db: Database, keys: KeyRing, jobs: JobService) -> Preheat:
    """The three over one database."""
    steps = Executions(
        jobs,
        preheat_executions,
        preheat_tasks,
        WORDS,
        text="message",
        nothing="no artifacts to preheat",
    )
    instances = Instances(db, keys)
    return Preheat(instances, Policies(db, jobs, steps), PreheatExecutions(db, jobs, instances, steps))
