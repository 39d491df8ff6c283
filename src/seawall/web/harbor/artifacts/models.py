"""The API's shapes of artifacts, tags, labels and accessories, and how artifacts are found and completed."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Annotated, Any
from urllib.parse import quote, unquote

from fastapi import Depends, Header, Path, Query
from pydantic import BaseModel, Field
from sqlalchemy import Connection

from seawall.features.immutability import rules as immutability
from seawall.features.scan import hub, report
from seawall.registry import additions, artifacts, icons
from seawall.registry.artifacts import Artifact as ArtifactRow
from seawall.registry.artifacts import Label as LabelRow
from seawall.registry.artifacts import Tag as TagRow
from seawall.web.harbor.deps import (
    Access,
    timestamp,
)
from seawall.web.harbor.needs import Artifacts, Db
from seawall.web.harbor.repositories import full_name

# Types of vulnerability reports that X-Accept-Vulnerabilities may name, by their names without spaces.
REPORT_TYPES = {item.replace(" ", ""): item for item in (report.GENERIC, report.NATIVE)}

Reference = Annotated[str, Path(min_length=1, max_length=300)]
Flag = Annotated[bool, Query()]
# Harbor's zero time, shown for what was never pulled.
NEVER = "0001-01-01T00:00:00.000Z"


class Label(BaseModel):
    """A label: `scope` is g (global) or p (of the project `project_id`)."""

    id: int | None = Field(None, ge=0, lt=2**53)
    name: str | None = Field(None, max_length=128)
    description: str | None = Field(None, max_length=4096)
    color: str | None = Field(None, max_length=16)
    scope: str | None = Field(None, max_length=16)
    project_id: int | None = Field(None, ge=0, lt=2**53)
    creation_time: str | None = None
    update_time: str | None = None


class Tag(BaseModel):
    """A tag."""

    id: int | None = None
    repository_id: int | None = None
    artifact_id: int | None = None
    name: str | None = Field(None, max_length=255)
    push_time: str | None = None
    pull_time: str | None = None
    immutable: bool | None = None


class ArtifactReference(BaseModel):
    """A child of an index."""

    parent_id: int
    child_id: int
    child_digest: str
    platform: dict[str, Any] | None = None
    annotations: dict[str, Any] | None = None
    urls: list[Any] | None = None


class AdditionLink(BaseModel):
    """Where an addition is."""

    href: str
    absolute: bool = False


class Accessory(BaseModel):
    """What belongs to an artifact: a signature, an SBOM, another referrer."""

    id: int
    artifact_id: int
    subject_artifact_id: int | None = None
    subject_artifact_digest: str
    subject_artifact_repo: str
    size: int
    digest: str
    type: str
    icon: str
    creation_time: str | None = None


class Artifact(BaseModel):
    """An artifact. `size` is in bytes with everything it names."""

    id: int
    type: str
    media_type: str
    manifest_media_type: str
    artifact_type: str | None = None
    project_id: int
    repository_id: int
    repository_name: str
    digest: str
    size: int
    icon: str
    push_time: str | None
    pull_time: str | None
    extra_attrs: dict[str, Any]
    annotations: dict[str, Any] | None = None
    references: list[ArtifactReference] | None = None
    tags: list[Tag] | None = None
    addition_links: dict[str, AdditionLink]
    labels: list[Label] | None = None
    scan_overview: dict[str, Any] | None = None
    sbom_overview: dict[str, Any] | None = None
    accessories: list[Accessory] | None = None
    inherited_accessories: list[Accessory] | None = None


@dataclass(frozen=True, slots=True)
class Wanted:
    """Which parts of artifacts an answer is to have; `report` is the type that overviews of scans go by."""

    tag: bool = True
    label: bool = False
    scan_overview: bool = False
    sbom_overview: bool = False
    immutable: bool = False
    accessory: bool = False
    inherited: bool = False
    report: str | None = None


async def _wanted(
    with_tag: Flag = True,
    with_label: Flag = False,
    with_scan_overview: Flag = False,
    with_sbom_overview: Flag = False,
    with_immutable_status: Flag = False,
    with_accessory: Flag = False,
    with_inherited_accessory: Flag = False,
    x_accept_vulnerabilities: Annotated[str | None, Header(max_length=1024)] = None,
) -> Wanted:
    known = None
    if x_accept_vulnerabilities is not None:
        asked = [part.replace(" ", "") for part in x_accept_vulnerabilities.split(",")]
        # Without one that is known, Harbor takes its own.
        known = next((REPORT_TYPES[part] for part in asked if part in REPORT_TYPES), report.NATIVE)
    return Wanted(
        tag=with_tag,
        label=with_label,
        scan_overview=with_scan_overview,
        sbom_overview=with_sbom_overview,
        immutable=with_immutable_status,
        accessory=with_accessory,
        inherited=with_inherited_accessory,
        report=known,
    )


WantedDep = Annotated[Wanted, Depends(_wanted)]


def label_model(row: LabelRow) -> Label:
    """The API's shape of a label."""
    return Label(
        id=row.id,
        name=row.name,
        description=row.description,
        color=row.color,
        scope="g" if row.project_id is None else "p",
        project_id=row.project_id or 0,
        creation_time=timestamp(row.created_at),
        update_time=timestamp(row.updated_at),
    )


def tag_model(row: TagRow, immutable: bool) -> Tag:
    """The API's shape of a tag."""
    return Tag(
        id=row.id,
        repository_id=row.repository_id,
        artifact_id=row.artifact_id,
        name=row.name,
        push_time=timestamp(row.pushed_at),
        pull_time=timestamp(row.pulled_at) or NEVER,
        immutable=immutable,
    )


def accessory_model(row: ArtifactRow, subject: ArtifactRow) -> Accessory:
    """The API's shape of an accessory of `subject`."""
    return Accessory(
        id=row.id,
        artifact_id=row.id,
        subject_artifact_id=subject.id,
        subject_artifact_digest=subject.digest,
        subject_artifact_repo=subject.repository,
        size=row.size,
        digest=row.digest,
        type=row.accessory_type or "subject.accessory",
        icon=icons.digest_of_kind(row.accessory_type or ""),
        creation_time=timestamp(row.pushed_at),
    )


def artifact_path(repository: str, reference: str) -> str:
    """The artifact's path; slashes of the repository encoded twice, as Harbor's clients expect."""
    project, _, name = repository.partition("/")
    inner = quote(quote(name, safe=""), safe="")
    return f"/api/v2.0/projects/{project}/repositories/{inner}/artifacts/{reference}"


def _links(row: ArtifactRow) -> dict[str, AdditionLink]:
    base = artifact_path(row.repository, row.digest) + "/additions"
    names = list(additions.names(row.kind, row.is_index))
    if row.kind == "IMAGE":
        names.append("vulnerabilities")
    return {name: AdditionLink(href=f"{base}/{name}") for name in names}


# Tags and accessories that are shown of each artifact of a list, and of one alone. Their own lists have all.
_MOST_IN_LIST, _MOST_OF_ONE = 200, 5000


async def models(
    access: Access, db: Db, artifact_service: Artifacts, found: list[ArtifactRow], wanted: Wanted
) -> list[Artifact]:
    """The API's shape of artifacts, with what is wanted of their belongings."""
    found = await artifact_service.complete(found)
    ids = [item.id for item in found]
    most = _MOST_IN_LIST if len(found) > 1 else _MOST_OF_ONE

    def belongings(connection: Connection) -> tuple[Any, ...]:
        rules: dict[int, list[immutability.ImmutabilityRule]] = {}
        if wanted.immutable:
            for project_id in {item.project_id for item in found}:
                rules[project_id] = immutability.rules(connection, project_id)
        shown = [
            hub.Shown(row.id, row.repository_id, row.project_id, row.digest, row.manifest_media_type)
            for row in found
        ]
        return (
            artifacts.tags_of(connection, ids, most) if wanted.tag else {},
            artifacts.labels_of(connection, ids) if wanted.label else {},
            artifacts.accessories_of(connection, found, most) if wanted.accessory else {},
            artifacts.inherited_accessories_of(connection, found, most) if wanted.inherited else {},
            artifacts.references_of(connection, found),
            rules,
            hub.scan_overviews(connection, shown) if wanted.scan_overview else {},
            hub.sbom_overviews(connection, shown) if wanted.sbom_overview else {},
        )

    (
        tags_by,
        labels_by,
        accessories_by,
        inherited_by,
        references_by,
        rules,
        scan_by,
        sbom_by,
    ) = await db.read(belongings)
    result = []
    for item in found:
        result.append(
            Artifact(
                id=item.id,
                type=item.kind,
                media_type=item.media_type,
                manifest_media_type=item.manifest_media_type,
                artifact_type=item.artifact_type or item.config_media_type,
                project_id=item.project_id,
                repository_id=item.repository_id,
                repository_name=item.repository,
                digest=item.digest,
                size=item.size,
                icon=icons.digest_of_kind(item.kind),
                push_time=timestamp(item.pushed_at),
                pull_time=timestamp(item.pulled_at) or NEVER,
                extra_attrs=item.attributes or {},
                annotations=item.annotations,
                references=[
                    ArtifactReference(
                        parent_id=ref.parent_id,
                        child_id=ref.child_id,
                        child_digest=ref.child_digest,
                        platform=ref.platform,
                        annotations=ref.annotations,
                        urls=ref.urls,
                    )
                    for ref in references_by.get(item.id, [])
                ]
                or None,
                tags=[
                    tag_model(
                        tag,
                        immutability.immutable(rules.get(item.project_id, []), item.repository, tag.name),
                    )
                    for tag in tags_by.get(item.id, [])
                ]
                or None,
                addition_links=_links(item),
                labels=[label_model(label) for label in labels_by.get(item.id, [])] or None,
                accessories=[accessory_model(part, item) for part in accessories_by.get(item.id, [])] or None,
                inherited_accessories=[
                    accessory_model(part, subject) for part, subject in inherited_by.get(item.id, [])
                ]
                or None,
                scan_overview=_typed(scan_by.get(item.id), wanted.report),
                sbom_overview=sbom_by.get(item.id),
            )
        )
    return result


def _typed(overview: dict[str, Any] | None, report_type: str | None) -> dict[str, Any] | None:
    """The overview under the type asked for: what it says is the same in each."""
    if overview is None or report_type is None:
        return overview
    return {report_type: next(iter(overview.values()))} if overview else overview


ARTIFACT = "/projects/{project_name}/repositories/{repository_name}/artifacts/{reference}"


async def find(
    access: Access, artifact_service: Artifacts, repository_name: str, reference: str
) -> ArtifactRow:
    """The artifact of a path. Raises ApiError or NotFoundError 404."""
    return await artifact_service.get(full_name(access, repository_name), unquote(reference))
