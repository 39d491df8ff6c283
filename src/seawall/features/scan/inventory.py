"""Inventories of images: layers read by a worker process, results kept per chain of layers.

A layer's effect depends on those below it, so results are stored by chain: the hash of the chain below and
the layer's digest. Images that share a base share its results, and a pushed image costs its new layers.
"""

from __future__ import annotations

import asyncio
import contextlib
import hashlib
import json
import os
import posixpath
import struct
import sys
from collections.abc import AsyncIterator, Awaitable, Callable, Coroutine
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from seawall.features.scan import catalog
from seawall.features.scan.analyze import Delta
from seawall.features.scan.model import Distribution, Found, Inventory, Limits, Package, purl
from seawall.kernel.errors import SeawallError

# Layers that hold no files of a root file system are not read.
LAYER_TYPES = (
    "application/vnd.oci.image.layer.",
    "application/vnd.docker.image.rootfs.diff.tar",
    "application/vnd.docker.image.rootfs.foreign.diff.tar",
)


class ScanError(SeawallError):
    """The image could not be analysed."""


@dataclass(frozen=True, slots=True)
class LayerSource:
    """A layer's digest and its bytes: a local file, or a stream that can be started again."""

    digest: str
    path: Path | None = None
    stream: Callable[[], AsyncIterator[bytes]] | None = None


class Worker:
    """A worker process; use as an async context manager."""

    def __init__(self, limits: Limits) -> None:
        self.limits = limits
        self._process: asyncio.subprocess.Process | None = None

    async def __aenter__(self) -> Worker:
        # No settings, credentials or proxies: the process needs none of them.
        environment = {
            key: value
            for key, value in os.environ.items()
            if key in ("PATH", "PYTHONPATH", "PYTHONHOME", "VIRTUAL_ENV", "LANG", "LC_ALL", "TMPDIR")
        }
        self._process = await asyncio.create_subprocess_exec(
            sys.executable,
            "-m",
            "seawall.features.scan.worker",
            stdin=asyncio.subprocess.PIPE,
            stdout=asyncio.subprocess.PIPE,
            stderr=asyncio.subprocess.DEVNULL,
            env=environment,
        )
        await self._send(json.dumps({"limits": self.limits.as_dict()}).encode())
        return self

    async def __aexit__(self, *_error: object) -> None:
        process = self._process
        assert process is not None
        if process.returncode is None:
            with contextlib.suppress(ProcessLookupError):
                process.kill()
        await process.wait()

    async def analyze(self, layer: LayerSource, lower: list[str]) -> Delta:
        """The layer's effect on a list that has the files `lower`. Raises ScanError."""
        try:
            async with asyncio.timeout(self.limits.seconds + 30):
                answer = await self._ask(layer, lower)
        except TimeoutError:
            raise ScanError(f"{layer.digest}: took longer than {self.limits.seconds} seconds") from None
        except (BrokenPipeError, ConnectionResetError, asyncio.IncompleteReadError):
            raise ScanError(f"{layer.digest}: the process that reads layers died") from None
        if "error" in answer:
            raise ScanError(f"{layer.digest}: {answer['error']}")
        return Delta.from_dict(answer["delta"])

    async def _ask(self, layer: LayerSource, lower: list[str]) -> dict[str, Any]:
        path = str(layer.path) if layer.path is not None else None
        await self._send(json.dumps({"lower": lower, "path": path}).encode())
        while True:
            if layer.path is None:
                assert layer.stream is not None
                async for chunk in layer.stream():
                    for start in range(0, len(chunk), 1 << 20):
                        await self._send(chunk[start : start + (1 << 20)])
                await self._send(b"")
            answer: dict[str, Any] = json.loads(await self._receive())
            if "again" not in answer:
                return answer

    async def _send(self, data: bytes) -> None:
        process = self._process
        assert process is not None
        assert process.stdin is not None
        process.stdin.write(struct.pack(">I", len(data)) + data)
        await process.stdin.drain()

    async def _receive(self) -> bytes:
        process = self._process
        assert process is not None
        assert process.stdout is not None
        (length,) = struct.unpack(">I", await process.stdout.readexactly(4))
        return await process.stdout.readexactly(length)


def chain_id(below: str, digest: str) -> str:
    """Name of a chain of layers: depends on every layer of it and on the catalogers' revision."""
    base = below or f"seawall-catalog-{catalog.REVISION}"
    return hashlib.sha256(f"{base} {digest}".encode()).hexdigest()


LoadDelta = Callable[[str], Awaitable[Delta | None]]
SaveDelta = Callable[[str, str, Delta], Awaitable[None]]
Step = Callable[[], Awaitable[None]]


async def build(
    layers: list[LayerSource],
    limits: Limits,
    *,
    load: LoadDelta | None = None,
    save: SaveDelta | None = None,
    step: Step | None = None,
) -> Inventory:
    """The inventory of an image from its layers, lowest first.

    `load(chain)` and `save(chain, digest, delta)` keep results between images; `step` is awaited before
    each layer and every other second, and may raise to stop. Raises ScanError.
    """
    state = State()
    chain = ""
    worker: Worker | None = None
    try:
        for layer in layers:
            if step is not None:
                await step()
            chain = chain_id(chain, layer.digest)
            delta = await load(chain) if load is not None else None
            if delta is None:
                if worker is None:
                    worker = Worker(limits)
                    await worker.__aenter__()
                delta = await _stoppable(worker.analyze(layer, state.paths()), step)
                if save is not None:
                    await save(chain, layer.digest, delta)
            state.apply(layer.digest, delta)
    finally:
        if worker is not None:
            await worker.__aexit__()
    return state.inventory()


async def _stoppable(work: Coroutine[Any, Any, Delta], step: Step | None) -> Delta:
    """Await `work`; `step`, asked every other second meanwhile, may raise to end it."""
    task = asyncio.create_task(work)
    try:
        while not (await asyncio.wait({task}, timeout=2))[0]:
            if step is not None:
                await step()
        return task.result()
    finally:
        if not task.done():
            task.cancel()
            with contextlib.suppress(asyncio.CancelledError):
                await task


class State:
    """The list while layers are applied."""

    def __init__(self) -> None:
        self._files: dict[str, tuple[str, str, list[Found]]] = {}
        self._distributions: dict[str, Distribution] = {}
        self._notes: list[str] = []

    def paths(self) -> list[str]:
        """Paths that a further layer may hide."""
        return sorted({*self._files, *self._distributions})

    def apply(self, digest: str, delta: Delta) -> None:
        """Put a layer on top."""
        for path in delta.removed:
            self._files.pop(path, None)
            self._distributions.pop(path, None)
        for path, found in delta.files.items():
            self._files[path] = (digest, delta.catalogers.get(path, ""), found)
        self._distributions.update(delta.distributions)
        self._notes.extend(delta.notes)

    def inventory(self) -> Inventory:
        """The packages of the image as it now is."""
        distribution = Distribution()
        for path in reversed(catalog.OS_RELEASE_PATHS):
            distribution = self._distributions.get(path, distribution)
        merged: dict[Found, tuple[str, list[str]]] = {}
        for path in sorted(self._files):
            digest, cataloger, found = self._files[path]
            # go.sum names every version that was looked at; go.mod next to it says which are used.
            if cataloger == "go-sum" and posixpath.join(posixpath.dirname(path), "go.mod") in self._files:
                continue
            for item in found:
                merged.setdefault(item, (digest, []))[1].append("/" + path)
        packages = [
            Package(item, purl(item, distribution), tuple(paths[:20]), digest)
            for item, (digest, paths) in merged.items()
        ]
        packages.sort(key=lambda p: (p.found.kind, p.found.name, p.found.version))
        return Inventory(distribution, packages, self._notes[:500])
