"""Entries of the audit log for what commands change."""

from __future__ import annotations

import getpass
from typing import TYPE_CHECKING

from seawall.infra.db.together import Also
from seawall.process import tables as tables  # declares every table

if TYPE_CHECKING:
    from sqlalchemy import Connection

    from seawall.infra.configuration import Configuration


async def audited(
    configuration: Configuration,
    operation: str,
    resource_type: str,
    resource: str,
    description: str,
    project_id: int | None = None,
) -> Also:
    """What a write takes as its `also`: the entry commits with the change, or not at all.

    Its user is `seawall (LOGIN)`, with the operating system's name of who ran the command. Nobody who signs
    in can be called so.
    """
    # Not sooner: the audit log knows content, whose import takes as long as a short command.
    from seawall.features.audit.part import SUBSCRIBER
    from seawall.features.audit.trail import SYSLOG_EVENT, AuditTrail, Entry
    from seawall.infra.outbox.events import Subscribers
    from seawall.kernel.context import Actor

    await configuration.all()  # which entries are kept, and where they go
    # A job process sends it on.
    trail = AuditTrail(configuration, Subscribers(kinds={SYSLOG_EVENT: {SUBSCRIBER}}))
    entry = Entry(operation, resource_type, resource, description, project_id)
    who = Actor(f"seawall ({_login()})")

    def record(connection: Connection) -> None:
        trail.record(connection, who, entry)

    return record


def _login() -> str:
    try:
        return getpass.getuser()
    except (KeyError, OSError):  # a container's user that has no name
        return "unknown"
