"""Job kinds of scanning."""

from __future__ import annotations

from typing import Any

from seawall.features.scan import export
from seawall.infra.jobs.base import JobContext, JobStoppedError, job
from seawall.kernel.errors import SeawallError
from seawall.web.internal import scanner_adapter as adapter_server

SCAN_ALL_SCHEDULE = "system:scan-all"
FORGET_SCHEDULE = "system:scan-forget"


@job("scan", concurrency=4)
async def scan(context: JobContext, args: dict[str, Any]) -> dict[str, Any]:
    """Scan one artifact; arg `report` is the report's uuid."""
    scanning = context.services.scan
    identifier = args["report"]
    try:
        return await scanning.runner.run(identifier, log=context.log, step=context.checkpoint)
    except JobStoppedError:
        await scanning.reports.stopped(identifier)
        raise
    except SeawallError as error:
        await scanning.reports.failed(identifier, str(error))
        raise
    except Exception as error:
        await scanning.reports.failed(identifier, f"internal error: {type(error).__name__}")
        raise


@job("scan-all", concurrency=1)
async def scan_all(context: JobContext, args: dict[str, Any]) -> dict[str, int]:
    """Ask for a scan of every image."""
    trigger = args.get("trigger", "Schedule")
    return await context.services.scan.everything.start(
        trigger, context.id, log=context.log, step=context.checkpoint
    )


@job("scan-rematch", concurrency=1, retries=2)
async def rematch(context: JobContext, args: dict[str, Any]) -> dict[str, int]:
    """Match stored package lists with newly imported advisories."""
    return await context.services.scan.rematcher.run(log=context.log, step=context.checkpoint)


@job("scan-forget", concurrency=1, retries=2)
async def forget(context: JobContext, args: dict[str, Any]) -> int:
    """Drop stored layer results that nothing uses, and old exports."""
    done = await context.services.scan.packages.forget_unused()
    done += await export.forget_old(context.services.db)
    done += await context.services.db.write(adapter_server.forget_old)
    await context.log(f"{done} rows dropped")
    return done


@job("scan-request", concurrency=2)
async def request(context: JobContext, args: dict[str, Any]) -> dict[str, Any]:
    """Scan an image of another registry; arg `request` is the id that the registry was given."""
    return await adapter_server.run(
        context.services, args["request"], log=context.log, step=context.checkpoint
    )


@job("scan-export", concurrency=1)
async def export_findings(context: JobContext, args: dict[str, Any]) -> dict[str, int]:
    """Write the CSV of an export; arg `export` is its id."""
    return await export.run(context.services.db, int(args["export"]), step=context.checkpoint)
