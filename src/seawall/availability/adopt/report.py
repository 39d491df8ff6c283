"""What a run of an adoption did, or would do: counts by kind, and a line for each thing that is left out."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any


@dataclass(slots=True)
class Counts:
    """Of one kind of rows: how many are in Harbor, and what became of them here."""

    found: int = 0
    new: int = 0
    changed: int = 0
    removed: int = 0


@dataclass(slots=True)
class Report:
    """`left` is what cannot come, `kept` what was changed here and stays so, `notes` what to know.

    `pushed` is what was pushed here and Harbor has not (`--rollback`).
    """

    release: str = ""
    counts: dict[str, Counts] = field(default_factory=dict)
    left: list[str] = field(default_factory=list)
    kept: list[str] = field(default_factory=list)
    notes: list[str] = field(default_factory=list)
    pushed: list[str] = field(default_factory=list)
    seconds: float = 0.0
    estimate: float = 0.0

    def of(self, kind: str) -> Counts:
        """The counts of a kind."""
        return self.counts.setdefault(kind, Counts())

    def leave(self, what: str, why: object) -> None:
        """Something cannot come."""
        self.left.append(f"{clean(what)}: {clean(str(why))}")

    def keep(self, what: str, why: str) -> None:
        """Something stays as it is here."""
        self.kept.append(f"{clean(what)}: {why}")

    def note(self, text: str) -> None:
        """Something to know; said once."""
        if text not in self.notes:
            self.notes.append(text)

    def as_dict(self) -> dict[str, Any]:
        """The report as a JSON-able mapping."""
        return {
            "release": self.release,
            "counts": {
                name: {
                    "found": item.found,
                    "new": item.new,
                    "changed": item.changed,
                    "removed": item.removed,
                }
                for name, item in self.counts.items()
            },
            "left": self.left,
            "kept": self.kept,
            "notes": self.notes,
            "pushed": self.pushed,
            "seconds": round(self.seconds, 1),
            "estimate": round(self.estimate, 1),
        }


def clean(text: str) -> str:
    """One line of at most 300 printable characters: names in the database are whatever somebody stored."""
    return "".join(c if c.isprintable() else ascii(c)[1:-1] for c in text)[:300]


def lines(report: Report, *, applied: bool) -> list[str]:
    """The report for people."""
    said = [f"{'kind':<22}{'in Harbor':>10}{'new':>8}{'changed':>9}{'removed':>9}"]
    said += [
        f"{name:<22}{item.found:>10}{item.new:>8}{item.changed:>9}{item.removed:>9}"
        for name, item in report.counts.items()
    ]
    said += [f"cannot come: {line}" for line in report.left]
    said += [f"kept: {line}" for line in report.kept]
    said += [f"pushed here: {line}" for line in report.pushed]
    said += [f"note: {line}" for line in report.notes]
    if applied:
        said.append(f"adopted in {report.seconds:.1f} seconds; {len(report.left)} things could not come")
    else:
        said.append(
            f"nothing was written; with --apply it would take about {max(report.estimate, 1):.0f} seconds"
        )
    return said
