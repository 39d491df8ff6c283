"""`python -m tests.clients.report` runs tests/clients and writes what it found into the documentation.

It makes docs/conformance.md, and the tables of docs/clients.md between their marks. `--results FILE ...`
takes runs that have been: `pytest tests/clients -o junit_family=xunit1 --junitxml=FILE`.
"""

from __future__ import annotations

import argparse
import json
import os
import re
import shutil
import subprocess
import sys
import tempfile
import xml.etree.ElementTree as ET
from collections import Counter
from collections.abc import Callable
from contextlib import AbstractContextManager
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

from tests.support.commands import ABSENT, CLIENTS
from tests.support.conformance import VERSIONS, Figures, run_suite
from tests.support.foreign import PROGRAMS, BuildError, build
from tests.support.processes import ROOT
from tests.support.servers import zot
from tests.support.setups import Setup, docker_registry, zot_registry

CONFORMANCE = ROOT / "docs" / "conformance.md"
CLIENTS_PAGE = ROOT / "docs" / "clients.md"
BEGIN, END = "<!-- made by tests.clients.report -->", "<!-- end of what is made -->"
TOOLS_BEGIN, TOOLS_END = "<!-- made by tests.clients.report: tools -->", "<!-- end of tools -->"
HEAD = """\
# OCI conformance

The OCI distribution specification's own conformance suite (`conformance` of
`github.com/opencontainers/distribution-spec` at `{version}`), run against each way to
set Seawall up. `python -m tests.clients.report` made this page. `make test-clients` runs the same, and
fails where the suite finds one fault.

<!-- not run: builds the suite with Go, which needs the Go module proxy -->
```sh
make test-clients
.venv/bin/python -m tests.clients.report
```

| Registry | Suite's version | Passed | Failed | Skipped | Disabled |
|---|---|---|---|---|---|"""
NOTES = """
- All parts of the suite run: pull, push, tags and referrers, deletion, with images, indexes, artifacts and
  SHA-512. Version 1.1+dev also tests what 1.1 leaves to the registry: uploads that are cancelled, a digest
  in every answer, further tags of a manifest.
- Seawall's projects are private; the suite signs in as the administrator. HAProxy is before several instances
  and takes them in turn, so that the parts of one upload arrive at different ones.
- Nothing can be pushed to a proxy project: the suite reads there what the upstream has.
- The registries of others are asked without users. zot was built from its source by hand: the Go module proxy
  gives none of its versions. `SEAWALL_TEST_ZOT` names the program, `SEAWALL_TEST_ZOT_VERSION` its version.
- The figures are the suite's, which counts groups of tests too. Disabled is what the version does not ask
  for, skipped what a registry may leave out.
"""


@dataclass
class Case:
    """A test's name without its parameters, what it recorded, and how it ended."""

    name: str
    recorded: dict[str, str]
    passed: bool


def read(results: Path) -> list[Case]:
    """The tests of a junit.xml."""
    cases = []
    for item in ET.parse(results).iter("testcase"):
        recorded = {str(p.get("name")): str(p.get("value")) for p in item.iter("property")}
        name = str(item.get("name")).partition("[")[0].removeprefix("test_").replace("_", " ")
        cases.append(Case(name, recorded, all(item.find(bad) is None for bad in ("failure", "error"))))
    return cases


def matrix(cases: list[Case]) -> str:
    """The operations of each client, over all setups."""
    runs = [case for case in cases if case.recorded.get("client") in CLIENTS]
    operations = list(dict.fromkeys(case.name for case in runs))
    lines = [
        "| Operation | " + " | ".join(f"{name} {PROGRAMS[name].version}" for name in CLIENTS) + " |",
        "|---|" + "---|" * len(CLIENTS),
    ]
    for operation in operations:
        cells = []
        for client in CLIENTS:
            mine = [case for case in runs if case.name == operation and case.recorded["client"] == client]
            failed = [case.recorded["setup"] for case in mine if not case.passed]
            if not mine:
                cells.append("—")
            else:
                told = f", fails: {'; '.join(failed)}" if failed else ""
                cells.append(f"{len(mine) - len(failed)} of {len(mine)}{told}")
        lines.append(f"| {operation} | {' | '.join(cells)} |")
    reasons = [f"- {client}, {operation}: {why}." for (client, operation), why in ABSENT.items()]
    setups = dict.fromkeys(case.recorded["setup"] for case in runs)
    lines += [
        "",
        "A figure is the number of setups on which it works, of those it was tried on:",
        f"{'; '.join(setups)}.",
        "",
        "A dash stands where a client has no such command:",
        "",
        *reasons,
    ]
    return "\n".join(lines) + "\n"


def tools(cases: list[Case]) -> str:
    """What programs beyond `CLIENTS` do against one instance, an operation a row."""
    runs: dict[tuple[str, str], list[Case]] = {}
    for case in cases:
        client = case.recorded.get("client", "")
        if client in PROGRAMS and client not in CLIENTS:
            runs.setdefault((client, case.name), []).append(case)
    lines = ["| Client | Operation | Result |", "|---|---|---|"]
    for (client, operation), mine in sorted(runs.items(), key=lambda item: list(PROGRAMS).index(item[0][0])):
        ways = [(case.recorded.get("way", ""), "works" if case.passed else "fails") for case in mine]
        results = dict.fromkeys(result for _, result in ways)
        if ways[0][0]:
            told = "; ".join(
                f"{result} {', '.join(way for way, mine in ways if mine == result)}" for result in results
            )
        else:
            told = "; ".join(results)
        program = PROGRAMS[client]
        lines.append(f"| {program.built} {program.version} | {operation} | {told} |")
    return "\n".join(lines) + "\n"


def conformance(rows: list[tuple[str, dict[str, Any]]], peers: list[tuple[str, dict[str, Any]]]) -> str:
    """The page of the conformance suite's figures."""
    lines = [HEAD.format(version=PROGRAMS["conformance"].version)]
    for name, figures in [(f"Seawall: {name}", found) for name, found in rows] + peers:
        numbers = " | ".join(str(figures[key]) for key in ("passed", "failed", "skipped", "disabled"))
        lines.append(f"| {name} | {figures['version']} | {numbers} |")
    lines.append(NOTES)
    for name, figures in [(f"Seawall: {name}", found) for name, found in rows] + peers:
        if figures["faults"]:
            lines.append(f"## {name}, {figures['version']}: what fails")
            lines.append("")
            parts = Counter(_part(fault) for fault in figures["faults"])
            lines += [f"- {part}: {number}" for part, number in sorted(parts.items())]
            lines.append("")
    return "\n".join(lines)


def _part(fault: str) -> str:
    # "OCI Conformance Test/sha512 blobs/post only/..." has its part in the second place.
    pieces = fault.split("/")
    return pieces[1] if len(pieces) > 1 else fault


def others() -> list[tuple[str, dict[str, Any]]]:
    """The suite against Debian's docker-registry, CNCF Distribution 3, and the zot that there may be."""
    told = subprocess.run(["docker-registry", "--version"], capture_output=True, text=True, check=True).stdout
    newest = PROGRAMS["distribution"]
    registries: dict[str, Callable[[Path], AbstractContextManager[Setup]]] = {
        f"Distribution {told.split()[-1].removeprefix('v')} (Debian)": docker_registry,
        f"Distribution {newest.version.removeprefix('v')}": partial(
            docker_registry, program=str(newest.path)
        ),
    }
    if program := zot.program():
        version = os.environ.get("SEAWALL_TEST_ZOT_VERSION", "")
        registries[f"zot {version}".strip()] = partial(zot_registry, program=program)
    found = []
    root = Path(tempfile.mkdtemp(prefix="seawall-conformance-"))
    try:
        for name, registry in registries.items():
            for version in VERSIONS:
                folder = root / name / version
                folder.mkdir(parents=True)
                with registry(folder) as setup:
                    figures: Figures = run_suite(setup, version, ("a/one", "b/two"), folder / "results")
                found.append((name, {"version": version, **vars(figures)}))
    finally:
        shutil.rmtree(root, ignore_errors=True)
    return found


def _replace(begin: str, end: str, table: str) -> None:
    """Put a table between two marks of docs/clients.md."""
    page = CLIENTS_PAGE.read_text()
    made = f"{begin}\n\n{table}\n{end}"
    CLIENTS_PAGE.write_text(re.sub(f"{begin}.*{end}", lambda _: made, page, count=1, flags=re.DOTALL))


def main() -> int:
    """Run and write; the tests' exit code."""
    parser = argparse.ArgumentParser(prog="python -m tests.clients.report", description=__doc__)
    parser.add_argument("--results", type=Path, nargs="+", help="junit.xml of runs of tests/clients")
    results = parser.parse_args().results
    try:
        # Runs that have been had what they needed.
        for program in [] if results else PROGRAMS.values():
            build(program)
    except BuildError as error:
        print(f"test-clients: {error}", file=sys.stderr)
        return 1
    code = 0
    with tempfile.TemporaryDirectory(prefix="seawall-report-") as folder:
        if results is None:
            results = [Path(folder) / "junit.xml"]
            command = [sys.executable, "-m", "pytest", "tests/clients", "-o", "junit_family=xunit1"]
            command.append(f"--junitxml={results[0]}")
            code = subprocess.run(command, cwd=ROOT, check=False).returncode
        cases = [case for file in results for case in read(file)]
    rows = [
        (case.recorded["setup"], json.loads(case.recorded["conformance"]))
        for case in cases
        if "conformance" in case.recorded
    ]
    # Of a run of some files only the tables that it says something of are written.
    if rows:
        CONFORMANCE.write_text(conformance(rows, others()))
    if any(case.recorded.get("client") in CLIENTS for case in cases):
        _replace(BEGIN, END, matrix(cases))
    if any(case.recorded.get("client", "") not in ("", *CLIENTS) for case in cases):
        _replace(TOOLS_BEGIN, TOOLS_END, tools(cases))
    return code


if __name__ == "__main__":
    sys.exit(main())
