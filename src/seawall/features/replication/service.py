"""Everything about replication but doing it; `seawall.features.replication.plan` and `.tasks` do it."""

from __future__ import annotations

from dataclasses import dataclass

from seawall.features.replication.executions import ReplicationExecutions, steps
from seawall.features.replication.policies import Policies
from seawall.features.replication.registries import Registries
from seawall.infra.db import Database
from seawall.infra.jobs.service import JobService
from seawall.infra.secrets.keyring import KeyRing


@dataclass(frozen=True, slots=True)
class Replication:
    """Registries, policies and executions, as the management API offers them."""

    registries: Registries
    policies: Policies
    executions: ReplicationExecutions


def open_replication(db: Database, keys: KeyRing, jobs: JobService) -> Replication:
    """The three over one database."""
    ending = steps(jobs)
    policies = Policies(db, jobs, ending)
    return Replication(Registries(db, keys), policies, ReplicationExecutions(db, jobs, policies, ending))
