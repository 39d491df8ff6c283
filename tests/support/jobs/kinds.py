"""Job kinds of the tests, and a runner process that knows them: `python -m tests.support.jobs.kinds`."""

from __future__ import annotations

import asyncio
import os
import time
from typing import Any

from seawall.infra.jobs.base import JobContext, JobKind
from seawall.infra.loading import load
from seawall.infra.part import Part


async def echo(context: JobContext, args: dict[str, Any]) -> Any:
    await context.log(f"echo {args['value']}")
    await context.progress({"half": True})
    return args["value"]


async def flaky(context: JobContext, args: dict[str, Any]) -> Any:
    if context.attempt <= args["failures"]:
        raise ValueError(f"attempt {context.attempt}")
    return context.attempt


async def steps(context: JobContext, args: dict[str, Any]) -> Any:
    """Goes on for `seconds`, with a checkpoint each tenth of one; says which process it ran in."""
    await context.log(f"pid {os.getpid()}")
    end = time.monotonic() + float(args["seconds"])
    while time.monotonic() < end:
        await asyncio.sleep(0.1)
        await context.checkpoint()
    return {"pid": os.getpid(), "attempt": context.attempt}


async def deaf(context: JobContext, args: dict[str, Any]) -> Any:
    """Never looks whether it was asked to stop."""
    await asyncio.sleep(60)


async def pair(context: JobContext, args: dict[str, Any]) -> Any:
    started = time.time()
    await asyncio.sleep(0.4)
    return [started, time.time()]


async def tick(context: JobContext, args: dict[str, Any]) -> Any:
    return os.getpid()


async def bad(context: JobContext, args: dict[str, Any]) -> Any:
    """Ends in each way that a work should not."""
    how = args["how"]
    if how == "exit":
        raise SystemExit(3)
    if how == "text":
        await context.log("a NUL \0 and half a pair \udcff")
        raise ValueError("a NUL \0 and half a pair \udcff")
    if how == "progress":
        await context.progress({"at": object()})
    return {"object": object(), "nan": float("nan"), "nul": "a\0"}[how]


PART = Part(
    jobs=(
        JobKind("test-echo", echo, concurrency=10),
        JobKind("test-bad", bad),
        JobKind("test-flaky", flaky, retries=2, backoff_seconds=0.1),
        JobKind("test-steps", steps, concurrency=10),
        JobKind("test-deaf", deaf),
        JobKind("test-pair", pair, concurrency=2),
        JobKind("test-tick", tick, concurrency=10),
    )
)


if __name__ == "__main__":
    from seawall.process import worker
    from seawall.process.server import configure_logging

    settings = load(None, {})
    configure_logging(settings)
    worker.run(settings, PART)
