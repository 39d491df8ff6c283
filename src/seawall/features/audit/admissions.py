"""Tokens of trusted issuers that were taken for robots, in the audit log."""

from __future__ import annotations

from sqlalchemy import Connection

from seawall.access.federation import Admission, Note
from seawall.features.audit.trail import AuditTrail, Entry
from seawall.kernel.context import Actor


def note_admission(trail: AuditTrail) -> Note:
    """Notes an admission, in the transaction that marks the token as used."""

    def note(connection: Connection, taken: Admission) -> None:
        said = f"token of {taken.issuer}, subject {taken.subject}"
        entry = Entry("exchange", "robot", taken.robot, said, taken.project_id)
        trail.record(connection, Actor(taken.robot, taken.address), entry)

    return note
