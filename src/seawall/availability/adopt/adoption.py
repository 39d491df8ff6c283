"""A run of an adoption, from Harbor's database and storage to the rows here; and the way back.

Rows that belong together are written together, so a run that was killed is simply run again: the first
transaction has users, projects and rules, each further one some whole repositories, and the last one removes
what Harbor has no more. Without `apply` the first transaction is rolled back and nothing else is written.
"""

from __future__ import annotations

import contextlib
import json
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any, Protocol

from sqlalchemy import Connection, delete, select

from seawall.availability.adopt import content, people, projects, rules, scans, system, written
from seawall.availability.adopt.cipher import HarborCipher
from seawall.availability.adopt.content import ContentReader
from seawall.availability.adopt.harbor import HarborDatabase
from seawall.availability.adopt.merge import Merger
from seawall.availability.adopt.report import Report
from seawall.availability.adopt.schema import adopted_rows
from seawall.features.preheat.instances import PURPOSE as PREHEAT
from seawall.features.replication.registries import PURPOSE as REGISTRY
from seawall.features.scan.adopted import forget as forget_scans
from seawall.features.webhooks.policies import PURPOSE as WEBHOOK
from seawall.infra.db import Database
from seawall.infra.db.dialect import allow_long, upsert
from seawall.infra.secrets.keyring import KeyRing
from seawall.infra.storage import BlobStorage
from seawall.kernel.errors import ConfigError
from seawall.registry import adopted

# What a kind's secret is sealed for.
_PURPOSES = {
    "identity": "cli-secret",
    "registry": REGISTRY,
    "webhook": WEBHOOK,
    "preheat instance": PREHEAT,
    "scanner": "scanner",
    "setting": "configuration",
}
# Policies and the start of their schedule's name.
_SCHEDULED = {
    "retention policy": "retention",
    "replication policy": "replication",
    "preheat policy": "preheat",
}
_KINDS = (
    people.USERS,
    people.IDENTITIES,
    people.GROUPS,
    rules.REGISTRIES,
    projects.PROJECTS,
    projects.SETTINGS,
    projects.QUOTAS,
    projects.MEMBERS,
    projects.ALLOWLISTS,
    people.ROBOTS,
    projects.LABELS,
    rules.IMMUTABILITY,
    rules.RETENTION,
    rules.WEBHOOKS,
    rules.REPLICATION,
    rules.NETWORKS,
    rules.PREHEATING,
    rules.SCANNERS,
    projects.CHOSEN_SCANNERS,
    system.SETTINGS,
)
# Rows of `adopted_rows` about the runs: which Harbor it is, that a run has not ended (and what projects store
# is not counted), and that the switch was made.
_RUN, _SOURCE, _UNCOUNTED, _SWITCHED = "run", "harbor", "uncounted", "switched"
# Measured: writing an artifact, and everything else (seconds).
_ARTIFACT_SECONDS = 0.002
_ROW_SECONDS = 0.001


class Schedules(Protocol):
    """What sets a schedule in a transaction (`infra.jobs.service.JobService`)."""

    def set_schedule_in(
        self, connection: Connection, name: str, cron: str | None, kind: str, args: dict[str, Any]
    ) -> None:
        """Set or (None) remove it."""


@dataclass(frozen=True, slots=True)
class Options:
    """`switch`: the last run, after which Seawall does what Harbor did by itself.

    `audit_days`: how old entries of the audit log may be. `fixed`: names of items that the settings decide.
    """

    apply: bool = False
    switch: bool = False
    audit_days: float = 90
    fixed: frozenset[str] = frozenset()


@dataclass(slots=True)
class _Here:
    """What came: Harbor's id -> id here."""

    users: dict[str, Any] = field(default_factory=dict)
    projects: dict[str, tuple[int, str, float]] = field(default_factory=dict)
    labels: dict[str, Any] = field(default_factory=dict)
    proxies: set[int] = field(default_factory=set)


class _RehearsedError(Exception):
    """Ends the transaction of a dry run."""


class Adoption:
    """Brings one Harbor."""

    def __init__(
        self,
        db: Database,
        storage: BlobStorage,
        keys: KeyRing,
        schedules: Schedules,
        options: Options,
        say: Callable[[str], None] = lambda line: None,
    ) -> None:
        self._db = db
        self._storage = storage
        self._keys = keys
        self._schedules = schedules
        self._options = options
        self._say = say
        self._switched = options.switch
        self.report = Report()

    async def run(self, harbor: HarborDatabase, cipher: HarborCipher) -> Report:
        """Bring what is new, change and remove the rest. Raises ConfigError for a wrong secret key."""
        began = time.monotonic()
        self.report.release = harbor.release
        await self._check_source(harbor)
        reader = ContentReader(self._storage, self.report)
        blobs = await reader.look()
        if harbor.count("artifact") and not blobs:
            raise ConfigError(
                "the storage has no blobs below docker/registry/v2: it is not this Harbor's, or unreadable"
            )
        self._say(f"Harbor {harbor.release}; {blobs} blobs in the storage")
        merger, here = await self._people_and_rules(harbor, cipher)
        known = await self._db.read(written.brought)
        found = content.sources(harbor, here.projects, here.labels, here.proxies, known, self.report)
        uncounted: set[int] = set()
        if self._options.apply:
            uncounted = await self._db.write(lambda c: _begin(c, here, harbor.identity))
        touched = uncounted | await content.bring(
            self._db, reader, found, self.report, apply=self._options.apply, say=self._say
        )
        await scans.bring(self._db, harbor, self.report, apply=self._options.apply)
        there = {str(row["repository_id"]) for row in harbor.rows("repository", order="repository_id")}
        if self._options.apply:
            gone = {number: item for number, (item, _) in known.items() if number not in there}
            touched |= await self._remove(gone)
            await self._finish(merger, harbor, here, touched)
        else:
            self.report.of("repository").removed = len(known.keys() - there)
        self._left_behind(harbor)
        self.report.seconds = time.monotonic() - began
        fresh = self.report.of("artifact").new
        rows = sum(item.new + item.changed for item in self.report.counts.values()) - fresh
        self.report.estimate = self.report.seconds + fresh * _ARTIFACT_SECONDS + rows * _ROW_SECONDS
        return self.report

    async def _check_source(self, harbor: HarborDatabase) -> None:
        """Raise ConfigError when another Harbor was adopted: all that it brought would be taken away."""
        marks = await self._db.read(_marks)
        if marks.get(_SOURCE, harbor.identity) != harbor.identity:
            raise ConfigError(
                "another Harbor was adopted here: name its database, or take it back with --rollback --apply"
            )
        self._switched = self._options.switch or _SWITCHED in marks
        if self._switched and not self._options.switch:
            self.report.note("the switch was made already: policies are on")

    async def _people_and_rules(self, harbor: HarborDatabase, cipher: HarborCipher) -> tuple[Merger, _Here]:
        result: list[tuple[Merger, _Here]] = []

        def bring(connection: Connection) -> None:
            allow_long(connection)
            result.clear()
            merger = Merger(connection, self.report, self._seal, self._keys.csrf_key)
            result.append((merger, self._merge(merger, harbor, cipher)))
            if not self._options.apply:
                raise _RehearsedError

        with contextlib.suppress(_RehearsedError):
            await self._db.write(bring)
        return result[0]

    def _merge(self, merger: Merger, harbor: HarborDatabase, cipher: HarborCipher) -> _Here:
        report, switched = self.report, self._switched
        stored = system.settings_of(harbor)
        mode = stored.get("auth_mode") or "db_auth"
        if mode not in ("db_auth", "ldap_auth", "oidc_auth"):
            report.leave(f"sign-in by {mode}", "there is none here; users of it cannot sign in")
        here = _Here()
        here.users = merger.merge(people.USERS, people.wanted_users(harbor, report, mode))
        merger.merge(
            people.IDENTITIES,
            people.wanted_identities(
                harbor, report, cipher, here.users, stored.get("oidc_endpoint", ""), self._seal
            ),
        )
        groups = merger.merge(people.GROUPS, people.wanted_groups(harbor))
        others = merger.merge(rules.REGISTRIES, rules.wanted_registries(harbor, report, cipher))
        found = merger.merge(projects.PROJECTS, projects.wanted_projects(harbor, report, here.users, others))
        times = projects.made_here(merger.connection, found.values())
        for row in projects.live_projects(harbor):
            number = str(row["project_id"])
            if number in found:
                here.projects[number] = (found[number], row["name"], times[found[number]])
                if row.get("registry_id"):
                    here.proxies.add(found[number])
        merger.merge(projects.SETTINGS, projects.wanted_settings(harbor, report, found))
        merger.merge(projects.QUOTAS, projects.wanted_quotas(harbor, found))
        merger.merge(projects.MEMBERS, projects.wanted_members(harbor, report, found, here.users, groups))
        merger.merge(projects.ALLOWLISTS, projects.wanted_allowlists(harbor, report, found))
        merger.merge(people.ROBOTS, people.wanted_robots(harbor, report, here.projects, here.users))
        here.labels = merger.merge(projects.LABELS, projects.wanted_labels(harbor, found))
        merger.merge(rules.IMMUTABILITY, rules.wanted_immutability(harbor, report, found))
        merger.merge(rules.RETENTION, rules.wanted_retention(harbor, report, found))
        merger.merge(rules.WEBHOOKS, rules.wanted_webhooks(harbor, report, found, switched))
        merger.merge(rules.REPLICATION, rules.wanted_replication(harbor, report, others, switched))
        networks = merger.merge(rules.NETWORKS, rules.wanted_networks(harbor, report, json.dumps))
        merger.merge(rules.PREHEATING, rules.wanted_preheating(harbor, report, found, networks, switched))
        adapters = merger.merge(rules.SCANNERS, rules.wanted_scanners(harbor, report))
        merger.merge(projects.CHOSEN_SCANNERS, projects.wanted_scanner_choices(harbor, found, adapters))
        merger.merge(system.SETTINGS, system.wanted_settings(stored, report, cipher, self._options.fixed))
        return here

    def _seal(self, kind: str, column: str, clear: Any) -> Any:
        if column == "more_targets":
            return [
                {**item, "secret": self._seal(kind, "secret", item["secret"]) if item["secret"] else None}
                for item in clear
            ]
        purpose = _PURPOSES[kind]
        if column == "token":
            # Asked of the provider at the user's next login.
            purpose, clear = "oidc-token", json.dumps({"refresh_token": clear, "at": 0})
        return self._keys.encrypt(purpose, clear.encode())

    async def _remove(self, gone: dict[str, written.Brought]) -> set[int]:
        touched: set[int] = set()
        for number, item in gone.items():

            def remove(
                connection: Connection, number: str = number, item: written.Brought = item
            ) -> int | None:
                allow_long(connection)
                return written.remove_repository(connection, number, item, self.report)

            project = await self._db.write(remove)
            if project is not None:
                touched.add(project)
        return touched

    async def _finish(self, merger: Merger, harbor: HarborDatabase, here: _Here, touched: set[int]) -> None:
        await content.count(self._db, touched)
        since = time.time() - self._options.audit_days * 86400

        def finish(connection: Connection) -> None:
            allow_long(connection)
            before = _policies(connection)
            merger.prune(connection)
            self._unschedule(connection, before)
            system.copy_audit(
                connection, harbor, self.report, {key: item[0] for key, item in here.projects.items()}, since
            )
            _counted(connection)
            if self._options.switch:
                _mark(connection, _SWITCHED, "")
                system.set_schedules(connection, harbor, self.report, self._schedules.set_schedule_in)

        await self._db.write(finish)
        if not self._switched:
            self.report.note(
                "policies are switched off and nothing is scheduled here until the run with --switch"
            )

    def _unschedule(self, connection: Connection, before: set[tuple[str, int]]) -> None:
        for name, number in before - _policies(connection):
            self._schedules.set_schedule_in(connection, f"{name}:{number}", None, name, {})

    def _left_behind(self, harbor: HarborDatabase) -> None:
        for table, what in (("task", "tasks"), ("execution", "executions")):
            number = harbor.count(table)
            if number:
                self.report.note(f"{number} {what} of Harbor's jobs stay behind")

    async def rollback(self) -> Report:
        """Take away what was brought and not changed here; report what was pushed here.

        Harbor's database is not asked, and its storage is not touched. Raises ConfigError when the storage
        was released: then blobs of it may be gone.
        """
        began = time.monotonic()
        if await self._db.read(adopted.is_released):
            raise ConfigError(
                "the storage was released (--release-storage): what Harbor needs may have been collected"
            )
        await self._db.read(lambda c: content.pushed_here(c, self.report))
        if self._options.apply:
            known = await self._db.read(written.brought)
            touched = await self._remove({number: item for number, (item, _) in known.items()})
            await content.count(self._db, touched)

            def prune(connection: Connection) -> None:
                allow_long(connection)
                before = _policies(connection)
                merger = Merger(connection, self.report, self._seal, self._keys.csrf_key)
                for kind in _KINDS:
                    merger.merge(kind, ())
                merger.prune(connection)
                self._unschedule(connection, before)
                forget_scans(connection)
                connection.execute(delete(adopted_rows).where(adopted_rows.c.kind != "audit"))

            await self._db.write(prune)
        self.report.seconds = time.monotonic() - began
        return self.report

    async def release(self) -> None:
        """Let the collector have the tree: Harbor serves it no longer."""
        await self._db.write(lambda c: adopted.mark_tree(c, released=True))


def _begin(connection: Connection, here: _Here, identity: str) -> set[int]:
    """Note that usage is not counted until the run has ended; the projects of a run that has not."""
    adopted.mark_tree(connection, released=False)
    unfinished = _UNCOUNTED in _marks(connection)
    _mark(connection, _SOURCE, identity)
    _mark(connection, _UNCOUNTED, "")
    return {item[0] for item in here.projects.values()} if unfinished else set()


def _counted(connection: Connection) -> None:
    connection.execute(
        delete(adopted_rows).where(adopted_rows.c.kind == _RUN, adopted_rows.c.source == _UNCOUNTED)
    )


def _marks(connection: Connection) -> dict[str, str]:
    """What is remembered of earlier runs."""
    query = select(adopted_rows.c.source, adopted_rows.c.said).where(adopted_rows.c.kind == _RUN)
    return {row.source: row.said for row in connection.execute(query)}


def _mark(connection: Connection, name: str, text: str) -> None:
    row = {"kind": _RUN, "source": name, "target": "[]", "said": text, "written": ""}
    connection.execute(upsert(connection, adopted_rows, row, ["kind", "source"]))


def _policies(connection: Connection) -> set[tuple[str, int]]:
    """(start of the schedule's name, id) of every policy that was brought."""
    query = select(adopted_rows.c.kind, adopted_rows.c.target).where(adopted_rows.c.kind.in_(_SCHEDULED))
    return {(_SCHEDULED[row.kind], json.loads(row.target)[0]) for row in connection.execute(query)}
