"""What each project stores, counted exactly.

A project pays once for each blob and manifest that its repositories hold (`project_blobs`), as in Harbor.
Whoever adds or removes a holding first takes the row lock of the project's quota (`lock`), in the same
transaction; so the changes of one project happen one after the other, and neither the sum nor the limit
can be missed by concurrent pushes. The lock comes before all others, several in the order of project ids,
so that no two transactions wait for each other.
"""

from __future__ import annotations

import time
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any

from sqlalchemy import (
    Connection,
    Row,
    Select,
    bindparam,
    delete,
    func,
    insert,
    literal,
    select,
    union_all,
    update,
)

from seawall.access.views import projects, users
from seawall.infra.db.dialect import upsert
from seawall.infra.db.listing import Field, Fields, Page
from seawall.kernel.errors import RegistryError
from seawall.registry.tables import blobs, manifests, project_blobs, quotas, repositories, repository_blobs

UNLIMITED = -1
_WARN_AT = 0.85


class QuotaExceededError(RegistryError):
    """The project's storage quota does not allow the change (403, like Harbor)."""

    def __init__(self, project_id: int, used: int, hard: int, wanted: int) -> None:
        super().__init__(
            "DENIED",
            f"adding {human(wanted)} of storage to the current usage of {human(used)} "
            f"would exceed the project's quota of {human(hard)}",
            detail={"storage": {"used": used, "hard": hard, "requested": wanted}},
        )
        self.project_id = project_id
        self.used = used
        self.hard = hard
        self.wanted = wanted


@dataclass(slots=True)
class Account:
    """A locked quota: bytes used, and allowed (-1: any number)."""

    project_id: int
    hard: int
    used: int
    before: int

    @property
    def warned(self) -> bool:
        """Whether this transaction took the usage past 85 % of the quota."""
        threshold = self.hard * _WARN_AT
        return self.hard > 0 and self.before < threshold <= self.used


def human(size: int) -> str:
    """Bytes as text: `1.5 MiB`."""
    value = float(size)
    for unit in ("B", "KiB", "MiB", "GiB"):
        if value < 1024:
            return f"{value:.0f} {unit}" if unit == "B" else f"{value:.1f} {unit}"
        value /= 1024
    return f"{value:.1f} TiB"


def lock(
    connection: Connection, project_id: int, default_hard: int = UNLIMITED, *, free: bool = False
) -> Account:
    """Lock the project's quota until commit; a project without one gets `default_hard` bytes.

    `free`: this change is counted but not refused.
    """
    query = (
        select(quotas.c.hard_storage, quotas.c.used_storage)
        .where(quotas.c.project_id == project_id)
        .with_for_update()
    )
    row = connection.execute(query).first()
    if row is None:
        now = time.time()
        first = {
            "project_id": project_id,
            "hard_storage": default_hard,
            "created_at": now,
            "updated_at": now,
        }
        connection.execute(upsert(connection, quotas, first, "project_id"))
        row = connection.execute(query).one()
    return Account(project_id, UNLIMITED if free else row[0], row[1], row[1])


def lock_all(connection: Connection, project_ids: Iterable[int]) -> dict[int, Account]:
    """Lock several projects in the order of their ids."""
    return {item: lock(connection, item) for item in sorted(set(project_ids))}


def charge(connection: Connection, account: Account, digest: str, size: int) -> None:
    """One more holding of `digest` in the project. Raises QuotaExceededError."""
    held = connection.execute(
        update(project_blobs)
        .where(project_blobs.c.project_id == account.project_id, project_blobs.c.digest == digest)
        .values(refs=project_blobs.c.refs + 1)
    ).rowcount
    if held:
        return
    if account.hard >= 0 and account.used + size > account.hard:
        raise QuotaExceededError(account.project_id, account.used, account.hard, size)
    connection.execute(
        insert(project_blobs).values(project_id=account.project_id, digest=digest, size=size, refs=1)
    )
    _change(connection, account, size)


def charge_link(connection: Connection, account: Account, repository_id: int, digest: str, size: int) -> None:
    """A blob is about to be linked to a repository; nothing when it is linked already."""
    linked = connection.execute(
        select(literal(1)).where(
            repository_blobs.c.repository_id == repository_id, repository_blobs.c.digest == digest
        )
    ).first()
    if linked is None:
        charge(connection, account, digest, size)


def release(connection: Connection, account: Account, digests: Iterable[str]) -> None:
    """One holding less of each digest; what nothing holds any more is paid for no longer."""
    counts: dict[str, int] = {}
    for digest in digests:
        counts[digest] = counts.get(digest, 0) + 1
    if not counts:
        return
    mine = project_blobs.c.project_id == account.project_id
    connection.execute(
        update(project_blobs)
        .where(mine, project_blobs.c.digest == bindparam("held"))
        .values(refs=project_blobs.c.refs - bindparam("count")),
        [{"held": digest, "count": count} for digest, count in counts.items()],
    )
    names = list(counts)
    freed = 0
    for start in range(0, len(names), 500):
        freed += sum(
            connection.execute(
                delete(project_blobs)
                .where(
                    mine, project_blobs.c.digest.in_(names[start : start + 500]), project_blobs.c.refs <= 0
                )
                .returning(project_blobs.c.size)
            ).scalars()
        )
    if freed:
        _change(connection, account, -freed)


def set_quota(connection: Connection, project_id: int, hard: int) -> None:
    """Allow the project `hard` bytes (-1: any number); usage above it stays, further pushes are refused."""
    lock(connection, project_id, hard)
    connection.execute(
        update(quotas)
        .where(quotas.c.project_id == project_id)
        .values(hard_storage=hard, updated_at=time.time())
    )


def refresh(connection: Connection, project_id: int) -> tuple[int, int]:
    """Count the project anew from what its repositories hold; returns (bytes before, bytes now).

    Needed only after instances of a version without quotas have written to the same database.
    """
    account = lock(connection, project_id)
    links = (
        select(repository_blobs.c.digest, blobs.c.size)
        .join(repositories, repositories.c.id == repository_blobs.c.repository_id)
        .join(blobs, blobs.c.digest == repository_blobs.c.digest)
        .where(repositories.c.project_id == project_id)
    )
    stored = (
        select(manifests.c.digest, manifests.c.size)
        .join(repositories, repositories.c.id == manifests.c.repository_id)
        .where(repositories.c.project_id == project_id)
    )
    held = union_all(links, stored).subquery()
    connection.execute(delete(project_blobs).where(project_blobs.c.project_id == project_id))
    connection.execute(
        insert(project_blobs).from_select(
            ["project_id", "digest", "size", "refs"],
            select(literal(project_id), held.c.digest, func.max(held.c.size), func.count()).group_by(
                held.c.digest
            ),
        )
    )
    used = connection.execute(
        select(func.coalesce(func.sum(project_blobs.c.size), 0)).where(
            project_blobs.c.project_id == project_id
        )
    ).scalar_one()
    _change(connection, account, int(used) - account.used)
    return account.before, account.used


def _change(connection: Connection, account: Account, difference: int) -> None:
    account.used += difference
    connection.execute(
        update(quotas)
        .where(quotas.c.project_id == account.project_id)
        .values(used_storage=account.used, updated_at=time.time())
    )


_FIELDS: Fields = {
    "id": Field(quotas.c.id, "int"),
    "hard.storage": Field(quotas.c.hard_storage, "int"),
    "used.storage": Field(quotas.c.used_storage, "int"),
    "hard": Field(quotas.c.hard_storage, "int"),
    "used": Field(quotas.c.used_storage, "int"),
    "creation_time": Field(quotas.c.created_at, "time"),
    "update_time": Field(quotas.c.updated_at, "time"),
}


def list_quotas(connection: Connection, project_id: int | None, page: Page) -> tuple[int, list[Row[Any]]]:
    """Quotas of all projects or of one, oldest first.

    A row has id, project_id, hard_storage, used_storage, created_at, updated_at, the project's name, and the
    owner's username.
    """
    query = _quota_query()
    if project_id is not None:
        query = query.where(quotas.c.project_id == project_id)
    return page.fetch(connection, query, _FIELDS, quotas.c.id, key=quotas.c.id)


def quota(connection: Connection, quota_id: int) -> Row[Any] | None:
    """One row of `list_quotas`."""
    return connection.execute(_quota_query().where(quotas.c.id == quota_id)).first()


def quota_of(connection: Connection, project_id: int) -> Row[Any] | None:
    """The project's quota: hard_storage and used_storage in bytes, and the rest of its row."""
    return connection.execute(select(quotas).where(quotas.c.project_id == project_id)).first()


def usage(connection: Connection) -> list[tuple[str, int, int]]:
    """(project, bytes it stores, quota in bytes or -1) of every project, by name."""
    # A project has a quota's row from its first push on, or from when it is given one.
    query = select(
        projects.c.name,
        func.coalesce(quotas.c.used_storage, 0),
        func.coalesce(quotas.c.hard_storage, UNLIMITED),
    )
    query = query.outerjoin(quotas, quotas.c.project_id == projects.c.id).order_by(projects.c.name)
    return [(row[0], row[1], row[2]) for row in connection.execute(query)]


def total_used(connection: Connection) -> int:
    """Bytes that all projects store together."""
    return int(connection.execute(select(func.sum(quotas.c.used_storage))).scalar() or 0)


def _quota_query() -> Select[Any]:
    return (
        select(
            quotas.c.id,
            quotas.c.project_id,
            quotas.c.hard_storage,
            quotas.c.used_storage,
            quotas.c.created_at,
            quotas.c.updated_at,
            projects.c.name,
            users.c.username,
        )
        .join(projects, projects.c.id == quotas.c.project_id)
        .outerjoin(users, users.c.id == projects.c.owner_id)
    )
