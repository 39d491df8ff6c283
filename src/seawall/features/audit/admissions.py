"""What sign-ins of programs tell the audit log, in their own transactions."""

from __future__ import annotations

from sqlalchemy import Connection

from seawall.access.federation import Admission, Note
from seawall.access.logins import NoteReuse
from seawall.features.audit.trail import AuditTrail, Entry
from seawall.kernel.context import Actor


def note_admission(trail: AuditTrail) -> Note:
    """Notes an admission, in the transaction that marks the token as used."""

    def note(connection: Connection, taken: Admission) -> None:
        said = f"token of {taken.issuer}, subject {taken.subject}"
        entry = Entry("exchange", "robot", taken.robot, said, taken.project_id)
        trail.record(connection, Actor(taken.robot, taken.address), entry)

    return note


def note_reuse(trail: AuditTrail) -> NoteReuse:
    """Notes the end of a login whose renewal was used twice."""

    def note(connection: Connection, username: str, name: str, address: str) -> None:
        said = f"end login {name} of {username}: its renewal was used twice, so that somebody has a copy"
        trail.record(connection, Actor(username, address), Entry("delete", "login", name, said))

    return note
