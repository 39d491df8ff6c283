"""Announces personal access tokens that end soon, and forgets those that ended long ago."""

from __future__ import annotations

import time
import uuid
from datetime import UTC, datetime
from typing import Any

import structlog
from sqlalchemy import Connection, select

from seawall.access import user_tokens
from seawall.access.views import projects
from seawall.infra.db import Database
from seawall.infra.jobs.base import JobContext
from seawall.infra.outbox.events import Subscribers

log: Any = structlog.get_logger("seawall.webhooks")
TOKEN_EXPIRING = "TOKEN_EXPIRING"  # noqa: S105 - a kind of event
NOTICE_SECONDS = 7 * 86400


class TokenNotices:
    """The job that looks for tokens that end."""

    def __init__(self, db: Database, events: Subscribers) -> None:
        self._db = db
        self._events = events

    async def run(self, context: JobContext, _args: dict[str, Any]) -> int:
        """Record an event for each project of a token that ends within a week, once; returns how many tokens.

        A token for all projects is announced in those that its user owns.
        """
        found = await self._db.read(lambda c: user_tokens.ending(c, NOTICE_SECONDS))
        for token in found:
            await context.checkpoint()
            await self._db.write(lambda c, token=token: self._announce(c, token))  # type: ignore[misc]
            log.warning("token expires soon", user=token.username, token=token.name, expires=_day(token))
        await self._db.write(user_tokens.forget_old)
        await context.log(f"{len(found)} tokens end within a week")
        return len(found)

    def _announce(self, connection: Connection, token: user_tokens.UserToken) -> None:
        where = (
            projects.c.owner_id == token.user_id
            if token.projects is None
            else projects.c.name.in_(token.projects)
        )
        text = f"the personal access token {token.name} of {token.username} expires at {_day(token)}"
        for project_id in connection.execute(select(projects.c.id).where(where)).scalars():
            data = {
                "id": str(uuid.uuid4()),
                "occur_at": time.time(),
                "operator": token.username,
                "project_id": project_id,
                "event_data": {"custom_attributes": {"Details": text, "ExpiresAt": int(token.expires_at)}},
            }
            self._events.record(connection, TOKEN_EXPIRING, data)
        user_tokens.noticed(connection, token.uid)


def _day(token: user_tokens.UserToken) -> str:
    return datetime.fromtimestamp(token.expires_at, UTC).strftime("%Y-%m-%dT%H:%M:%SZ")
