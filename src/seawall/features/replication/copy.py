"""Copying artifacts from one endpoint to another: only what is missing, with everything that belongs to it.

An artifact's order: blobs, child manifests (of an index), the manifest itself, then its referrers
(signatures, SBOMs, attestations) and theirs, by the referrers API and by cosign's tags, as in
`seawall.registry.belongings`. So whatever is seen at the destination is complete.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from dataclasses import asdict, dataclass
from typing import Any

from seawall.features.replication.endpoint import Endpoint, Source
from seawall.features.replication.remote import RemoteError, RemoteManifest, is_settled
from seawall.features.replication.uploads import MOUNTED
from seawall.kernel.errors import SeawallError
from seawall.registry import manifest as manifests
from seawall.registry.belongings import cosign_tags

Log = Callable[[str], Awaitable[None]]

# Artifacts, and blobs of one artifact, under way at once.
ARTIFACTS = 8
BLOBS = 3
# In a repository that is empty so far, blobs up to this size (bytes) are sent without asking for them first.
SMALL = 64 * 1024
# An index in an index in an index ... ends somewhere.
_MAX_DEPTH = 8
# A rule of the destination's, or a project that takes no pushes (a proxy cache, a virtual project).
_FINAL = (405, 412)


@dataclass(slots=True)
class CopyReport:
    """What a copy did; `bytes` were transferred, `artifacts` counts subjects and referrers."""

    artifacts: int = 0
    skipped: int = 0
    blobs: int = 0
    mounted: int = 0
    bytes: int = 0

    def as_dict(self) -> dict[str, int]:
        """The counts as a JSON-able mapping."""
        return asdict(self)


class Copier:
    """Copies artifacts of one repository to another repository elsewhere.

    `sessions` maps the digests of blobs on their way to their open upload; `save` stores it whenever it
    changes, and a Copier made with it later goes on with them.
    """

    def __init__(
        self,
        source: Source,
        destination: Endpoint,
        source_repository: str,
        destination_repository: str,
        *,
        override: bool = True,
        by_chunk: bool = False,
        log: Log | None = None,
        checkpoint: Callable[[], Awaitable[None]] | None = None,
        sessions: dict[str, str] | None = None,
        save: Callable[[dict[str, str]], Awaitable[None]] | None = None,
        images_only: bool = False,
        holder: Callable[[str], Awaitable[str | None]] | None = None,
        origin: Callable[[float | None], str] | None = None,
        later_stays: bool = False,
    ) -> None:
        """`holder(digest)` names a repository of the destination that has a blob, for a mount.

        `origin(pushed_at)` makes the header of `replication.origin`; with `later_stays` tags say when they
        were pushed, and the destination may keep what was pushed later.
        `images_only` leaves out artifacts that are not container images.
        """
        self.report = CopyReport()
        # Whether every failure so far is a refusal that another attempt would get too.
        self.refused = True
        self._source = source
        self._destination = destination
        self._from = source_repository
        self._to = destination_repository
        self._override = override
        self._by_chunk = by_chunk
        self._log = log
        self._checkpoint = checkpoint
        self._sessions = {} if sessions is None else sessions
        self._save = save
        self._images_only = images_only
        self._holder = holder
        self._origin = origin
        self._later_stays = later_stays
        self._blobs: dict[str, asyncio.Task[None]] = {}
        self._done: dict[str, asyncio.Task[None]] = {}
        self._places = asyncio.Semaphore(BLOBS)
        self._source_tags: set[str] | None = None
        # Tags at the destination, None when it is asked for each.
        self._there: set[str] | None = None

    async def run(self, references: list[str]) -> dict[str, str]:
        """Copy tags or digests; returns the error text of each reference that failed.

        Stops at a JobStoppedError of `checkpoint`, or when cancelled.
        """
        failed: dict[str, str] = {}
        waiting = iter(references)
        # Tags are looked up once a repository, for cosign's.
        self._source_tags = set(await self._source.tags(self._from))
        if len(references) > 1:
            self._there = set(await self._destination.tags(self._to))

        async def worker() -> None:
            for reference in waiting:
                if self._checkpoint is not None:
                    await self._checkpoint()
                try:
                    await self._copy_reference(reference)
                except SeawallError as error:
                    failed[reference] = str(error)
                    self.refused &= getattr(error, "status", None) in _FINAL
                    await self._say(f"{self._from}:{reference}: {error}", "ERROR")

        tasks = [asyncio.create_task(worker()) for _ in range(min(ARTIFACTS, len(references)))]
        try:
            await asyncio.gather(*tasks)
        finally:
            rest = [*tasks, *self._blobs.values(), *self._done.values()]
            for task in rest:
                task.cancel()
            await asyncio.gather(*rest, return_exceptions=True)
        return failed

    async def _say(self, text: str, level: str = "INFO") -> None:
        if self._log is not None:
            await self._log(text if level == "INFO" else f"{level}: {text}")

    async def _copy_reference(self, reference: str) -> None:
        pushed_at = None
        if self._later_stays and ":" not in reference:
            # Before the manifest: of a tag that moves meanwhile, the time may be too old, never too new.
            pushed_at = await self._source.pushed_at(self._from, reference)
        found = await self._source.manifest(self._from, reference)
        if found is None:
            raise RemoteError(f"{self._from}:{reference} is not at the source any more")
        if self._images_only and not _is_image(found):
            self.report.skipped += 1
            await self._say(f"{self._from}:{reference} is not an image")
            return
        there = None
        # Without override only an answer of this moment is good enough.
        if self._there is None or not self._override or ":" in reference or reference in self._there:
            there = await self._destination.resolve(self._to, reference)
        if there == found.digest:
            self.report.skipped += 1
            await self._say(f"{self._from}:{reference} is at the destination already")
        elif there is not None and not self._override:
            self.report.skipped += 1
            await self._say(f"{self._from}:{reference} has other content there, and override is off")
            return
        else:
            try:
                await self._copy_manifest(found, reference, 0, pushed_at)
            except RemoteError as error:
                if not is_settled(error):
                    raise
                self.report.skipped += 1
                await self._say(f"{self._from}:{reference} stays as it is at the destination: {error}")
                return
            await self._say(f"{self._from}:{reference} copied ({found.digest})")
        await self._copy_referrers(found)

    async def _by_digest(self, digest: str, depth: int) -> None:
        """Copy a manifest by digest unless the destination has it; each only once at a time."""
        task = self._done.get(digest)
        if task is None:
            task = asyncio.create_task(self._copy_digest(digest, depth))
            self._done[digest] = task
        await asyncio.shield(task)

    async def _copy_digest(self, digest: str, depth: int) -> None:
        if await self._destination.resolve(self._to, digest) is not None:
            self.report.skipped += 1
            return
        found = await self._source.manifest(self._from, digest)
        if found is None:
            raise RemoteError(f"{self._from}@{digest} is not at the source")
        await self._copy_manifest(found, digest, depth)

    async def _copy_manifest(
        self, found: RemoteManifest, reference: str, depth: int, pushed_at: float | None = None
    ) -> None:
        if depth > _MAX_DEPTH:
            raise RemoteError(f"{self._from}@{found.digest}: indexes are nested too deep")
        parsed = manifests.parse(found.payload, found.media_type or None)
        for child in parsed.manifests:
            await self._by_digest(child, depth + 1)
        await asyncio.gather(*(self._blob(digest, size) for digest, size in parsed.blobs.items()))
        origin = "" if self._origin is None else self._origin(pushed_at)
        await self._destination.put_manifest(self._to, reference, parsed.media_type, found.payload, origin)
        self.report.artifacts += 1

    async def _copy_referrers(self, subject: RemoteManifest) -> None:
        """Copy what refers to an artifact or its children, and what refers to that.

        A list of what is left to look at, not recursion: a referrer may itself be an index that lists its
        subject.
        """
        assert self._source_tags is not None
        left = [subject.digest, *manifests.parse(subject.payload, subject.media_type or None).manifests]
        seen = set(left)
        while left:
            digest = left.pop()
            for referrer in await self._source.referrers(self._from, digest):
                if referrer not in seen:
                    seen.add(referrer)
                    await self._by_digest(referrer, 1)
                    left.append(referrer)
            for tag in cosign_tags(digest):
                if tag in self._source_tags:
                    await self._cosign(tag)

    async def _cosign(self, tag: str) -> None:
        found = await self._source.manifest(self._from, tag)
        if found is not None and await self._destination.resolve(self._to, tag) != found.digest:
            await self._copy_manifest(found, tag, 0)

    async def _blob(self, digest: str, size: int) -> None:
        task = self._blobs.get(digest)
        if task is None:
            task = asyncio.create_task(self._copy_blob(digest, size))
            self._blobs[digest] = task
        try:
            await asyncio.shield(task)
        except SeawallError:
            # The next artifact that needs it tries again.
            if self._blobs.get(digest) is task:
                del self._blobs[digest]
            raise

    async def _copy_blob(self, digest: str, size: int) -> None:
        if self._checkpoint is not None:
            await self._checkpoint()
        async with self._places:
            empty = self._there is not None and not self._there
            if not (empty and size <= SMALL) and await self._destination.has_blob(self._to, digest):
                return
            holder = None if self._holder is None else await self._holder(digest)

            async def opened(location: str) -> None:
                self._sessions[digest] = location
                if self._save is not None:
                    await self._save(self._sessions)

            sent = await self._destination.put_blob(
                self._to,
                digest,
                size,
                lambda offset: self._source.blob(self._from, digest, offset),
                session=self._sessions.get(digest),
                opened=opened,
                by_chunk=self._by_chunk,
                mount_from=holder if holder != self._to else None,
            )
            if sent == MOUNTED:
                self.report.mounted += 1
                return
            if self._sessions.pop(digest, None) is not None and self._save is not None:
                await self._save(self._sessions)
            self.report.blobs += 1
            self.report.bytes += sent


def _is_image(found: RemoteManifest) -> bool:
    parsed = manifests.parse(found.payload, found.media_type or None)
    return bool(parsed.manifests) or parsed.config_media_type in (
        "application/vnd.oci.image.config.v1+json",
        "application/vnd.docker.container.image.v1+json",
    )


def describe(report: CopyReport) -> str:
    """A report as a log line."""
    counts: dict[str, Any] = report.as_dict()
    return ", ".join(f"{value} {name}" for name, value in counts.items())
