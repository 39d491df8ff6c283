"""What a removed user leaves behind under its name, and the order to take the name out of it.

Harbor's `GDPR_AUDIT_LOGS` and `GDPR_DELETE_USER`. Harbor writes the CRC-32 of the name in its place, which
any list of names opens again; Seawall writes a keyed pseudonym. The work is a job of the audit log
(`seawall.features.audit.erase`), since the log may be long. It runs twice: at once, and again when no token
of the user is valid any more, for what was under way.
"""

from __future__ import annotations

import hmac
import time
from dataclasses import dataclass

from sqlalchemy import Connection

from seawall.infra.jobs.service import insert_job
from seawall.infra.secrets.keyring import KeyRing
from seawall.infra.secrets.material import CSRF, derive
from seawall.infra.settings import Settings

KIND = "erase-user"
# `#` is in no user's name, so nobody can be called like a pseudonym.
PREFIX = "removed#"
# For entries that are gathered and written later, and clocks that differ.
_LATER_SECONDS = 300
_PURPOSE = "erased-user"


@dataclass(frozen=True, slots=True)
class Erasure:
    """Orders the work in the transaction that removes the user; does nothing where neither is wanted."""

    keys: KeyRing
    audit_logs: bool
    delete_user: bool
    # How long a token may be valid.
    token_seconds: float

    @classmethod
    def of(cls, settings: Settings, keys: KeyRing) -> Erasure:
        """As the settings want it."""
        wanted = settings.gdpr
        return cls(keys, wanted.audit_logs, wanted.delete_user, settings.auth.token_minutes * 60)

    def order(self, connection: Connection, username: str) -> None:
        """Make the jobs that take `username` out, in the caller's transaction."""
        if not (self.audit_logs or self.delete_user):
            return
        # Jobs are kept for some weeks, so the name is sealed in them.
        args = {"user": self.keys.encrypt(_PURPOSE, username.encode()), "at": time.time()}
        for delay in (0, self.token_seconds + _LATER_SECONDS):
            insert_job(connection, KIND, args, delay_seconds=delay, trigger="event")

    def name_in(self, sealed: str) -> str:
        """The name in a job's arguments."""
        return self.keys.decrypt(_PURPOSE, sealed).decode()

    def pseudonym(self, username: str) -> str:
        """What stands in place of a name: the same one everywhere in a cluster."""
        key = derive(self.keys.current(CSRF).material, "pseudonym")
        return PREFIX + hmac.digest(key, username.encode(), "sha256").hex()[:16]

    def shown(self, username: str) -> str:
        """A removed user's name as the audit log is to call it."""
        return self.pseudonym(username) if self.audit_logs else username
