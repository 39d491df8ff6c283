"""Artifacts: lists, details, tags, accessories, additions, labels, copies, deletion."""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Annotated, Any
from urllib.parse import quote, unquote

from fastapi import Depends, Header, Path, Query, Response
from pydantic import BaseModel, Field
from sqlalchemy import (
    ColumnElement,
    Connection,
    Select,
    and_,
    delete,
    exists,
    func,
    or_,
    select,
)
from sqlalchemy.dialects import postgresql, sqlite

from seawall.access.access import project_by_name
from seawall.features.immutability import rules as immutability
from seawall.features.preheat.work import LABELED
from seawall.kernel.errors import ConflictError, NotFoundError, RegistryError
from seawall.kernel.names import check_name
from seawall.registry import additions, artifacts, icons, windows
from seawall.registry.artifacts import Artifact as ArtifactRow
from seawall.registry.artifacts import Cursor
from seawall.registry.artifacts import Label as LabelRow
from seawall.registry.artifacts import Tag as TagRow
from seawall.registry.tables import labels, manifest_labels, manifests, repositories, tags
from seawall.web.harbor.deps import (
    Access,
    ApiRouter,
    Id,
    ListingDep,
    named_project_access,
    project_access,
    timestamp,
)
from seawall.web.harbor.errors import ApiError
from seawall.web.harbor.needs import Artifacts, Db, Events
from seawall.web.harbor.query import Condition, Custom, Listing, contains
from seawall.web.harbor.query import Field as QueryField
from seawall.web.harbor.repositories import RepositoryName, full_name

router = ApiRouter(tags=["artifact"])

# What other domains add to artifacts (`scan_overview`, `sbom_overview`): the values by artifact id.
OverviewProvider = Callable[[Connection, Sequence[ArtifactRow]], dict[int, dict[str, Any]]]
OVERVIEWS: dict[str, OverviewProvider] = {}
# Types of vulnerability reports that X-Accept-Vulnerabilities may name, by their names without spaces.
REPORT_TYPES: dict[str, str] = {}

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
        known = next((REPORT_TYPES[part] for part in asked if part in REPORT_TYPES), None)
        if known is None:
            raise ApiError(400, "X-Accept-Vulnerabilities names no known report type")
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


def _tag(row: TagRow, immutable: bool) -> Tag:
    return Tag(
        id=row.id,
        repository_id=row.repository_id,
        artifact_id=row.artifact_id,
        name=row.name,
        push_time=timestamp(row.pushed_at),
        pull_time=timestamp(row.pulled_at) or NEVER,
        immutable=immutable,
    )


def _accessory(row: ArtifactRow, subject: ArtifactRow) -> Accessory:
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


def _path(repository: str, reference: str) -> str:
    """The artifact's path; slashes of the repository encoded twice, as Harbor's clients expect."""
    project, _, name = repository.partition("/")
    inner = quote(quote(name, safe=""), safe="")
    return f"/api/v2.0/projects/{project}/repositories/{inner}/artifacts/{reference}"


def _links(row: ArtifactRow) -> dict[str, AdditionLink]:
    base = _path(row.repository, row.digest) + "/additions"
    names = list(additions.names(row.kind, row.is_index))
    if row.kind == "IMAGE":
        names.append("vulnerabilities")
    return {name: AdditionLink(href=f"{base}/{name}") for name in names}


async def models(
    access: Access, db: Db, artifact_service: Artifacts, found: list[ArtifactRow], wanted: Wanted
) -> list[Artifact]:
    """The API's shape of artifacts, with what is wanted of their belongings."""
    found = await artifact_service.complete(found)
    ids = [item.id for item in found]

    def belongings(connection: Connection) -> tuple[Any, ...]:
        rules: dict[int, list[immutability.Rule]] = {}
        if wanted.immutable:
            for project_id in {item.project_id for item in found}:
                rules[project_id] = immutability.rules(connection, project_id)
        overviews = {
            name: provider(connection, found)
            for name, provider in OVERVIEWS.items()
            if getattr(wanted, name, False)
        }
        return (
            artifacts.tags_of(connection, ids) if wanted.tag else {},
            artifacts.labels_of(connection, ids) if wanted.label else {},
            artifacts.accessories_of(connection, found) if wanted.accessory else {},
            artifacts.inherited_accessories_of(connection, found) if wanted.inherited else {},
            artifacts.references_of(connection, found),
            rules,
            overviews,
        )

    (
        tags_by,
        labels_by,
        accessories_by,
        inherited_by,
        references_by,
        rules,
        overviews,
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
                    _tag(
                        tag,
                        immutability.immutable(rules.get(item.project_id, []), item.repository, tag.name),
                    )
                    for tag in tags_by.get(item.id, [])
                ]
                or None,
                addition_links=_links(item),
                labels=[label_model(label) for label in labels_by.get(item.id, [])] or None,
                accessories=[_accessory(part, item) for part in accessories_by.get(item.id, [])] or None,
                inherited_accessories=[
                    _accessory(part, subject) for part, subject in inherited_by.get(item.id, [])
                ]
                or None,
                scan_overview=_typed(overviews.get("scan_overview", {}).get(item.id), wanted.report),
                sbom_overview=overviews.get("sbom_overview", {}).get(item.id),
            )
        )
    return result


def _typed(overview: dict[str, Any] | None, report_type: str | None) -> dict[str, Any] | None:
    """The overview under the type asked for: what it says is the same in each."""
    if overview is None or report_type is None:
        return overview
    return {report_type: next(iter(overview.values()))} if overview else overview


# -- lists ---------------------------------------------------------------------------------------------


def _tag_condition(condition: Condition) -> ColumnElement[bool]:
    mine = tags.c.manifest_id == manifests.c.id
    if condition.operator == "fuzzy":
        return exists().where(mine, contains(tags.c.name, condition.value))
    if condition.operator == "eq":
        if condition.value == "*":
            return exists().where(mine)
        if condition.value == "nil":
            return ~exists().where(mine)
        return exists().where(mine, tags.c.name == condition.value)
    if condition.operator in ("any", "all"):
        parts = [exists().where(mine, tags.c.name == value) for value in condition.values]
        return or_(*parts) if condition.operator == "any" else and_(*parts)
    raise ApiError(400, "invalid query: tags cannot be given as a range")


def _label_condition(condition: Condition) -> ColumnElement[bool]:
    if condition.operator == "all" or condition.operator == "eq":
        ids = []
        for value in condition.values:
            if not value.isascii() or not value.isdigit() or len(value) > 15:
                raise ApiError(400, "invalid query: labels must be given by their ids: labels=(1 2)")
            ids.append(int(value))
        return and_(
            *(
                exists().where(
                    manifest_labels.c.manifest_id == manifests.c.id, manifest_labels.c.label_id == number
                )
                for number in ids
            )
        )
    raise ApiError(400, "invalid query: labels must be given as labels=(1 2)")


def _base_condition(condition: Condition) -> ColumnElement[bool]:
    if condition.operator != "eq" or condition.value != "*":
        raise ApiError(400, 'invalid query: base can only be "*"')
    return manifests.c.id.is_not(None)


FIELDS: dict[str, QueryField | Custom] = {
    "id": QueryField(manifests.c.id, "int"),
    "digest": QueryField(manifests.c.digest),
    "type": QueryField(manifests.c.kind),
    "media_type": QueryField(func.coalesce(manifests.c.config_media_type, manifests.c.media_type)),
    "manifest_media_type": QueryField(manifests.c.media_type),
    "artifact_type": QueryField(func.coalesce(manifests.c.artifact_type, manifests.c.config_media_type)),
    "repository_name": QueryField(repositories.c.name),
    "size": QueryField(manifests.c.total_size, "int"),
    "push_time": QueryField(manifests.c.pushed_at, "time"),
    "pull_time": QueryField(manifests.c.pulled_at, "time"),
    "tags": _tag_condition,
    "labels": _label_condition,
    "base": _base_condition,
}
After = Annotated[str | None, Query(max_length=64)]


async def _page(
    access: Access, db: Db, page: Listing, scope: tuple[str, int], after: str | None, latest: bool = False
) -> list[ArtifactRow]:
    cursor = Cursor.parse(after) if after else None
    known = [item for item in page.conditions if item.key in FIELDS]
    by_time = not latest and page.sort in ([], [("push_time", True)])
    # All artifacts, or all of a type: their numbers are kept.
    one = known[0] if len(known) == 1 else None
    kind = one.value if one and (one.key, one.operator) == ("type", "eq") else None
    plain = by_time and (not known or kind is not None)

    def run(connection: Connection) -> tuple[int, list[ArtifactRow]]:
        if plain:
            total = windows.count(connection, scope, kind) if kind else _total(connection, scope)
            return total, artifacts.page(
                connection, scope, limit=page.size, offset=page.offset, after=cursor, total=total, kind=kind
            )
        query = artifacts.artifacts().where(manifests.c[scope[0]] == scope[1])
        if page.condition("base") is None:
            query = query.where(manifests.c.listed.is_(True))
        query = page.filter(query, FIELDS)
        if latest:
            query = _latest(query)
        if by_time and cursor is not None and cursor.total is not None:
            total = cursor.total
        else:
            total = connection.execute(
                select(func.count()).select_from(query.with_only_columns(manifests.c.id).subquery())
            ).scalar_one()
        ordered = page.order(query, FIELDS, *artifacts.NEWEST_FIRST)
        if by_time and cursor is not None:
            part = ordered.where(artifacts.before_cursor(cursor)).limit(page.size)
        else:
            part = page.slice(ordered)
        return total, [ArtifactRow(*row) for row in connection.execute(part)]

    total, found = await db.read(run)
    following = None
    if by_time and found:
        following = str(Cursor(found[-1].pushed_at, found[-1].id, None if plain else total))
    page.total(total, following)
    return found


def _total(connection: Connection, scope: tuple[str, int]) -> int:
    """How many artifacts are listed, from the counts kept with repositories."""
    column = repositories.c.id if scope[0] == "repository_id" else repositories.c.project_id
    return int(
        connection.execute(
            select(func.coalesce(func.sum(repositories.c.artifact_count), 0)).where(column == scope[1])
        ).scalar_one()
    )


def _latest(query: Select[Any]) -> Select[Any]:
    """Of each repository only the artifact that was pushed last."""
    newer = manifests.alias("newer")
    return query.where(
        ~exists().where(
            newer.c.repository_id == manifests.c.repository_id,
            newer.c.listed.is_(True),
            or_(
                newer.c.pushed_at > manifests.c.pushed_at,
                and_(newer.c.pushed_at == manifests.c.pushed_at, newer.c.id > manifests.c.id),
            ),
        )
    )


@router.get("/projects/{project_name}/repositories/{repository_name}/artifacts")
async def list_artifacts(
    repository_name: RepositoryName,
    access: Annotated[Access, named_project_access("artifact", "list")],
    db: Db,
    artifact_service: Artifacts,
    page: ListingDep,
    wanted: WantedDep,
    after: After = None,
) -> list[Artifact]:
    """Artifacts of a repository, newest push first. `after` comes with the link to the next page."""
    name = full_name(access, repository_name)
    repository = await artifact_service.repository(name)
    found = await _page(access, db, page, ("repository_id", repository.id), after)
    return await models(access, db, artifact_service, found, wanted)


@router.get("/projects/{project_name_or_id}/artifacts")
async def list_artifacts_of_project(
    access: Annotated[Access, project_access("artifact", "list")],
    db: Db,
    artifact_service: Artifacts,
    page: ListingDep,
    wanted: WantedDep,
    after: After = None,
    latest_in_repository: Flag = False,
) -> list[Artifact]:
    """Artifacts of a project, newest push first; `latest_in_repository`: one of each repository."""
    found = await _page(access, db, page, ("project_id", access.project.id), after, latest_in_repository)
    return await models(access, db, artifact_service, found, wanted)


# -- one artifact --------------------------------------------------------------------------------------

_ARTIFACT = "/projects/{project_name}/repositories/{repository_name}/artifacts/{reference}"


async def find(
    access: Access, artifact_service: Artifacts, repository_name: str, reference: str
) -> ArtifactRow:
    """The artifact of a path. Raises ApiError or NotFoundError 404."""
    return await artifact_service.get(full_name(access, repository_name), unquote(reference))


@router.post("/projects/{project_name}/repositories/{repository_name}/artifacts", status_code=201)
async def copy_artifact(
    repository_name: RepositoryName,
    access: Annotated[Access, named_project_access("artifact", "create")],
    db: Db,
    artifact_service: Artifacts,
    source: Annotated[str, Query(alias="from", max_length=700)],
) -> Response:
    """Copy an artifact here, from `project/repository:tag` or `project/repository@digest`."""
    target = full_name(access, repository_name)
    if access.project.registry_id:
        raise ApiError(405, "a proxy cache project takes no pushes")
    name, reference = _parse_source(source)
    project = await db.point(lambda c: project_by_name(c, name.partition("/")[0]))
    if project is None:
        # Whether a project exists is told to administrators only.
        raise ApiError(404, f"repository {name} not found") if access.principal.sysadmin else access.refusal()
    await access.require("artifact", "read", project)
    digest = await artifact_service.copy(name, reference, target)
    access.audited("copy", "artifact", f"{target}@{digest}", f"copy {source} to {target}", access.project.id)
    return Response(status_code=201, headers={"Location": _path(target, digest)})


def _parse_source(text: str) -> tuple[str, str]:
    name, at, digest = text.partition("@")
    reference = digest
    if not at:
        name, _, reference = text.rpartition(":")
    try:
        check_name(name)
    except RegistryError:
        raise ApiError(400, "from must be project/repository:tag or project/repository@digest") from None
    return name, reference


@router.get(_ARTIFACT)
async def get_artifact(
    repository_name: RepositoryName,
    reference: Reference,
    access: Annotated[Access, named_project_access("artifact", "read")],
    db: Db,
    artifact_service: Artifacts,
    wanted: WantedDep,
    unused_page: Annotated[int, Query(alias="page", ge=1, le=2**40)] = 1,
    unused_page_size: Annotated[int, Query(alias="page_size", ge=0, le=100)] = 10,
    unused_with_signature: Annotated[bool, Query(alias="with_signature")] = False,
) -> Artifact:
    """One artifact, by tag or digest. `page`, `page_size` and `with_signature` are Harbor's, where too they
    have no effect."""
    found = await find(access, artifact_service, repository_name, reference)
    return (await models(access, db, artifact_service, [found], wanted))[0]


@router.delete(_ARTIFACT)
async def delete_artifact(
    repository_name: RepositoryName,
    reference: Reference,
    access: Annotated[Access, named_project_access("artifact", "delete")],
    artifact_service: Artifacts,
) -> Response:
    """Delete an artifact with its tags, accessories and children; 412 for immutable tags and children."""
    name = full_name(access, repository_name)
    access.recorded = True
    await artifact_service.delete(name, unquote(reference))
    return Response()


@router.get(f"{_ARTIFACT}/tags")
async def list_tags(
    repository_name: RepositoryName,
    reference: Reference,
    access: Annotated[Access, named_project_access("tag", "list")],
    db: Db,
    artifact_service: Artifacts,
    page: ListingDep,
    with_immutable_status: Flag = False,
) -> list[Tag]:
    """Tags of an artifact, newest first."""
    found = await find(access, artifact_service, repository_name, reference)
    fields: dict[str, QueryField | Custom] = {
        "name": QueryField(tags.c.name),
        "artifact_id": QueryField(tags.c.manifest_id, "int"),
        "repository_id": QueryField(tags.c.repository_id, "int"),
        "push_time": QueryField(tags.c.pushed_at, "time"),
        "pull_time": QueryField(tags.c.pulled_at, "time"),
    }

    def run(connection: Connection) -> tuple[int, list[Tag]]:
        query = page.filter(select(*artifacts.TAG_COLUMNS).where(tags.c.manifest_id == found.id), fields)
        total = connection.execute(select(func.count()).select_from(query.subquery())).scalar_one()
        rules = immutability.rules(connection, found.project_id) if with_immutable_status else []
        ordered = page.order(query, fields, tags.c.pushed_at.desc(), tags.c.name)
        return total, [
            _tag(TagRow(*row), immutability.immutable(rules, found.repository, row[2]))
            for row in connection.execute(page.slice(ordered))
        ]

    total, result = await db.read(run)
    page.total(total)
    return result


@router.post(f"{_ARTIFACT}/tags", status_code=201)
async def create_tag(
    repository_name: RepositoryName,
    reference: Reference,
    body: Tag,
    access: Annotated[Access, named_project_access("tag", "create")],
    artifact_service: Artifacts,
) -> Response:
    """Give the artifact one more tag; 409 when the repository has that tag already."""
    name = full_name(access, repository_name)
    if access.project.registry_id:
        raise ApiError(405, "a proxy cache project takes no pushes")
    tag = body.name or ""
    await artifact_service.create_tag(name, unquote(reference), tag)
    access.audited("create", "tag", f"{name}:{tag}", f"tag {name}:{tag}", access.project.id)
    return Response(status_code=201, headers={"Location": f"{_path(name, unquote(reference))}/tags/{tag}"})


@router.delete(f"{_ARTIFACT}/tags/{{tag_name}}")
async def delete_tag(
    repository_name: RepositoryName,
    reference: Reference,
    tag_name: Annotated[str, Path(max_length=255)],
    access: Annotated[Access, named_project_access("tag", "delete")],
    artifact_service: Artifacts,
) -> Response:
    """Take a tag from the artifact; 412 when it is immutable."""
    name = full_name(access, repository_name)
    tag = unquote(tag_name)
    access.recorded = True
    await artifact_service.delete_tag(name, unquote(reference), tag)
    return Response()


@router.get(f"{_ARTIFACT}/accessories")
async def list_accessories(
    repository_name: RepositoryName,
    reference: Reference,
    access: Annotated[Access, named_project_access("accessory", "list")],
    db: Db,
    artifact_service: Artifacts,
    page: ListingDep,
) -> list[Accessory]:
    """Signatures, SBOMs and other referrers of an artifact."""
    found = await find(access, artifact_service, repository_name, reference)
    fields: dict[str, QueryField | Custom] = {
        "id": QueryField(manifests.c.id, "int"),
        "type": QueryField(manifests.c.accessory_type),
        "digest": QueryField(manifests.c.digest),
        "size": QueryField(manifests.c.total_size, "int"),
        "creation_time": QueryField(manifests.c.pushed_at, "time"),
    }

    def run(connection: Connection) -> tuple[int, list[Accessory]]:
        query = page.filter(
            artifacts.artifacts().where(
                manifests.c.repository_id == found.repository_id, manifests.c.accessory_of == found.digest
            ),
            fields,
        )
        total = connection.execute(
            select(func.count()).select_from(query.with_only_columns(manifests.c.id).subquery())
        ).scalar_one()
        ordered = page.slice(page.order(query, fields, manifests.c.id))
        return total, [_accessory(ArtifactRow(*row), found) for row in connection.execute(ordered)]

    total, result = await db.read(run)
    page.total(total)
    return result


@router.get(f"{_ARTIFACT}/additions/{{addition}}", response_class=Response)
async def get_addition(
    repository_name: RepositoryName,
    reference: Reference,
    addition: Annotated[str, Path(max_length=64)],
    access: Annotated[Access, named_project_access("artifact-addition", "read")],
    artifact_service: Artifacts,
) -> Response:
    """build_history of an image; values.yaml, readme.md and dependencies of a Helm chart."""
    found = await find(access, artifact_service, repository_name, reference)
    media_type, content = await artifact_service.addition(found, addition)
    # What a pusher wrote must not become a page of this origin.
    headers = {"Content-Disposition": "attachment", "X-Content-Type-Options": "nosniff"}
    return Response(content, media_type=media_type, headers=headers)


@router.post(f"{_ARTIFACT}/labels")
async def add_label(
    repository_name: RepositoryName,
    reference: Reference,
    body: Label,
    access: Annotated[Access, named_project_access("artifact-label", "create")],
    db: Db,
    artifact_service: Artifacts,
    events: Events,
) -> Response:
    """Put a label on the artifact: a global one or one of the project."""
    found = await find(access, artifact_service, repository_name, reference)
    label_id = body.id or 0

    def run(connection: Connection) -> None:
        row = connection.execute(select(labels.c.project_id).where(labels.c.id == label_id)).first()
        if row is None or row[0] not in (None, found.project_id):
            raise NotFoundError(f"label {label_id} not found")
        dialect = sqlite if connection.dialect.name == "sqlite" else postgresql
        made = connection.execute(
            dialect.insert(manifest_labels)
            .values(manifest_id=found.id, label_id=label_id, created_at=time.time())
            .on_conflict_do_nothing(index_elements=["manifest_id", "label_id"])
            .returning(manifest_labels.c.label_id)
        ).first()
        if made is None:
            raise ConflictError(f"the artifact has label {label_id} already")
        data = {
            "project_id": found.project_id,
            "repository": found.repository,
            "resources": [{"digest": found.digest}],
        }
        events.record(connection, LABELED, data)

    await db.write(run)
    resource = f"{found.repository}@{found.digest}"
    access.audited(
        "create", "artifact_label", resource, f"label {resource} with {label_id}", found.project_id
    )
    return Response()


@router.delete(f"{_ARTIFACT}/labels/{{label_id}}")
async def remove_label(
    repository_name: RepositoryName,
    reference: Reference,
    label_id: Id,
    access: Annotated[Access, named_project_access("artifact-label", "delete")],
    db: Db,
    artifact_service: Artifacts,
) -> Response:
    """Take a label off the artifact."""
    found = await find(access, artifact_service, repository_name, reference)
    removed = await db.write(
        lambda c: (
            c.execute(
                delete(manifest_labels).where(
                    manifest_labels.c.manifest_id == found.id, manifest_labels.c.label_id == label_id
                )
            ).rowcount
        )
    )
    if not removed:
        raise NotFoundError(f"the artifact does not have label {label_id}")
    resource = f"{found.repository}@{found.digest}"
    access.audited("delete", "artifact_label", resource, f"unlabel {resource}", found.project_id)
    return Response()
