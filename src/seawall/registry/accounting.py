"""What each project stores, counted exactly.

A project pays once for each blob and manifest that its repositories hold (`project_blobs`), as in Harbor.

A caller that adds or removes a holding changes its row of `project_blobs`, and as the last thing of the
transaction the sum. Pushes to a project without a limit add a row each (`seawall.registry.ledger`).
With a limit the sum is in the project's row of `quotas`. That row is locked only from then to the end of the
commit, so pushes to one project do not wait for each other's round trips. The sum is changed by a difference,
and the limit is part of the same statement: neither can be missed by concurrent pushes.

Order of locks, for everyone: the repository (`repositories.lock`), its links and manifests, `project_blobs`
by project and digest, `quotas` by project.

Near the limit that is not enough: who is refused wants to know the usage, and who comes past 85 % tells the
hooks so in the same transaction. Then the statement does nothing, NearLimitError ends the transaction, and
it is run again with an `exact` account, which locks the row before it asks.
"""

from __future__ import annotations

import functools
import time
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any, Literal

from sqlalchemy import (
    BigInteger,
    Connection,
    and_,
    bindparam,
    cast,
    delete,
    func,
    insert,
    literal,
    or_,
    select,
    union_all,
    update,
)

from seawall.infra.db.batch import changed, keeps, later, rows
from seawall.infra.db.dialect import dialect_of, lock_writers, upsert, upsert_from
from seawall.kernel.errors import RegistryError
from seawall.registry import ledger
from seawall.registry.tables import blobs, manifests, project_blobs, quotas, repositories, repository_blobs

# How a sum is changed: without a look at the limit, held to it, or by a row where there is none.
Way = Literal["free", "held", "shared"]
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


class NearLimitError(Exception):
    """The usage comes past 85 % of the limit or past the limit, or the project has no row yet.

    To be done again with an exact account.
    """


@dataclass(slots=True)
class Account:
    """What one transaction changes of what a project stores.

    `free`: the change is counted but not refused. `exact`: see the module text. `used` and `hard` (bytes; -1:
    no limit) are known once an exact account has been charged.
    """

    project_id: int
    free: bool = False
    exact: bool = False
    # Learns whether the project has a limit.
    limited: ledger.Limited = field(default_factory=ledger.Limited)
    hard: int = UNLIMITED
    used: int = 0
    before: int = 0

    @property
    def warned(self) -> bool:
        """Whether this transaction took the usage past 85 % of a quota that it is held to."""
        threshold = self.hard * _WARN_AT
        return not self.free and self.hard > 0 and self.before < threshold <= self.used


def human(size: int) -> str:
    """Bytes as text: `1.5 MiB`."""
    value = float(size)
    for unit in ("B", "KiB", "MiB", "GiB"):
        if value < 1024:
            return f"{value:.0f} {unit}" if unit == "B" else f"{value:.1f} {unit}"
        value /= 1024
    return f"{value:.1f} TiB"


def charge(connection: Connection, account: Account, digest: str, size: int) -> None:
    """One more holding of `digest` in the project. Raises QuotaExceededError or, later, NearLimitError."""
    if account.exact or not keeps(connection):
        _charge_now(connection, account, digest, size)
        return
    statement = _charging(dialect_of(connection), link=False, way=_way(account))
    _charge_later(connection, statement, _holding(account, digest, size))


def charge_link(
    connection: Connection, account: Account, repository_id: int, digest: str, size: int, now: float
) -> None:
    """Link a blob to a repository; charged unless it is linked already. Raises as `charge`."""
    link = {"b_repository": repository_id, "b_digest": digest, "b_now": now}
    if account.exact or not keeps(connection):
        added = _linking(dialect_of(connection))
        if not changed(connection, _TOUCH, link) and rows(connection, added, link):
            _charge_now(connection, account, digest, size)
        return
    later(connection, _TOUCH, link)
    # A link that another transaction makes meanwhile is waited for in this statement, and is as new.
    statement = _charging(dialect_of(connection), link=True, way=_way(account))
    _charge_later(connection, statement, _holding(account, digest, size) | link)


def _way(account: Account) -> Way:
    if account.free:
        return "free"
    return "held" if account.project_id in account.limited else "shared"


def _holding(account: Account, digest: str, size: int) -> dict[str, Any]:
    return {"b_project": account.project_id, "b_digest": digest, "b_size": size}


def _charge_now(connection: Connection, account: Account, digest: str, size: int) -> None:
    holding = _holding_one(dialect_of(connection))
    if rows(connection, holding, _holding(account, digest, size))[0][0] > 1:
        return
    _lock(connection, account)
    if not account.free and account.hard >= 0 and account.used + size > account.hard:
        raise QuotaExceededError(account.project_id, account.used, account.hard, size)
    _change(connection, account, size)


def _charge_later(connection: Connection, statement: Any, parameters: dict[str, Any]) -> None:
    parameters["b_at"] = time.time()
    later(connection, statement, parameters, last=True, otherwise=NearLimitError())


# The statements of every push, built once (see `batch.Asked`). A parameter must not be called as a column.
_TOUCH = (
    update(repository_blobs)
    .where(
        repository_blobs.c.repository_id == bindparam("b_repository"),
        repository_blobs.c.digest == bindparam("b_digest"),
    )
    .values(touched_at=bindparam("b_now"))
)
_HOLDING = ("project_id", "digest")
_LOCK = (
    select(quotas.c.hard_storage, quotas.c.used_storage)
    .where(quotas.c.project_id == bindparam("b_project"))
    .with_for_update()
)
_CHANGE = (
    update(quotas)
    .where(quotas.c.project_id == bindparam("b_project"))
    .values(used_storage=bindparam("b_used"), updated_at=bindparam("b_at"))
)


@functools.cache
def _linking(dialect: str) -> Any:
    """Links a blob; gives its digest unless it was linked."""
    link: dict[str, Any] = {
        "repository_id": bindparam("b_repository"),
        "digest": bindparam("b_digest"),
        "touched_at": bindparam("b_now"),
    }
    added = upsert(dialect, repository_blobs, link, ["repository_id", "digest"])
    return added.returning(repository_blobs.c.digest)


@functools.cache
def _holding_one(dialect: str) -> Any:
    """Holds a digest once more; gives how often it is held, and its size."""
    one = {
        "project_id": bindparam("b_project"),
        "digest": bindparam("b_digest"),
        "size": bindparam("b_size"),
        "refs": 1,
    }
    holding = upsert(dialect, project_blobs, one, _HOLDING, {"refs": project_blobs.c.refs + 1})
    return holding.returning(project_blobs.c.refs, project_blobs.c.size)


@functools.cache
def _charging(dialect: str, *, link: bool, way: Way) -> Any:
    """Holds a digest once more (with `link`: where it is linked again), and adds what is new to the sum.

    Gives 0 when the limit does not let it, or this is not the way, else 1.
    """
    if link:
        linked = _linking(dialect).cte("linked")
        columns = project_blobs.c
        query = select(
            bindparam("b_project", type_=columns.project_id.type),
            bindparam("b_digest", type_=columns.digest.type),
            bindparam("b_size", type_=columns.size.type),
            literal(1, columns.refs.type),
        ).select_from(linked)
        holding = upsert_from(
            dialect,
            project_blobs,
            ["project_id", "digest", "size", "refs"],
            query,
            _HOLDING,
            {"refs": columns.refs + 1},
        ).returning(columns.refs, columns.size)
    else:
        holding = _holding_one(dialect)
    held = holding.cte("held")
    # A caller that finds a row makes it more than one holding.
    new = select(func.coalesce(func.sum(held.c.size), 0).label("size")).where(held.c.refs == 1).cte("new")
    # Where nothing is new, nothing is counted.
    nothing = select(func.count()).select_from(new).where(new.c.size == 0).scalar_subquery()
    if way == "shared":
        return select(nothing + ledger.adding(new))
    size = cast(new.c.size, BigInteger)
    used, hard = quotas.c.used_storage, quotas.c.hard_storage
    threshold = hard * _WARN_AT
    fits = or_(hard < 0, and_(used + size <= hard, or_(used + size < threshold, used >= threshold)))
    done = (
        update(quotas)
        .where(
            quotas.c.project_id == bindparam("b_project"), new.c.size > 0, *([] if way == "free" else [fits])
        )
        .values(used_storage=used + size, updated_at=bindparam("b_at"))
        .returning(quotas.c.project_id)
        .cte("counted")
    )
    return select(nothing + select(func.count()).select_from(done).scalar_subquery())


def release(connection: Connection, project_id: int, digests: Iterable[str]) -> None:
    """One holding less of each digest; what nothing holds any more is paid for no longer."""
    counts: dict[str, int] = {}
    for digest in digests:
        counts[digest] = counts.get(digest, 0) + 1
    if not counts:
        return
    mine = project_blobs.c.project_id == project_id
    # In one order everywhere, so that no two transactions wait for each other.
    connection.execute(
        update(project_blobs)
        .where(mine, project_blobs.c.digest == bindparam("held"))
        .values(refs=project_blobs.c.refs - bindparam("count")),
        [{"held": digest, "count": counts[digest]} for digest in sorted(counts)],
    )
    names = sorted(counts)
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
        less = update(quotas).where(quotas.c.project_id == project_id)
        less = less.values(used_storage=quotas.c.used_storage - freed, updated_at=time.time())
        later(connection, less, last=True)


def release_all(connection: Connection, held: Mapping[int, Iterable[str]]) -> None:
    """`release` for several projects, in the order of their ids."""
    for project_id in sorted(held):
        release(connection, project_id, held[project_id])


def set_quota(connection: Connection, project_id: int, hard: int) -> None:
    """Allow the project `hard` bytes (-1: any number); usage above it stays, further pushes are refused."""
    _lock(connection, Account(project_id), hard)
    connection.execute(
        update(quotas)
        .where(quotas.c.project_id == project_id)
        .values(hard_storage=hard, updated_at=time.time())
    )


def settle(connection: Connection, project_id: int) -> None:
    """To be called where a limit was written otherwise than by `set_quota`, in the same transaction.

    Waits for the pushes under way that knew no limit, and takes in the project's rows of `quota_changes`.
    """
    _lock(connection, Account(project_id))


def refresh(connection: Connection, project_id: int) -> tuple[int, int]:
    """Count the project again from what its repositories hold; returns (bytes before, bytes now).

    Needed only after instances of a version without quotas have written to the same database.
    """
    # Waits for every transaction that has changed a holding, and holds up new ones until the commit.
    lock_writers(connection, project_blobs)
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
    account = Account(project_id)
    _lock(connection, account)
    _change(connection, account, int(used) - account.used)
    return account.before, account.used


def _lock(connection: Connection, account: Account, default_hard: int = UNLIMITED) -> None:
    """Lock the project's row until commit; a project without one gets `default_hard` bytes."""
    mine = {"b_project": account.project_id}
    found = rows(connection, _LOCK, mine)
    if not found:
        now = time.time()
        first = {
            "project_id": account.project_id,
            "hard_storage": default_hard,
            "created_at": now,
            "updated_at": now,
        }
        connection.execute(upsert(connection, quotas, first, "project_id"))
        found = rows(connection, _LOCK, mine)
    account.hard, account.used = found[0]
    # With SQLite there are rows only where they came from elsewhere, and the next `fold` takes them.
    if dialect_of(connection) == "postgresql" and (more := ledger.take_in(connection, account.project_id)):
        _change(connection, account, more)
    account.before = account.used
    account.limited.learn(account.project_id, account.hard)


def _change(connection: Connection, account: Account, difference: int) -> None:
    account.used += difference
    now = {"b_project": account.project_id, "b_used": account.used, "b_at": time.time()}
    changed(connection, _CHANGE, now)
