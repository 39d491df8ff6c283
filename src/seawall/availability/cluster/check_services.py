"""Whether the database, the storage and Redis of a cluster are as high availability needs them."""

from __future__ import annotations

import secrets
from typing import Any

from sqlalchemy import delete, insert, text

from seawall import __version__
from seawall.availability.cluster.prober import Prober, every
from seawall.availability.cluster.report import CheckReport, error_of
from seawall.availability.cluster.tables import instances
from seawall.infra.db import Database, dialect
from seawall.infra.db.durability import may_lose_commits
from seawall.infra.storage import BlobStorage
from seawall.registry.receipts import lost


async def check_accepted(prober: Prober, report: CheckReport, facts: dict[str, dict[str, Any]]) -> None:
    """Tokens, CSRF tokens and sealed credentials of each instance on every other."""
    report.tested.append("tokens")
    order = list(facts)
    made = [{name: facts[a][name] for name in ("token", "csrf", "sealed")} for a in order]
    answers = await every(prober, report, {address: {"verify": made} for address in order})
    for address, found in answers.items():
        for other, refused in zip(order, found.get("verify", []), strict=False):
            if refused:
                report.fault(
                    "keys",
                    [address, other],
                    f"{address} does not accept what {other} made: {', '.join(refused)}",
                    "wait some seconds if a rotation is under way; else restart both with the cluster's keys",
                )


async def check_database(
    prober: Prober, report: CheckReport, db: Database, facts: dict[str, dict[str, Any]]
) -> None:
    """Whether the instances share a database that outlives the loss of a server."""
    report.tested.append("database")
    await _replication(report, db)
    row = f"check{secrets.token_hex(8)}"

    def put(connection: Any) -> None:
        now = dialect.now(connection)
        values: dict[str, Any] = {"hostname": "check", "address": "check", "version": __version__}
        values |= {"started_at": 0, "seen_at": now, "fingerprints": {}, "health": {}}
        connection.execute(insert(instances).values(id=row, **values))

    await db.write(put)
    try:
        answers = await every(prober, report, {address: {"row": row} for address in facts})
    finally:
        await db.write(lambda c: c.execute(delete(instances).where(instances.c.id == row)))
    for address, found in answers.items():
        if found and found.get("row") is not True:
            report.fault(
                "database",
                [address],
                f"{address} does not see what was written to the database at this instance: "
                f"{error_of(found.get('row'))}",
                "give it the same database.url as the others",
            )


async def _replication(report: CheckReport, db: Database) -> None:
    """Whether a promoted standby of the database would have everything that was acknowledged."""
    if db.dialect != "postgresql":
        return

    def ask(connection: Any) -> tuple[str, str]:
        level = connection.execute(text("SELECT current_setting('synchronous_commit')")).scalar_one()
        standbys = connection.execute(
            text(
                "SELECT coalesce(string_agg(coalesce(application_name, 'a standby'), ', '), '')"
                " FROM pg_stat_replication"
            )
        ).scalar_one()
        return (standbys if may_lose_commits(connection) else ""), str(level)

    asynchronous, level = await db.read(ask)
    if asynchronous:
        report.fault(
            "replication",
            [],
            f"the database replicates asynchronously to {asynchronous} (synchronous_commit {level}): "
            "promoting a standby can lose what was acknowledged",
            "set synchronous_standby_names = 'ANY 1 (*)' and synchronous_commit = on (see docs/database.md)",
        )


async def check_receipts(report: CheckReport, db: Database, storage: BlobStorage) -> None:
    """Whether the database has every push that was acknowledged lately."""
    report.tested.append("receipts")
    losses = [loss async for loss in lost(db, storage)]
    if losses:
        first = losses[0].receipt
        report.fault(
            "lost",
            [],
            f"{len(losses)} pushes or deletions were acknowledged and are not in the database, the first"
            f" {first.repository}@{first.digest}: a standby was promoted that did not have them",
            "seawall fsck names them, seawall fsck --repair brings them back",
        )


async def check_storage(prober: Prober, report: CheckReport, facts: dict[str, dict[str, Any]]) -> None:
    """Each instance writes an object, every other reads it."""
    report.tested.append("storage")
    keys = {address: f"probe-{secrets.token_hex(12)}" for address in facts}
    try:
        written = await every(prober, report, {a: {"write": key} for a, key in keys.items()})
        for address, found in written.items():
            if found and found.get("write") != keys[address]:
                report.fault(
                    "storage",
                    [address],
                    f"{address} cannot write to storage: {error_of(found.get('write'))}",
                    "look at its storage settings, credentials and network",
                )
        ready = {a: keys[a] for a, found in written.items() if found.get("write") == keys[a]}
        answers = await every(prober, report, {a: {"read": list(ready.values())} for a in facts})
        for reader, found in answers.items():
            seen = found.get("read", {})
            if "error" in seen:
                report.fault(
                    "storage",
                    [reader],
                    f"{reader} cannot read storage: {error_of(seen)}",
                    "look at its storage settings, credentials and network",
                )
                continue
            for writer, key in ready.items():
                if found and not seen.get(key):
                    report.fault(
                        "storage",
                        [reader, writer],
                        f"{reader} does not see what {writer} wrote to storage",
                        "give both the same bucket, or a filesystem that they share",
                    )
    finally:
        if facts:
            address = next(iter(facts))
            await every(prober, report, {address: {"delete": list(keys.values())}})


async def check_redis(prober: Prober, report: CheckReport, facts: dict[str, dict[str, Any]]) -> None:
    """Whether the instances share a Redis."""
    having = {address for address, fact in facts.items() if "redis" in fact["health"]}
    if not having:
        return
    report.tested.append("redis")
    without = sorted(set(facts) - having)
    if without:
        report.fault(
            "redis",
            without,
            f"{', '.join(without)}: no Redis is configured, but it is on the others",
            "give all instances the same redis settings",
        )
    usable = {a for a in having if facts[a]["health"]["redis"] == "ok"}
    keys = {address: f"probe-{secrets.token_hex(12)}" for address in usable}
    await every(prober, report, {a: {"say": key} for a, key in keys.items()})
    answers = await every(prober, report, {a: {"hear": list(keys.values())} for a in usable})
    for reader, found in answers.items():
        for writer, key in keys.items():
            if found and not found.get("hear", {}).get(key):
                report.fault(
                    "redis",
                    [reader, writer],
                    f"{reader} does not see what {writer} wrote to Redis",
                    "give all instances the same redis settings",
                )
