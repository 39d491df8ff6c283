"""Write adopted repositories, artifacts, tags and labels into Seawall's tables."""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from itertools import groupby

from sqlalchemy import Connection, delete, select

from seawall.availability.adopt.harbor import Record, seconds
from seawall.availability.adopt.report import Report
from seawall.availability.adopt.schema import adopted_rows
from seawall.infra.db.dialect import allow_long, upsert
from seawall.kernel.names import is_tag
from seawall.registry import adopted
from seawall.registry.adopted import AdoptedManifest, AdoptedTag
from seawall.registry.repositories import lock


@dataclass(slots=True)
class Brought:
    """What was brought of a repository: its id here, and by digest the time of the push and the labels."""

    id: int = 0
    artifacts: dict[str, float] = field(default_factory=dict)
    tags: dict[str, str] = field(default_factory=dict)
    labels: dict[str, list[int]] = field(default_factory=dict)

    def text(self) -> str:
        """As `adopted_rows` keeps it."""
        return json.dumps([self.id, self.artifacts, self.tags, self.labels], separators=(",", ":"))


@dataclass(slots=True)
class Source:
    """A repository as Harbor has it."""

    record: Record
    project: int
    artifacts: list[Record]
    tags: list[tuple[Record, str]]
    labels: dict[str, list[int]]
    accessories: dict[str, tuple[str, str]]
    sparse: bool
    said: str
    brought: Brought
    manifests: list[AdoptedManifest] = field(default_factory=list)


KIND = "repository"


def grouped(rows: list[Record], column: str) -> dict[int, list[Record]]:
    """Rows by the value of `column`; they come sorted by it."""
    return {key: list(group) for key, group in groupby(rows, key=lambda row: row[column])}


def brought(connection: Connection) -> dict[str, tuple[Brought, str]]:
    """Harbor's id -> what was brought of the repository, and what Harbor said of it then."""
    query = select(adopted_rows.c.source, adopted_rows.c.target, adopted_rows.c.said)
    rows = connection.execute(query.where(adopted_rows.c.kind == KIND))
    return {row.source: (Brought(*json.loads(row.target)), row.said) for row in rows}


def accessory_of(found: tuple[str, str] | None) -> tuple[str, str] | None:
    """Type and digest of the subject as a row keeps them; None when the words are longer than its columns."""
    if found is None or not 0 < len(found[0]) <= 64 or len(found[1]) > 140:
        return None
    return found


def write(connection: Connection, batch: Iterable[Source], sizes: Mapping[str, int], report: Report) -> None:
    """Bring repositories in one transaction."""
    allow_long(connection)
    for source in batch:
        _write(connection, source, sizes, report)


def _write(connection: Connection, source: Source, sizes: Mapping[str, int], report: Report) -> None:
    record, before = source.record, source.brought
    name = record["name"]
    made = seconds(record["creation_time"]) or 0.0
    here = adopted.ensure(
        connection, source.project, name, record["description"] or "", made, int(record["pull_count"] or 0)
    )
    lock(connection, [here])
    there = adopted.known(connection, here)
    report.of("artifact").new += adopted.write_manifests(
        connection, here, source.project, source.manifests, sizes
    )
    now = Brought(here)
    all_here = adopted.known(connection, here)
    complete = True
    for row in source.artifacts:
        digest = row["digest"]
        if digest in before.artifacts:
            # Also one that was removed here: it is not to come back.
            now.artifacts[digest] = before.artifacts[digest]
            if digest not in all_here:
                report.keep(f"artifact {name}@{digest}", "was removed here, and stays removed")
        elif digest in all_here and digest not in there:
            now.artifacts[digest] = all_here[digest][1]
        complete = complete and (digest in all_here or digest in before.artifacts)
    pulled = {row["digest"]: seconds(row["pull_time"]) for row in source.artifacts}
    adopted.set_pulled(
        connection,
        here,
        {digest: at for digest, at in pulled.items() if at is not None and digest in there},
    )
    _write_tags(connection, source, now, all_here.keys(), report)
    _write_labels(connection, here, source, now)
    _remove_gone(connection, source, now, all_here, report)
    pushed = max((seconds(row["push_time"]) or 0.0 for row in source.artifacts), default=None)
    adopted.finish(connection, here, pushed)
    if not before.id:
        report.of("repository").new += 1
    row = {
        "kind": KIND,
        "source": str(record["repository_id"]),
        "target": now.text(),
        # What could not come is tried, and reported, at the next run.
        "said": source.said if complete else "",
        "written": "",
    }
    connection.execute(upsert(connection, adopted_rows, row, ["kind", "source"], ["target", "said"]))


def _write_tags(
    connection: Connection, source: Source, now: Brought, there: Iterable[str], report: Report
) -> None:
    before, name = source.brought, source.record["name"]
    held = adopted.tags_of(connection, now.id)
    known = set(there)
    wanted: list[AdoptedTag] = []
    for row, digest in source.tags:
        tag = row["name"]
        if not is_tag(tag):
            report.leave(f"tag {name}:{tag!r}", "a tag cannot have that name")
            continue
        if digest not in known:
            continue
        current, last = held.get(tag), before.tags.get(tag)
        if current is not None and current != digest and current != last:
            report.keep(f"tag {name}:{tag}", "was moved here")
            continue
        if current is None and last == digest:
            report.keep(f"tag {name}:{tag}", "was removed here, and stays removed")
            now.tags[tag] = digest
            continue
        now.tags[tag] = digest
        if current != digest:
            counts = report.of("tag")
            counts.new += current is None
            counts.changed += current is not None
            at = seconds(row["push_time"]) or 0.0
            wanted.append(AdoptedTag(tag, digest, at, seconds(row["pull_time"])))
    adopted.set_tags(connection, now.id, wanted)
    gone = before.tags.keys() - {row["name"] for row, _ in source.tags}
    removable = {tag for tag in gone if held.get(tag) == before.tags[tag]}
    for tag in sorted(gone - removable):
        if tag in held:
            report.keep(f"tag {name}:{tag}", "no longer exists in Harbor, but was moved here")
    adopted.remove_tags(connection, now.id, removable)
    report.of("tag").removed += len(removable)


def _write_labels(connection: Connection, here: int, source: Source, now: Brought) -> None:
    before = source.brought.labels
    added = {digest: set(ids) - set(before.get(digest, ())) for digest, ids in source.labels.items()}
    gone = {digest: set(ids) - set(source.labels.get(digest, ())) for digest, ids in before.items()}
    adopted.set_labels(connection, here, {digest: ids for digest, ids in added.items() if ids})
    adopted.remove_labels(connection, here, {digest: ids for digest, ids in gone.items() if ids})
    now.labels = source.labels


def _remove_gone(
    connection: Connection,
    source: Source,
    now: Brought,
    there: Mapping[str, tuple[int, float]],
    report: Report,
) -> None:
    """Remove what Harbor has no more and nobody has pushed again or tagged here."""
    wanted = {row["digest"] for row in source.artifacts}
    gone = {digest for digest in source.brought.artifacts if digest not in wanted and digest in there}
    again = {digest for digest in gone if there[digest][1] != source.brought.artifacts[digest]}
    removed = adopted.removable(connection, now.id, gone - again) if gone - again else set()
    for digest in sorted(gone - removed):
        report.keep(
            f"artifact {source.record['name']}@{digest}", "no longer exists in Harbor, but is in use here"
        )
    adopted.remove_manifests(connection, now.id, removed)
    report.of("artifact").removed += len(removed)


def remove_repository(connection: Connection, number: str, before: Brought, report: Report) -> int | None:
    """Take away what was brought of a repository that Harbor has no more; the id of its project."""
    found = adopted.name_of(connection, before.id)
    connection.execute(
        delete(adopted_rows).where(adopted_rows.c.kind == KIND, adopted_rows.c.source == number)
    )
    if found is None:
        return None
    name, project = found
    lock(connection, [before.id])
    record = {"name": name, "repository_id": number}
    source = Source(record, project, [], [], {}, {}, False, "", before)
    now = Brought(before.id)
    _write_tags(connection, source, now, (), report)
    _remove_gone(connection, source, now, adopted.known(connection, before.id), report)
    if adopted.finish(connection, before.id, None) == 0:
        adopted.remove_empty(connection, before.id)
        report.of("repository").removed += 1
    return project
