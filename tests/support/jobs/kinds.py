"""Job kinds of the tests, and a runner process that knows them: `python -m tests.support.jobs.kinds`."""

from __future__ import annotations

import asyncio
import os
import sys
import time
from typing import Any

from seawall.infra.jobs.base import JobContext, job
from seawall.infra.settings import load


@job("test-echo", concurrency=10)
async def echo(context: JobContext, args: dict[str, Any]) -> Any:
    await context.log(f"echo {args['value']}")
    await context.progress({"half": True})
    return args["value"]


@job("test-flaky", retries=2, backoff_seconds=0.1)
async def flaky(context: JobContext, args: dict[str, Any]) -> Any:
    if context.attempt <= args["failures"]:
        raise ValueError(f"attempt {context.attempt}")
    return context.attempt


@job("test-steps", concurrency=10)
async def steps(context: JobContext, args: dict[str, Any]) -> Any:
    """Goes on for `seconds`, with a checkpoint each tenth of one; says which process it ran in."""
    await context.log(f"pid {os.getpid()}")
    end = time.monotonic() + float(args["seconds"])
    while time.monotonic() < end:
        await asyncio.sleep(0.1)
        await context.checkpoint()
    return {"pid": os.getpid(), "attempt": context.attempt}


@job("test-deaf")
async def deaf(context: JobContext, args: dict[str, Any]) -> Any:
    """Never looks whether it was asked to stop."""
    await asyncio.sleep(60)


@job("test-pair", concurrency=2)
async def pair(context: JobContext, args: dict[str, Any]) -> Any:
    started = time.time()
    await asyncio.sleep(0.4)
    return [started, time.time()]


@job("test-tick", concurrency=10)
async def tick(context: JobContext, args: dict[str, Any]) -> Any:
    return os.getpid()


if __name__ == "__main__":
    # The kinds must be registered under this module's own name, which `-m` hides.
    import tests.support.jobs.kinds
    from seawall.process import worker as process
    from seawall.process.server import configure_logging

    assert tests.support.jobs.kinds is not sys.modules["__main__"]
    settings = load(None, {})
    configure_logging(settings)
    process.run(settings)
