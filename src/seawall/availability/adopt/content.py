"""Repositories, artifacts, tags and labels of a Harbor; their blobs stay where they are.

Manifests are read from the tree and held against their digests. A repository that has not changed
in Harbor since the last run is not looked at. Of each repository `adopted_rows` remembers what was brought:
the digests with the time of their push, the tags with their digests, and the labels. So what was pushed or
tagged here meanwhile is not taken for what Harbor has lost, and stays.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Iterable, Iterator, Mapping

from sqlalchemy import Connection

from seawall.availability.adopt.harbor import HarborDatabase, Record, seconds
from seawall.availability.adopt.merge import digest as digest_of_value
from seawall.availability.adopt.report import Report
from seawall.availability.adopt.written import Brought, Source, accessory_of, brought, grouped, write
from seawall.infra.db import Database
from seawall.infra.db.dialect import allow_long
from seawall.infra.storage import BlobStorage
from seawall.infra.storage.tree import tree_key
from seawall.kernel import progress
from seawall.kernel.errors import RegistryError
from seawall.kernel.names import check_digest, check_name, digest_of
from seawall.registry import accounting, adopted
from seawall.registry.adopted import AdoptedManifest
from seawall.registry.manifest import parse

_READERS = 32
# Without what may be large (extra_attrs).
_ARTIFACT = ("id", "repository_id", "digest", "manifest_media_type", "push_time", "pull_time")
_MANIFEST_LIMIT = 16 * 1024 * 1024
# A transaction takes repositories until they have so many new manifests.
_BATCH = 400
_REPOSITORIES = 200


def sources(
    harbor: HarborDatabase,
    projects_here: Mapping[str, tuple[int, str, float]],
    labels_here: Mapping[str, int],
    proxies: set[int],
    known: Mapping[str, tuple[Brought, str]],
    report: Report,
) -> Iterator[Source]:
    """Every repository of projects that come, with what Harbor says of its content."""
    tagged = grouped(harbor.rows("tag", order="repository_id"), "repository_id")
    artifacts = grouped(harbor.rows("artifact", order="repository_id", columns=_ARTIFACT), "repository_id")
    referred = grouped(harbor.rows("label_reference", order="artifact_id"), "artifact_id")
    attached = {row["artifact_id"]: row for row in harbor.rows("artifact_accessory", order="id")}
    for record in harbor.rows("repository", order="repository_id"):
        found = projects_here.get(str(record["project_id"]))
        if found is None:
            continue
        project = found[0]
        if not record["name"].startswith(f"{found[1]}/") or not _is_name(record["name"]):
            report.leave(
                f"repository {record['name']}", f"project {found[1]} cannot have a repository of that name"
            )
            continue
        rows = sorted(artifacts.get(record["repository_id"], ()), key=lambda row: int(row["id"]))
        digests = {row["id"]: row["digest"] for row in rows}
        names = [
            (row, digests[row["artifact_id"]])
            for row in sorted(tagged.get(record["repository_id"], ()), key=lambda row: str(row["name"]))
            if row["artifact_id"] in digests
        ]
        marks: dict[str, list[int]] = {}
        for row in rows:
            here = [labels_here.get(str(item["label_id"])) for item in referred.get(row["id"], ())]
            if ids := sorted({item for item in here if item is not None}):
                marks[row["digest"]] = ids
        owners = {
            row["digest"]: (attached[row["id"]]["type"] or "", attached[row["id"]]["subject_artifact_digest"])
            for row in rows
            if row["id"] in attached and attached[row["id"]].get("subject_artifact_digest")
        }
        report.of("repository").found += 1
        report.of("artifact").found += len(rows)
        report.of("tag").found += len(names)
        said = digest_of_value(
            [
                record["name"],
                record["description"],
                record["pull_count"],
                project,
                [(row["digest"], str(row["push_time"]), str(row["pull_time"])) for row in rows],
                [(row["name"], digest, str(row["push_time"])) for row, digest in names],
                marks,
            ]
        )
        before, last = known.get(str(record["repository_id"]), (Brought(), ""))
        yield (
            Source(record, project, rows, names, marks, owners, project in proxies, said, before)
            if said != last
            else Source(record, project, [], [], {}, {}, False, "", before)
        )


def _is_name(name: str) -> bool:
    try:
        check_name(name)
    except RegistryError:
        return False
    return True


class ContentReader:
    """Reads manifests from the tree, and knows which blobs are there."""

    def __init__(self, storage: BlobStorage, report: Report) -> None:
        self._storage = storage
        self._report = report
        self.sizes: dict[str, int] = {}
        self._slots = asyncio.Semaphore(_READERS)

    async def look(self) -> int:
        """Learn which blobs the tree has; returns how many."""
        async for item in self._storage.list_tree():
            _, algorithm, value = item.key.split(".")
            self.sizes[f"{algorithm}:{value}"] = item.size
            progress.step("blobs in the storage", len(self.sizes))
        return len(self.sizes)

    async def read(self, source: Source) -> None:
        """Read what the repository has and was not brought, leaving out what is not whole."""
        name = source.record["name"]
        fresh = [row for row in source.artifacts if row["digest"] not in source.brought.artifacts]
        found = await asyncio.gather(*(self._manifest(name, row, source) for row in fresh))
        there = set(source.brought.artifacts)
        waiting = [item for item in found if item is not None]
        # Children before the indexes that name them, whatever the depth.
        while waiting:
            ready = [
                item
                for item in waiting
                if source.sparse or all(child in there for child in item.parsed.manifests)
            ]
            if not ready:
                break
            source.manifests += ready
            there |= {item.digest for item in ready}
            waiting = [item for item in waiting if item.digest not in there]
        for item in waiting:
            self._report.leave(f"artifact {name}@{item.digest}", "a manifest that it names cannot come")

    async def _manifest(self, name: str, row: Record, source: Source) -> AdoptedManifest | None:
        digest = row["digest"]
        what = f"artifact {name}@{digest}"
        try:
            check_digest(digest)
            size = self.sizes.get(digest)
            if size is None:
                self._report.leave(what, "its manifest is missing from the storage")
                return None
            if size > _MANIFEST_LIMIT:
                self._report.leave(what, f"its manifest has {size} bytes")
                return None
            async with self._slots:
                stream = self._storage.stream(tree_key(digest), 0, size)
                payload = b"".join([piece async for piece in stream]) if size else b""
            if digest_of(payload, digest.partition(":")[0]) != digest:
                self._report.leave(what, "its manifest in the storage is damaged")
                return None
            parsed = parse(payload, row["manifest_media_type"])
        except RegistryError as error:
            self._report.leave(what, error.message)
            return None
        except OSError as error:
            self._report.leave(what, f"its manifest cannot be read: {error.strerror or error}")
            return None
        missing = [blob for blob in parsed.blobs if blob not in self.sizes]
        if missing:
            more = f" and {len(missing) - 1} more" if len(missing) > 1 else ""
            self._report.leave(what, f"blob {missing[0]}{more} is missing from the storage")
            return None
        wrong = [blob for blob, size in parsed.blobs.items() if self.sizes[blob] != size]
        if wrong:
            self._report.leave(what, f"blob {wrong[0]} has another size in the storage")
            return None
        return AdoptedManifest(
            digest,
            payload,
            parsed,
            seconds(row["push_time"]) or 0.0,
            seconds(row["pull_time"]),
            tuple(tag["name"] for tag, of in source.tags if of == digest),
            accessory_of(source.accessories.get(digest)),
        )


def pushed_here(connection: Connection, report: Report) -> None:
    """Note what was pushed or tagged here and did not come from Harbor."""
    known = {item.id: item for item, _ in brought(connection).values()}
    for here, name, project in adopted.all_repositories(connection):
        del project
        before = known.get(here, Brought())
        held = adopted.tags_of(connection, here)
        named = {digest for tag, digest in held.items() if before.tags.get(tag) != digest}
        report.pushed += [
            f"{name}:{tag} {digest}" for tag, digest in sorted(held.items()) if before.tags.get(tag) != digest
        ]
        report.pushed += [
            f"{name}@{digest}"
            for digest, (_, at) in sorted(adopted.known(connection, here).items())
            if before.artifacts.get(digest) is None and digest not in named
        ]


async def bring(
    db: Database,
    reader: ContentReader,
    found: Iterable[Source],
    report: Report,
    *,
    apply: bool,
    say: Callable[[str], None],
) -> set[int]:
    """Bring all content; returns the ids of the projects whose usage must be counted."""
    touched: set[int] = set()
    batch: list[Source] = []
    done = 0

    async def flush() -> None:
        nonlocal done
        if apply and batch:
            part = list(batch)
            await db.write(lambda c: write(c, part, reader.sizes, report))
            done += sum(len(item.manifests) for item in part)
            say(f"{done} artifacts written")
        batch.clear()

    for number, source in enumerate(found, 1):
        progress.step("repositories", number)
        if not source.said:
            continue
        await reader.read(source)
        if not apply:
            counts = report.of("artifact")
            counts.new += len(source.manifests)
            report.of("repository").new += not source.brought.id
            report.of("tag").new += sum(tag["name"] not in source.brought.tags for tag, _ in source.tags)
            continue
        touched.add(source.project)
        batch.append(source)
        if sum(len(item.manifests) for item in batch) >= _BATCH or len(batch) >= _REPOSITORIES:
            await flush()
    await flush()
    return touched


async def count(db: Database, projects: Iterable[int]) -> None:
    """Count what projects store."""
    for project in sorted(projects):

        def refresh(connection: Connection, project: int = project) -> None:
            allow_long(connection)
            accounting.refresh(connection, project)

        await db.write(refresh)
