"""The OCI distribution specification's own conformance suite, run against a registry, and its figures."""

from __future__ import annotations

import re
import subprocess
from dataclasses import dataclass
from pathlib import Path

from tests.support.foreign import PROGRAMS
from tests.support.processes import clean_environment
from tests.support.setups import Setup

# What version 1.1 leaves to the registry is in the development version: an upload is cancelled, every answer
# has its digest header, a manifest is put with further tags.
VERSIONS = ("1.1", "1.1+dev")


@dataclass
class Figures:
    """How many of the suite's tests ended how, and what was said of those that failed, by name."""

    passed: int
    failed: int
    skipped: int
    disabled: int
    faults: dict[str, str]


def run_suite(
    setup: Setup, version: str, repositories: tuple[str, str], results: Path, **settings: str
) -> Figures:
    """Run the suite of `version` on two repositories; `settings` are more of its `OCI_*` variables."""
    results.mkdir(parents=True, exist_ok=True)
    user, password = setup.auth or ("", "")
    done = subprocess.run(
        [str(PROGRAMS["conformance"].path)],
        env=clean_environment(
            OCI_VERSION=version,
            OCI_REGISTRY=setup.host,
            OCI_TLS="disabled",
            OCI_REPO1=repositories[0],
            OCI_REPO2=repositories[1],
            OCI_USERNAME=user,
            OCI_PASSWORD=password,
            OCI_RESULTS_DIR=str(results),
            **settings,
        ),
        cwd=results,
        capture_output=True,
        text=True,
        timeout=500,
        check=False,
    )
    # It ends with 0 whatever it found.
    told = dict(re.findall(r"^  (Pass|FAIL|Error|Skip|Disabled)\.+: +(\d+)$", done.stdout, re.MULTILINE))
    assert len(told) == 5, done.stdout[-4000:] + done.stderr[-4000:]
    # Not from its junit.xml, which it leaves out when parts of it had nothing to do.
    faults: dict[str, str] = {}
    failing = ""
    for line in done.stdout.partition("\nConfiguration:")[0].splitlines():
        if ended := re.fullmatch(r" *(.+): (?:Pass|Skip|Disabled|(FAIL|Error))", line):
            failing = ended[1] if ended[2] else ""
        elif failing:
            # A group has no reasons of its own; its tests have.
            faults[failing] = (faults.get(failing, "") + " " + line.strip(" -")).strip()
    return Figures(
        passed=int(told["Pass"]),
        failed=int(told["FAIL"]) + int(told["Error"]),
        skipped=int(told["Skip"]),
        disabled=int(told["Disabled"]),
        faults=faults,
    )
