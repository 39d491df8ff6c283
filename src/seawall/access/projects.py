"""Projects: making, changing, deleting, and their metadata."""

from __future__ import annotations

import re
import time
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import re2
from sqlalchemy import (
    ColumnElement,
    Connection,
    Select,
    bindparam,
    delete,
    exists,
    false,
    insert,
    literal_column,
    or_,
    select,
    update,
)
from sqlalchemy.exc import IntegrityError

from seawall.access.access import PROJECT_COLUMNS, Project, visible
from seawall.access.principal import Principal
from seawall.access.tables import cve_allowlists, project_members, project_metadata, projects, users
from seawall.infra.db.dialect import upsert
from seawall.infra.db.listing import Field, Fields, Page, contains
from seawall.kernel import globs
from seawall.kernel.errors import ConflictError, InvalidError, NotFoundError
from seawall.kernel.names import check_project_name

_BOOLEANS = frozenset(
    {
        "public",
        "enable_content_trust",
        "enable_content_trust_cosign",
        "prevent_vul",
        "auto_scan",
        "auto_sbom_generation",
        "reuse_sys_cve_allowlist",
        "proxy_cache_local_on_not_found",
        "proxy_cache_warm",
        "proxy_referrer_api",
    }
)
# Those that hold back what is pulled.
GATES = ("enable_content_trust", "enable_content_trust_cosign", "prevent_vul")
_SEVERITIES = ("none", "low", "medium", "high", "critical")
_NUMBERS = frozenset({"proxy_speed_kb", "max_upstream_conn"})
_TEXTS = frozenset({"proxy_cache_filter_pattern", "proxy_cache_filter_kind"})
# See `seawall.registry.virtual`.
_VIRTUAL = frozenset({"virtual_members", "virtual_order"})
_MOST_MEMBERS = 20
# Every metadata name that can be set; the API shows `retention_id` too, from the retention policy.
METADATA = _BOOLEANS | _NUMBERS | _TEXTS | _VIRTUAL | {"severity"}


@dataclass(frozen=True, slots=True)
class Details:
    """A project with its owner and metadata."""

    project: Project
    owner_name: str
    metadata: dict[str, str] = field(default_factory=dict)


def check_metadata(name: str, value: str) -> str:
    """The value as it is stored. Raises InvalidError."""
    if name not in METADATA:
        raise InvalidError(f"unknown project metadata: {name[:100]}")
    if name in _BOOLEANS:
        # As Go's strconv.ParseBool reads them, and so Harbor.
        if value.lower() not in ("true", "t", "1", "false", "f", "0"):
            raise InvalidError(f"{name} must be true or false")
        return "true" if value.lower() in ("true", "t", "1") else "false"
    if name == "severity":
        value = value.lower() or "none"
        if value not in _SEVERITIES:
            raise InvalidError(f"severity must be one of {', '.join(_SEVERITIES)}")
        return value
    if name in _NUMBERS and not re.fullmatch(r"-1|\d{1,9}", value):
        raise InvalidError(f"{name} must be a number or -1")
    if name == "proxy_cache_filter_kind" and value not in ("", "doublestar", "regex"):
        raise InvalidError("proxy_cache_filter_kind must be doublestar or regex")
    if name == "virtual_members":
        return ",".join(_members(value))
    if name == "virtual_order" and value not in ("", "first", "newest"):
        raise InvalidError("virtual_order must be first or newest")
    if len(value) > 1024:
        raise InvalidError(f"{name} has more than 1024 characters")
    return value


def names_in(value: str) -> list[str]:
    """The names of projects in a value that has them with commas."""
    return [name for item in value.split(",") if (name := item.strip())]


def _members(value: str) -> list[str]:
    names = names_in(value)
    if len(names) > _MOST_MEMBERS:
        raise InvalidError(f"virtual_members has more than {_MOST_MEMBERS} projects")
    if len(set(names)) != len(names):
        raise InvalidError("virtual_members has a project more than once")
    for name in names:
        check_project_name(name)
    return names


def _check_filter(values: Mapping[str, str]) -> None:
    """Raise InvalidError for a proxy-cache project's wrong filter; `values`: all metadata."""
    pattern = values.get("proxy_cache_filter_pattern", "").strip()
    if not pattern:
        return
    if values.get("proxy_cache_filter_kind") != "regex":
        globs.check(pattern)
        return
    try:
        re2.compile(pattern)
    except re2.error:
        raise InvalidError("proxy_cache_filter_pattern is not a regular expression (RE2)") from None


def create(
    connection: Connection,
    name: str,
    *,
    owner: int | None,
    metadata: Mapping[str, str],
    registry_id: int | None = None,
) -> int:
    """Make a project and return its id; `owner` becomes its first project admin.

    `seawall.registry.projects.create` also gives it a quota. Raises InvalidError or ConflictError.
    """
    check_project_name(name)
    values = {key: check_metadata(key, value) for key, value in metadata.items()}
    _check_filter(values)
    if connection.execute(select(projects.c.id).where(projects.c.name == name)).first():
        raise ConflictError(f"project {name} exists")
    now = time.time()
    row = {
        "name": name,
        "public": values.pop("public", "false") == "true",
        "owner_id": owner,
        "registry_id": registry_id,
        "created_at": now,
        "updated_at": now,
    }
    try:
        made = connection.execute(insert(projects).values(row)).inserted_primary_key
    except IntegrityError:
        # Another request made it since the look above.
        raise ConflictError(f"project {name} exists") from None
    assert made is not None
    project_id = int(made[0])
    for key, value in values.items():
        connection.execute(insert(project_metadata).values(project_id=project_id, name=key, value=value))
    if owner is not None:
        connection.execute(
            insert(project_members).values(project_id=project_id, user_id=owner, role="projectAdmin")
        )
    return project_id


def metadata_of(connection: Connection, project: Project) -> dict[str, str]:
    """Every metadata value of the project."""
    return _metadata(connection, [project])[project.id]


def settings_of(connection: Connection, project_id: int) -> dict[str, str]:
    """The stored metadata values of a project by its id; "public" is not among them."""
    rows = connection.execute(SETTINGS, {"b_project": project_id})
    return {row[0]: row[1] for row in rows}


# (name, value) of a project's stored metadata values.
SETTINGS = select(project_metadata.c.name, project_metadata.c.value).where(
    project_metadata.c.project_id == bindparam("b_project")
)


def settings_of_each(
    connection: Connection, names: Collection[str], wanted: Collection[str]
) -> dict[str, tuple[int, dict[str, str]]]:
    """Project name -> (id, its metadata values among `wanted`), without those that have none; one query."""
    query = (
        select(projects.c.name, project_metadata.c.name, project_metadata.c.value, projects.c.id)
        .join(projects, projects.c.id == project_metadata.c.project_id)
        .where(projects.c.name.in_(names), project_metadata.c.name.in_(wanted))
    )
    found: dict[str, tuple[int, dict[str, str]]] = {}
    for project, name, value, identifier in connection.execute(query):
        found.setdefault(project, (identifier, {}))[1][name] = value
    return found


def holds_back(project_id: ColumnElement[int], policies: Sequence[str]) -> ColumnElement[bool]:
    """Whether one of some settings of a project is "true"; `policies`: their names, which must be plain."""
    if not policies:
        return false()
    # Not a list of parameters, which would be made again for each execution.
    named: list[ColumnElement[bool]] = [
        project_metadata.c.name == literal_column(f"'{name}'") for name in policies
    ]
    mine = project_metadata.c.project_id == project_id
    return exists().where(mine, or_(*named), project_metadata.c.value == literal_column("'true'"))


def values_of(connection: Connection, name: str) -> dict[str, str]:
    """The values of one name of metadata, by project, in the order of the projects' names."""
    query = (
        select(projects.c.name, project_metadata.c.value)
        .join(projects, projects.c.id == project_metadata.c.project_id)
        .where(project_metadata.c.name == name)
        .order_by(projects.c.name)
    )
    return {row[0]: row[1] for row in connection.execute(query)}


def ids_of(connection: Connection, names: Collection[str]) -> dict[str, int]:
    """Project name -> id of those that exist."""
    query = select(projects.c.name, projects.c.id).where(projects.c.name.in_(names))
    return {row[0]: row[1] for row in connection.execute(query)}


def id_of(connection: Connection, name: str) -> int:
    """The project's id. Raises NotFoundError."""
    found = ids_of(connection, [name]).get(name)
    if found is None:
        raise NotFoundError(f"project {name} not found")
    return found


def all_names(connection: Connection) -> dict[int, str]:
    """Id -> name of every project, by id."""
    query = select(projects.c.id, projects.c.name).order_by(projects.c.id)
    return {row[0]: row[1] for row in connection.execute(query)}


def using_registry(connection: Connection, registry_id: int) -> str | None:
    """The name of a proxy-cache project of that registry."""
    query = select(projects.c.name).where(projects.c.registry_id == registry_id).limit(1)
    return connection.execute(query).scalar()


def ensure_public(connection: Connection, name: str) -> None:
    """Make a public project unless there is one of that name; only sensible without authentication."""
    now = time.time()
    row = {"name": name, "public": True, "created_at": now, "updated_at": now}
    connection.execute(upsert(connection, projects, row, ["name"], None))


def _metadata(connection: Connection, found: list[Project]) -> dict[int, dict[str, str]]:
    ids = [project.id for project in found]
    result = {project.id: {"public": "true" if project.public else "false"} for project in found}
    rows = connection.execute(select(project_metadata).where(project_metadata.c.project_id.in_(ids)))
    for row in rows:
        result[row.project_id][row.name] = row.value
    return result


def set_metadata(connection: Connection, project: Project, values: Mapping[str, str]) -> None:
    """Set metadata values. Raises InvalidError."""
    if _TEXTS & values.keys():
        _check_filter({**metadata_of(connection, project), **values})
    for name, value in values.items():
        checked = check_metadata(name, value)
        if name == "public":
            connection.execute(
                update(projects).where(projects.c.id == project.id).values(public=checked == "true")
            )
            continue
        delete_metadata(connection, project.id, name)
        connection.execute(insert(project_metadata).values(project_id=project.id, name=name, value=checked))
    connection.execute(update(projects).where(projects.c.id == project.id).values(updated_at=time.time()))


def delete_metadata(connection: Connection, project_id: int, name: str) -> bool:
    """Remove one value; False when it was not set."""
    gone = connection.execute(
        delete(project_metadata).where(
            project_metadata.c.project_id == project_id, project_metadata.c.name == name
        )
    )
    return bool(gone.rowcount)


def details(connection: Connection, found: list[Project]) -> list[Details]:
    """Owners and metadata of the projects."""
    owners = {project.owner_id for project in found if project.owner_id is not None}
    names: dict[int, str] = dict(
        connection.execute(select(users.c.id, users.c.username).where(users.c.id.in_(owners))).tuples().all()
    )
    metadata = _metadata(connection, found)
    return [Details(p, names.get(p.owner_id or 0, ""), metadata[p.id]) for p in found]


def lock(connection: Connection, project: Project) -> None:
    """Hold the project as it is until the transaction ends. Raises NotFoundError."""
    locked = connection.execute(
        select(projects.c.id).where(projects.c.id == project.id).with_for_update()
    ).first()
    if locked is None:
        raise NotFoundError(f"project {project.name} not found")


def remove(connection: Connection, project: Project) -> None:
    """Delete the project and all that belongs to it, its repositories too (foreign keys)."""
    connection.execute(delete(projects).where(projects.c.id == project.id))


def allowlist(connection: Connection, project_id: int | None) -> dict[str, Any]:
    """The CVE allowlist of a project, or (None) of the system: id, expires_at, items (CVE ids), times."""
    row = connection.execute(select(cve_allowlists).where(_of(project_id))).first()
    if row is None:
        return {
            "id": 0,
            "project_id": project_id or 0,
            "expires_at": None,
            "items": [],
            "created_at": None,
            "updated_at": None,
        }
    return {
        "id": row.id,
        "project_id": project_id or 0,
        "expires_at": row.expires_at,
        "items": list(row._mapping["items"]),
        "created_at": row.created_at,
        "updated_at": row.updated_at,
    }


def set_allowlist(
    connection: Connection, project_id: int | None, items: list[str], expires_at: int | None
) -> None:
    """Replace the CVE allowlist. `expires_at` is in Unix seconds, None for never. Raises InvalidError."""
    for item in items:
        if not re.fullmatch(r"[A-Za-z0-9][A-Za-z0-9._:-]{1,63}", item):
            raise InvalidError(f"{item[:64]!r} is not a CVE id")
    if len(set(items)) != len(items):
        raise InvalidError("a CVE id is given more than once")
    if len(items) > 10000:
        raise InvalidError("an allowlist has at most 10000 items")
    now = time.time()
    values = {"items": items, "expires_at": expires_at, "updated_at": now}
    if not connection.execute(update(cve_allowlists).where(_of(project_id)).values(values)).rowcount:
        connection.execute(insert(cve_allowlists).values(project_id=project_id, created_at=now, **values))


def allowed_cves(connection: Connection, project: Project, now: float) -> frozenset[str]:
    """CVE ids that the project lets pass: of its own list or, when it says so (the default), the system's."""
    own = connection.execute(
        select(project_metadata.c.value).where(
            project_metadata.c.project_id == project.id, project_metadata.c.name == "reuse_sys_cve_allowlist"
        )
    ).scalar()
    found = allowlist(connection, project.id if own == "false" else None)
    expired = found["expires_at"] is not None and 0 < found["expires_at"] <= now
    return frozenset() if expired else frozenset(found["items"])


def _of(project_id: int | None) -> ColumnElement[bool]:
    if project_id is None:
        return cve_allowlists.c.project_id.is_(None)
    return cve_allowlists.c.project_id == project_id


def base_query() -> Select[Any]:
    """Columns of `Project`, to be filtered and sorted."""
    return select(*PROJECT_COLUMNS)


_FIELDS: Fields = {
    "name": Field(projects.c.name),
    "public": Field(projects.c.public, "bool"),
    "project_id": Field(projects.c.id, "int"),
    "owner_id": Field(projects.c.owner_id, "int"),
    "creation_time": Field(projects.c.created_at, "time"),
    "update_time": Field(projects.c.updated_at, "time"),
}


def list_projects(
    connection: Connection,
    principal: Principal,
    page: Page,
    *,
    name_part: str | None = None,
    public: bool | None = None,
    owner: str | None = None,
) -> tuple[int, list[Project]]:
    """Projects that the principal may see, by name; `owner` is a user's name."""
    query = base_query()
    if name_part is not None:
        query = query.where(contains(projects.c.name, name_part))
    if public is not None:
        query = query.where(projects.c.public.is_(public))
    if owner is not None:
        query = query.where(projects.c.owner_id.in_(select(users.c.id).where(users.c.username == owner)))
    seen = visible(principal)
    if seen is not None:
        query = query.where(projects.c.id.in_(seen))
    total, rows = page.fetch(connection, query, _FIELDS, projects.c.name)
    return total, [Project(*row) for row in rows]


def search(connection: Connection, principal: Principal, name_part: str, limit: int) -> list[Project]:
    """Up to `limit` projects that the principal may see and whose name contains `name_part`, by name."""
    query = base_query().where(contains(projects.c.name, name_part))
    seen = visible(principal)
    if seen is not None:
        query = query.where(projects.c.id.in_(seen))
    return [Project(*row) for row in connection.execute(query.order_by(projects.c.name).limit(limit))]
