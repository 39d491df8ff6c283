"""`seawall gc` and `fsck`."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from dataclasses import asdict
from datetime import UTC, datetime
from typing import Annotated, Any

import typer

from seawall.infra.db import Database
from seawall.infra.settings import Settings
from seawall.process.commands.bars import bars
from seawall.process.commands.common import ConfigOption, DataOption, registry_of, with_db
from seawall.process.commands.output import JsonOption, Output, OutputOption, in_json, listed, result
from seawall.process.storage import open_storage
from seawall.registry import fsck as fsck_
from seawall.registry import gc as gc_
from seawall.registry import receipts
from seawall.registry.accounting import human

app = typer.Typer()


# What people see of a report's counts.
_COUNTS = {
    "uploads": "upload sessions that nobody continued",
    "manifests": "untagged manifests",
    "links": "blobs of a repository that no manifest there names",
    "blobs": "blobs that nothing names",
    "purged_bytes": "their size",
    "deleted_files": "files of blobs that an earlier run removed",
    "orphan_files": "files that no row names",
    "broken_writes": "files that were not written to their end",
    "freed_bytes": "space that the storage got back",
    "deleted_manifests": "manifests that users deleted since the last run",
    "lost": "acknowledged pushes that the database lacks (see fsck)",
}


@app.command()
def gc(
    config: ConfigOption = None,
    data_dir: DataOption = None,
    dry_run: Annotated[bool, typer.Option(help="count what would be removed, and remove nothing")] = False,
    delete_untagged: Annotated[bool, typer.Option(help="also delete untagged manifests")] = False,
    grace_minutes: Annotated[int | None, typer.Option(min=0, help="keep what is younger than this")] = None,
    reader_minutes: Annotated[
        int, typer.Option(min=0, help="keep removed bytes this long for clients that still read them")
    ] = 15,
    as_json: JsonOption = False,
    output: OutputOption = Output.text,
) -> None:
    """Collect garbage while the registry runs, and print what was removed.

    Example: seawall gc --dry-run --delete-untagged --output json
    """
    settings = registry_of(config, data_dir)
    grace = settings.gc.grace_minutes if grace_minutes is None else grace_minutes

    async def work(db: Database) -> gc_.GcReport:
        return await gc_.collect(
            db,
            open_storage(settings),
            grace_seconds=grace * 60,
            upload_seconds=settings.gc.upload_hours * 3600,
            reader_seconds=reader_minutes * 60,
            delete_untagged=delete_untagged or settings.gc.delete_untagged,
            dry_run=dry_run,
        )

    with bars():
        report = with_db(settings, work)
    if in_json(as_json, output):
        result(report.as_dict(), True)
        return
    counts = report.as_dict()
    listed(
        ("would be removed" if dry_run else "removed", "count"),
        [(text, human(counts[name]) if "bytes" in name else counts[name]) for name, text in _COUNTS.items()],
        False,
    )


@app.command()
def fsck(
    config: ConfigOption = None,
    data_dir: DataOption = None,
    fast: Annotated[bool, typer.Option(help="compare sizes only, do not read every byte")] = False,
    repair: Annotated[
        bool, typer.Option(help="bring back lost bytes from elsewhere in storage, peers and upstreams")
    ] = False,
    as_json: JsonOption = False,
    output: OutputOption = Output.text,
) -> None:
    """Check that every blob and manifest is there and intact; exit code 1 when not.

    It also names acknowledged pushes of the last 24 hours that the database lacks, because a standby did not
    have them when it was promoted.

    Example: seawall fsck --fast
    """
    settings = registry_of(config, data_dir)
    report = fsck_.FsckReport()
    findings: list[fsck_.Finding] = []
    losses: list[receipts.Loss] = []
    wants_json = in_json(as_json, output)

    def say(line: str) -> None:
        if not wants_json:
            print(line)

    async def work(db: Database) -> None:
        async for finding in fsck_.check(db, open_storage(settings), report, fast=fast):
            where = ", ".join(finding.repositories) or "no repository"
            say(f"{finding.kind}: {finding.digest} {finding.message} ({where})")
            findings.append(finding)
        async for loss in receipts.lost(db, open_storage(settings)):
            say(f"lost: {_shown(loss)}")
            losses.append(loss)
        report.faults += len(losses)

    with bars():
        with_db(settings, work)
    say(
        f"{report.blobs} blobs and {report.manifests} manifests checked, "
        f"{report.bytes} bytes read, {report.faults} faults"
    )
    repaired = _repair(settings, findings, losses, say) if repair else []
    left = report.faults - sum(item["how"] != "lost" for item in repaired)
    if wants_json:
        values = {
            **asdict(report),
            "left": left,
            "findings": [asdict(item) for item in findings],
            "lost": [_shown(item) for item in losses],
            "repaired": repaired,
        }
        result(values, True)
    if left:
        raise typer.Exit(1)


def _shown(loss: receipts.Loss) -> str:
    item = loss.receipt
    when = datetime.fromtimestamp(item.at, UTC).isoformat(timespec="seconds")
    what = f"{item.repository}@{item.digest}" if loss.whole else f"{item.repository}@{item.digest} as"
    tags = f" {', '.join(loss.tags)}" if loss.tags else ""
    if item.deleted:
        return f"the deletion of {what}{tags} was acknowledged at {when}, but it is there again"
    return f"{what}{tags} was acknowledged at {when} and is not in the database"


def _repair(
    settings: Settings,
    findings: list[fsck_.Finding],
    losses: list[receipts.Loss],
    say: Callable[[str], None],
) -> list[dict[str, Any]]:
    """Bring back what can be; says what became of each fault, `how` and `what` (`how` lost: it is gone)."""
    from seawall.process.wiring import open_process
    from seawall.registry.repair import bring_back, repair

    async def work() -> list[dict[str, Any]]:
        process = open_process(settings)
        done: list[dict[str, Any]] = []
        try:
            async for item in repair(process.db, process.storage, process.registry, findings):
                say(f"{item.how}: {item.digest}")
                for artifact in item.artifacts:
                    say(f"  breaks {artifact}")
                done.append({"how": item.how, "what": item.digest, "breaks": list(item.artifacts)})
            async for item in bring_back(process.storage, process.content, losses):
                say(f"{item.how}: {item.artifacts[0]}")
                done.append({"how": item.how, "what": item.artifacts[0], "breaks": []})
        finally:
            await process.close()
        return done

    return asyncio.run(work())
