"""Results: medians, ratios, goals; shown as a table, as JSON and as Markdown."""

from __future__ import annotations

import json
import statistics
from dataclasses import dataclass, field
from typing import Any

from rich.console import Console
from rich.table import Table

from bench.targets import ACCELERATED, DISTRIBUTION, NGINX, REGISTRY, SEAWALL, SEAWALL_AUTH

_ORDER = (SEAWALL, REGISTRY, DISTRIBUTION, NGINX, ACCELERATED, SEAWALL_AUTH)
_OTHERS = {REGISTRY: "registry", DISTRIBUTION: DISTRIBUTION, NGINX: "nginx"}


@dataclass
class Row:
    """One measurement: samples by target. `goals` are the ratios Seawall should reach against others."""

    key: str
    title: str
    unit: str
    goals: dict[str, float] = field(default_factory=dict)
    less_is_better: bool = False
    samples: dict[str, list[float]] = field(default_factory=dict)

    def add(self, target: str, value: float) -> None:
        """Keep a sample."""
        self.samples.setdefault(target, []).append(value)

    def median(self, target: str) -> float | None:
        """Median of the target's samples, None without any."""
        values = self.samples.get(target)
        return statistics.median(values) if values else None

    def ratio(self, other: str) -> float | None:
        """How many times better Seawall (authentication off) is than `other`."""
        mine, theirs = self.median(SEAWALL), self.median(other)
        if not mine or not theirs:
            return None
        return theirs / mine if self.less_is_better else mine / theirs

    def missed(self) -> list[str]:
        """A line for each goal that was not reached."""
        lines = []
        for other, goal in self.goals.items():
            ratio = self.ratio(other)
            if ratio is None:
                lines.append(f"{self.title}: not measured against {other}")
            elif ratio < goal:
                lines.append(f"{self.title}: {ratio:.2f} x {other}, goal {goal:.1f}")
        return lines


class Report:
    """All rows of a run and what is known about the machine."""

    def __init__(self, machine: dict[str, Any], rows: list[Row]) -> None:
        self.machine = machine
        self.rows = rows
        self.errors: list[str] = []

    def missed(self) -> list[str]:
        """Goals that were not reached."""
        return [line for row in self.rows for line in row.missed()]

    def show(self, console: Console) -> None:
        """Print table, missed goals and errors."""
        table = Table(title="Medians; ratios are Seawall with authentication off against the others")
        for heading in self._headings():
            table.add_column(heading, justify="left" if heading in ("", "unit") else "right")
        for cells, missed in self._cells():
            table.add_row(*cells, style="red" if missed else None)
        console.print(table)
        for line in self._notes():
            console.print(line, highlight=False, soft_wrap=True)

    def markdown(self) -> str:
        """The same as Markdown."""
        headings = self._headings()
        lines = ["| " + " | ".join(headings) + " |"]
        lines.append("|" + "|".join("---" if h in ("", "unit") else "--:" for h in headings) + "|")
        lines += ["| " + " | ".join(cells) + " |" for cells, _ in self._cells()]
        return "\n".join([*lines, "", *(f"- {line}" for line in self._notes()), ""])

    def json(self) -> str:
        """Everything, samples included."""
        rows = [
            {
                "key": row.key,
                "title": row.title,
                "unit": row.unit,
                "median": {name: row.median(name) for name in row.samples},
                "samples": row.samples,
                "ratio": {name: row.ratio(name) for name in self._others()},
                "goals": row.goals,
                "missed": row.missed(),
            }
            for row in self.rows
        ]
        return json.dumps({"machine": self.machine, "rows": rows, "errors": self.errors}, indent=2) + "\n"

    def _headings(self) -> list[str]:
        return ["", "unit", *self._measured(), *(f"vs {_OTHERS[name]}" for name in self._others()), "goal"]

    def _measured(self) -> list[str]:
        return [name for name in _ORDER if any(name in row.samples for row in self.rows)]

    def _others(self) -> list[str]:
        return [name for name in self._measured() if name in _OTHERS]

    def _cells(self) -> list[tuple[list[str], bool]]:
        lines = []
        for row in self.rows:
            if not row.samples:
                continue
            ratios = [row.ratio(name) for name in self._others()]
            goals = ", ".join(f"{goal:.1f} {_OTHERS.get(name, name)}" for name, goal in row.goals.items())
            missed = row.missed()
            cells = [
                row.title,
                row.unit,
                *(_number(row.median(name)) for name in self._measured()),
                *(f"{ratio:.2f}" if ratio is not None else "" for ratio in ratios),
                goals + (" (missed)" if missed else " (met)") if goals else "",
            ]
            lines.append((cells, bool(missed)))
        return lines

    def _notes(self) -> list[str]:
        machine = self.machine
        notes = [
            f"{machine['processors']} processors, {machine['system']}, load average at the start "
            f"{machine['load_average']}, rounds: {machine['rounds']}"
        ]
        missed = self.missed()
        notes.append("Goals missed: " + "; ".join(missed) if missed else "All goals met.")
        notes += [f"Not measured: {error}" for error in self.errors]
        return notes


def _number(value: float | None) -> str:
    if value is None:
        return ""
    return f"{value:,.0f}" if value >= 100 else f"{value:,.1f}"
