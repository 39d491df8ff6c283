"""Bringing what another registry has into a Seawall: over the API of both, or from a Distribution's folder.

Each repository is copied by `replication.copy`: blobs first, what is there already is left alone, referrers
and cosign's tags come along. So a run that was broken off is simply run again; a state file lets it go on
within a large blob.
"""

from __future__ import annotations

import contextlib
import json
from collections.abc import AsyncIterator, Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Protocol

from seawall.features.replication.adapter import Adapter
from seawall.features.replication.client import RegistryClient
from seawall.features.replication.copy import Copier, CopyReport
from seawall.features.replication.endpoint import RemoteEndpoint, Source
from seawall.features.replication.remote import RemoteError
from seawall.features.replication.uploads import BlobSource
from seawall.infra.private import check_writable, write_whole
from seawall.install.registry_tree import Tree
from seawall.kernel import patterns, progress
from seawall.kernel.errors import ConfigError, SeawallError

Say = Callable[[str], None]


class Origin(Protocol):
    """A registry to be left: what it has, and how to read it."""

    source: Source

    def repositories(self, pattern: str) -> AsyncIterator[str]:
        """Names of repositories that match `pattern`."""

    def untagged(self, repository: str) -> list[str]:
        """Digests of all manifests, where those without a tag can be listed; none elsewhere."""


class ApiOrigin:
    """A registry over its API."""

    def __init__(self, adapter: Adapter) -> None:
        self._adapter = adapter
        self.source: Source = adapter.endpoint

    def repositories(self, pattern: str) -> AsyncIterator[str]:
        """See Origin.repositories; exact names need no catalog, which GHCR for one does not have."""
        return self._adapter.repositories(pattern)

    def untagged(self, repository: str) -> list[str]:
        """See Origin.untagged: no API lists them."""
        del repository
        return []


class TreeOrigin:
    """The folder of a docker-registry."""

    def __init__(self, folder: Path) -> None:
        self._tree = Tree(folder)
        self.source: Source = self._tree

    async def repositories(self, pattern: str) -> AsyncIterator[str]:
        """See Origin.repositories."""
        for name in self._tree.repositories():
            if patterns.matches(pattern, name):
                yield name

    def untagged(self, repository: str) -> list[str]:
        """See Origin.untagged."""
        return self._tree.revisions(repository)


class _Target(RemoteEndpoint):
    """The Seawall; knows which of its repositories got a blob in this run, for mounts."""

    def __init__(self, client: RegistryClient) -> None:
        super().__init__(client)
        self._holders: dict[str, str] = {}
        self._put = client.put_blob
        self.put_blob = self._remembered

    async def holder(self, digest: str) -> str | None:
        """A repository that has the blob."""
        return self._holders.get(digest)

    async def _remembered(
        self, repository: str, digest: str, size: int, source: BlobSource, **options: Any
    ) -> int:
        sent = await self._put(repository, digest, size, source, **options)
        self._holders.setdefault(digest, repository)
        return sent


class State:
    """Uploads that are under way, in a file: {target repository: {digest: location}}."""

    def __init__(self, path: Path | None) -> None:
        """Raises ConfigError when the file is something else, OSError where none can be written."""
        self._path = path
        self._sessions: dict[str, dict[str, str]] = {}
        if path is None:
            return
        check_writable(path)
        if not path.exists():
            return
        try:
            found = json.loads(path.read_text())
            self._sessions = {
                str(name): {str(digest): str(where) for digest, where in uploads.items()}
                for name, uploads in found["uploads"].items()
            }
        except (ValueError, KeyError, TypeError, AttributeError):
            raise ConfigError(f"{path}: is not the state of a migration; name another file") from None

    def of(self, repository: str) -> dict[str, str]:
        """The uploads into one repository."""
        return self._sessions.setdefault(repository, {})

    async def save(self, _: dict[str, str] | None = None) -> None:
        """Write the file, whole or not at all."""
        if self._path is None:
            return
        left = {name: uploads for name, uploads in self._sessions.items() if uploads}
        if not left:
            self._path.unlink(missing_ok=True)
            return
        # Private: locations of uploads are good for anyone who has them and may push.
        write_whole(self._path, json.dumps({"uploads": left}).encode())


@dataclass(slots=True)
class Outcome:
    """What a run did, over all repositories."""

    repositories: int = 0
    report: CopyReport = field(default_factory=CopyReport)
    missing: int = 0
    failed: list[str] = field(default_factory=list)


def destination(name: str, project: str | None) -> str:
    """Where a repository goes: below `project`, or as it is called; one without a project to `library`."""
    if project:
        return f"{project}/{name}"
    return name if "/" in name else f"library/{name}"


async def move(
    origin: Origin,
    target: Adapter,
    *,
    wanted: list[str],
    project: str | None = None,
    untagged: bool = False,
    dry_run: bool = False,
    state: State,
    say: Say,
) -> Outcome:
    """Copy every repository that one of `wanted` (patterns) names; says a line for each.

    A repository or artifact that fails does not stop the others. Raises SeawallError when either side cannot
    be used at all.
    """
    outcome = Outcome()
    endpoint = _Target(target.client)
    seen: set[str] = set()
    for pattern in wanted:
        async for name in origin.repositories(pattern):
            if name in seen:
                continue
            seen.add(name)
            outcome.repositories += 1
            progress.step("repositories", outcome.repositories)
            to = destination(name, project)
            try:
                if dry_run:
                    await _compare(origin, endpoint, name, to, outcome, say)
                else:
                    await _copy(origin, target, endpoint, name, to, untagged, state, outcome, say)
            except SeawallError as error:
                outcome.failed.append(f"{name}: {error}")
                say(f"FAILED {name}: {error}")
    if not seen:
        raise ConfigError(f"the source has no repository {' or '.join(wanted)}")
    return outcome


async def _compare(origin: Origin, endpoint: _Target, name: str, to: str, outcome: Outcome, say: Say) -> None:
    tags = sorted(await origin.source.tags(name))
    missing = []
    for tag in tags:
        if await origin.source.resolve(name, tag) != await _there(endpoint, to, tag):
            missing.append(tag)
    outcome.missing += len(missing)
    shown = f": {', '.join(missing[:20])}{' ...' if len(missing) > 20 else ''}" if missing else ""
    say(f"{name} -> {to}: {len(missing)} of {len(tags)} tags to copy{shown}")


async def _there(endpoint: _Target, repository: str, tag: str) -> str | None:
    try:
        return await endpoint.resolve(repository, tag)
    except RemoteError as error:
        # A project that does not exist yet is refused as one that may not be seen.
        if error.status in (401, 403):
            return None
        raise


async def _copy(
    origin: Origin,
    target: Adapter,
    endpoint: _Target,
    name: str,
    to: str,
    untagged: bool,
    state: State,
    outcome: Outcome,
    say: Say,
) -> None:
    references = await origin.source.tags(name)
    if untagged:
        references = [*references, *origin.untagged(name)]
    if not references:
        say(f"{name}: nothing in it")
        return
    await target.prepare(to)
    copier = Copier(
        origin.source,
        endpoint,
        name,
        to,
        sessions=state.of(to),
        save=state.save,
        holder=endpoint.holder,
    )
    failed = await copier.run(references)
    for reference, why in failed.items():
        outcome.failed.append(f"{name}:{reference}: {why}")
        say(f"FAILED {name}:{reference}: {why}")
    report = copier.report
    for counter, number in report.as_dict().items():
        setattr(outcome.report, counter, getattr(outcome.report, counter) + number)
    say(
        f"{name} -> {to}: {report.artifacts} artifacts copied, {report.skipped} there already, "
        f"{report.blobs} blobs ({report.bytes} bytes), {report.mounted} mounted"
    )
    with contextlib.suppress(OSError):
        await state.save()
