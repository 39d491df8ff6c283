"""Webhook policies and the record of their deliveries."""

from __future__ import annotations

import time
from collections.abc import Collection
from dataclasses import asdict, dataclass
from typing import Any

from sqlalchemy import Connection, Select, delete, func, insert, select, update
from sqlalchemy.exc import IntegrityError

from seawall.features.webhooks.guard import check_url
from seawall.features.webhooks.payload import DEFAULT, EVENT_TYPES, FORMATS, TARGET_TYPES
from seawall.features.webhooks.tables import webhook_deliveries, webhook_policies
from seawall.infra.db.listing import Field, Fields, Page
from seawall.infra.secrets.keyring import KeyRing
from seawall.kernel.errors import ConflictError, InvalidError, NotFoundError

PURPOSE = "webhook"
POLICY_LIMIT = 100
TARGET_LIMIT = 10


@dataclass(frozen=True, slots=True)
class Target:
    """Where a policy's events go; `secret` is the sealed value of its Authorization header."""

    target_type: str
    address: str
    secret: str | None
    skip_verify: bool
    payload_format: str


@dataclass(frozen=True, slots=True)
class WebhookPolicy:
    """One policy. `more_targets` are those after the first, as the database keeps them."""

    id: int
    project_id: int
    name: str
    description: str
    target_type: str
    address: str
    secret: str | None
    skip_verify: bool
    payload_format: str
    event_types: list[str]
    creator: str
    enabled: bool
    created_at: float
    updated_at: float
    more_targets: list[dict[str, Any]] | None

    @property
    def targets(self) -> list[Target]:
        """All targets, in the order in which they were given."""
        first = Target(self.target_type, self.address, self.secret, self.skip_verify, self.payload_format)
        return [first, *(Target(**item) for item in self.more_targets or ())]


@dataclass(frozen=True, slots=True)
class WantedTarget:
    """A target as a client asks for it. `auth_header` None keeps the one stored for the same address."""

    target_type: str
    address: str
    auth_header: str | None
    skip_verify: bool
    payload_format: str


@dataclass(frozen=True, slots=True)
class Wanted:
    """A policy as a client asks for it."""

    name: str
    description: str
    targets: tuple[WantedTarget, ...]
    event_types: list[str]
    enabled: bool


@dataclass(frozen=True, slots=True)
class Delivery:
    """One event for one target (by its place) of a policy. `status`: pending, running, success, error."""

    id: int
    policy_id: int
    event: str
    event_type: str
    data: dict[str, Any]
    status: str
    attempts: int
    log: str
    job_id: str | None
    created_at: float
    updated_at: float
    ended_at: float | None
    target: int


_POLICY = tuple(
    webhook_policies.c[name]
    for name in (
        "id", "project_id", "name", "description", "target_type", "address", "secret", "skip_verify",
        "payload_format", "event_types", "creator", "enabled", "created_at", "updated_at",
        "more_targets",
    )
)  # fmt: skip
_DELIVERY = tuple(
    webhook_deliveries.c[name]
    for name in (
        "id", "policy_id", "event", "event_type", "data", "status", "attempts", "log", "job_id",
        "created_at", "updated_at", "ended_at", "target",
    )
)  # fmt: skip


def policies() -> Select[Any]:
    """A query of policies; its rows make `WebhookPolicy(*row)`."""
    return select(*_POLICY)


def deliveries() -> Select[Any]:
    """A query of deliveries; its rows make `Delivery(*row)`."""
    return select(*_DELIVERY)


def get(connection: Connection, project_id: int, policy_id: int) -> WebhookPolicy:
    """One policy of the project. Raises NotFoundError."""
    row = connection.execute(
        policies().where(webhook_policies.c.project_id == project_id, webhook_policies.c.id == policy_id)
    ).first()
    if row is None:
        raise NotFoundError(f"webhook policy {policy_id} not found")
    return WebhookPolicy(*row)


def checked(wanted: Wanted) -> Wanted:
    """Return `wanted` if it can be stored. Raises InvalidError."""
    if not wanted.name.strip() or len(wanted.name) > 255:
        raise InvalidError("a webhook policy's name has 1 to 255 characters")
    if not 0 < len(wanted.targets) <= TARGET_LIMIT:
        raise InvalidError(f"a webhook policy has 1 to {TARGET_LIMIT} targets")
    for target in wanted.targets:
        _check_target(target)
    unknown = [kind for kind in wanted.event_types if kind not in EVENT_TYPES]
    if unknown or not wanted.event_types:
        raise InvalidError(f"event types must be some of {', '.join(EVENT_TYPES)}")
    return wanted


def _check_target(target: WantedTarget) -> None:
    if target.target_type not in TARGET_TYPES:
        raise InvalidError(f"a webhook's type must be one of {', '.join(TARGET_TYPES)}")
    check_url(target.address)
    if target.payload_format not in FORMATS:
        raise InvalidError(f"a webhook's payload format must be one of {', '.join(FORMATS)}")
    if target.target_type == "slack" and target.payload_format != DEFAULT:
        raise InvalidError("a Slack webhook has no payload format to choose")
    header = target.auth_header or ""
    if len(header) > 4096 or any(ord(character) < 32 or ord(character) > 126 for character in header):
        raise InvalidError("an authorization header has at most 4096 printable ASCII characters")


def _values(wanted: Wanted, keys: KeyRing, stored: dict[str, str | None]) -> dict[str, Any]:
    """Columns of a policy; `stored`: the sealed headers that it has, by their addresses."""
    checked(wanted)
    first, *others = (asdict(_kept(target, keys, stored)) for target in wanted.targets)
    return {
        "name": wanted.name,
        "description": wanted.description,
        **first,
        "more_targets": others or None,
        "event_types": list(dict.fromkeys(wanted.event_types)),
        "enabled": wanted.enabled,
        "updated_at": time.time(),
    }


def _kept(target: WantedTarget, keys: KeyRing, stored: dict[str, str | None]) -> Target:
    # A stored credential was meant for its own address only.
    secret = stored.get(target.address)
    if target.auth_header is not None:
        secret = keys.encrypt(PURPOSE, target.auth_header.encode()) if target.auth_header else None
    return Target(target.target_type, target.address, secret, target.skip_verify, target.payload_format)


def create(connection: Connection, keys: KeyRing, project_id: int, wanted: Wanted, creator: str) -> int:
    """Add a policy; returns its id. Raises InvalidError, ConflictError."""
    values = _values(wanted, keys, {})
    count = connection.execute(
        select(func.count()).where(webhook_policies.c.project_id == project_id)
    ).scalar_one()
    if count >= POLICY_LIMIT:
        raise InvalidError(f"a project has at most {POLICY_LIMIT} webhook policies")
    try:
        with connection.begin_nested():
            return int(
                connection.execute(
                    insert(webhook_policies)
                    .values(project_id=project_id, creator=creator, created_at=values["updated_at"], **values)
                    .returning(webhook_policies.c.id)
                ).scalar_one()
            )
    except IntegrityError:
        raise ConflictError(f"webhook policy {wanted.name} exists") from None


def change(connection: Connection, keys: KeyRing, project_id: int, policy_id: int, wanted: Wanted) -> None:
    """Replace a policy. Raises NotFoundError, InvalidError, ConflictError."""
    old = get(connection, project_id, policy_id)
    values = _values(wanted, keys, {target.address: target.secret for target in old.targets})
    try:
        with connection.begin_nested():
            connection.execute(
                update(webhook_policies).where(webhook_policies.c.id == policy_id).values(**values)
            )
    except IntegrityError:
        raise ConflictError(f"webhook policy {wanted.name} exists") from None


def remove(connection: Connection, project_id: int, policy_id: int) -> None:
    """Delete a policy with its record. Raises NotFoundError."""
    get(connection, project_id, policy_id)
    connection.execute(delete(webhook_policies).where(webhook_policies.c.id == policy_id))


def delivery(connection: Connection, policy_id: int, delivery_id: int) -> Delivery:
    """One delivery of a policy. Raises NotFoundError."""
    row = connection.execute(
        deliveries().where(
            webhook_deliveries.c.policy_id == policy_id, webhook_deliveries.c.id == delivery_id
        )
    ).first()
    if row is None:
        raise NotFoundError(f"webhook execution {delivery_id} not found")
    return Delivery(*row)


def last_triggers(connection: Connection, project_id: int) -> list[tuple[WebhookPolicy, str, float | None]]:
    """(policy, event type, time of its last delivery) of the project."""
    result: list[tuple[WebhookPolicy, str, float | None]] = []
    query = policies().where(webhook_policies.c.project_id == project_id).order_by(webhook_policies.c.id)
    for row in connection.execute(query).all():
        policy = WebhookPolicy(*row)
        rows = connection.execute(
            select(webhook_deliveries.c.event_type, func.max(webhook_deliveries.c.created_at))
            .where(webhook_deliveries.c.policy_id == policy.id)
            .group_by(webhook_deliveries.c.event_type)
        )
        last: dict[str, float] = {row[0]: row[1] for row in rows}
        result += [(policy, kind, last.get(kind)) for kind in policy.event_types]
    return result


_FIELDS: Fields = {
    "id": Field(webhook_policies.c.id, "int"),
    "name": Field(webhook_policies.c.name),
    "enabled": Field(webhook_policies.c.enabled, "bool"),
    "creation_time": Field(webhook_policies.c.created_at, "time"),
    "update_time": Field(webhook_policies.c.updated_at, "time"),
}
_DELIVERY_FIELDS: Fields = {
    "id": Field(webhook_deliveries.c.id, "int"),
    "event_type": Field(webhook_deliveries.c.event_type),
    "status": Field(func.lower(webhook_deliveries.c.status)),
    "creation_time": Field(webhook_deliveries.c.created_at, "time"),
    "update_time": Field(webhook_deliveries.c.updated_at, "time"),
}


def list_policies(connection: Connection, project_id: int, page: Page) -> tuple[int, list[WebhookPolicy]]:
    """Policies of a project, newest first."""
    query = policies().where(webhook_policies.c.project_id == project_id)
    key = webhook_policies.c.id
    total, rows = page.fetch(connection, query, _FIELDS, key.desc(), key=key)
    return total, [WebhookPolicy(*row) for row in rows]


def list_deliveries(
    connection: Connection, policy_id: int, page: Page, statuses: Collection[str] | None = None
) -> tuple[int, list[Delivery]]:
    """Deliveries of a policy, newest first; of these statuses only, in lower case, when any are given."""
    query = deliveries().where(webhook_deliveries.c.policy_id == policy_id)
    if statuses:
        query = query.where(webhook_deliveries.c.status.in_(statuses))
    key = webhook_deliveries.c.id
    total, rows = page.fetch(connection, query, _DELIVERY_FIELDS, key.desc(), key=key)
    return total, [Delivery(*row) for row in rows]


def erase_creator(connection: Connection, name: str, pseudonym: str) -> None:
    """Write `pseudonym` for the name of a user who was removed."""
    table = webhook_policies
    connection.execute(update(table).where(table.c.creator == name).values(creator=pseudonym))
