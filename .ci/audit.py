"""Known faults of what Seawall is built from: pip-audit over the venv, npm audit over the portal's packages.

    python3 .ci/audit.py            # make audit

Both ask databases on the network. One that is not reached is said to be so, and is no failure. A finding is,
unless `.ci/audit-allowed.toml` has it with a reason and a day until which that holds.
"""

from __future__ import annotations

import datetime
import json
import shutil
import subprocess
import sys
import tomllib
from dataclasses import dataclass
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parents[1]
ALLOWED = ROOT / ".ci" / "audit-allowed.toml"
# pip-audit is no part of the venv: its own needs would hold Seawall's back.
VENV = ROOT / "build" / "audit-venv"


@dataclass(frozen=True, slots=True)
class Finding:
    """A known fault of a package, under all the names that it has."""

    package: str
    version: str
    ids: tuple[str, ...]

    def __str__(self) -> str:
        return f"{self.package} {self.version}: {', '.join(self.ids)}"


class UnreachedError(Exception):
    """The database did not answer; the text says how."""


def of_pip_audit(text: str) -> list[Finding]:
    """The findings of pip-audit's JSON. Raises UnreachedError when it looked nothing up."""
    packages = json.loads(text)["dependencies"]
    looked = [item for item in packages if "vulns" in item]
    if not looked:
        raise UnreachedError("it found none of the packages")
    return [
        Finding(item["name"], item["version"], (vuln["id"], *vuln.get("aliases", ())))
        for item in looked
        for vuln in item["vulns"]
    ]


def of_npm_audit(text: str) -> list[Finding]:
    """The findings of `npm audit --json`. Raises UnreachedError when it is an error instead."""
    told: dict[str, Any] = json.loads(text)
    if "vulnerabilities" not in told:
        # Not the address that the message ends with.
        said = str(told.get("message") or told.get("error") or "no answer")
        raise UnreachedError(said.partition(" - ")[0][:200])
    found = []
    for name, item in told["vulnerabilities"].items():
        for via in item["via"]:
            # A name here is a package that is faulty itself, and has an entry of its own.
            if isinstance(via, dict):
                found.append(Finding(name, via.get("range", ""), (via["url"].rpartition("/")[2],)))
    return found


def judged(findings: list[Finding], allowed: list[dict[str, Any]], today: datetime.date) -> list[str]:
    """What makes the audit fail, a line each."""
    faults = [
        f"{ALLOWED.name}: {entry.get('id')} needs a package, a reason and a day (until)"
        for entry in allowed
        if not (
            entry.get("reason") and entry.get("package") and isinstance(entry.get("until"), datetime.date)
        )
    ]
    for finding in findings:
        entry = next(
            (
                item
                for item in allowed
                if item.get("id") in finding.ids and item.get("package") == finding.package
            ),
            None,
        )
        if entry is None:
            faults.append(str(finding))
        elif isinstance(entry.get("until"), datetime.date) and entry["until"] < today:
            faults.append(f"{finding} (allowed until {entry['until']}: {entry.get('reason')})")
    return faults


def _output(*command: str, where: Path = ROOT) -> str:
    return subprocess.run(command, cwd=where, capture_output=True, text=True, check=False).stdout  # noqa: S603


def pip_findings() -> list[Finding]:
    """What pip-audit says of the venv. Raises UnreachedError."""
    pip = VENV / "bin" / "pip"
    if not (VENV / "bin" / "pip-audit").exists():
        subprocess.run([sys.executable, "-m", "venv", str(VENV)], check=True)  # noqa: S603
        subprocess.run([str(pip), "install", "-q", "pip-audit>=2.9"], check=True)  # noqa: S603
    frozen = _output(str(ROOT / ".venv" / "bin" / "pip"), "freeze", "--exclude-editable")
    # One package first: where the database is away, each of them would be asked for in vain.
    _asked(frozen.partition("\n")[0])
    return _asked(frozen)


def _asked(requirements: str) -> list[Finding]:
    """The findings among pinned requirements. Raises UnreachedError."""
    file = VENV / "requirements.txt"
    file.write_text(requirements)
    options = ["--no-deps", "--disable-pip", "--progress-spinner", "off", "-f", "json"]
    text = _output(str(VENV / "bin" / "pip-audit"), "-r", str(file), *options)
    if not text.strip():
        raise UnreachedError("pip-audit gave no answer")
    return of_pip_audit(text)


def npm_findings() -> list[Finding]:
    """What npm audit says of the portal's packages. Raises UnreachedError."""
    npm = shutil.which("npm")
    if npm is None:
        raise UnreachedError("npm is not installed")
    text = _output(npm, "audit", "--json", "--package-lock-only", "--fetch-retries=0", where=ROOT / "portal")
    return of_npm_audit(text or "{}")


def main() -> int:
    """1 for a finding that is not allowed."""
    allowed = tomllib.loads(ALLOWED.read_text()).get("allowed", [])
    faults: list[str] = judged([], allowed, datetime.date.today())
    for name, ask in (("pip-audit", pip_findings), ("npm audit", npm_findings)):
        try:
            findings = ask()
        except UnreachedError as error:
            print(f"{name}: its database was not reached from here, so nothing was looked up ({error})")
            continue
        new = judged(findings, allowed, datetime.date.today())
        print(f"{name}: {len(findings)} known faults, {len(findings) - len(new)} of them allowed")
        faults += new
    for fault in dict.fromkeys(faults):
        print(f"  {fault}", file=sys.stderr)
    return 1 if faults else 0


if __name__ == "__main__":
    sys.exit(main())
