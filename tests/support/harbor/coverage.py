"""Which of Harbor's operations the API has.

`python -m tests.support.harbor.coverage` writes docs/api-coverage.md. With `--run` it first runs the cases of
Harbor's own API tests, and keeps their results in `results.txt`.

It also writes `access_table.txt`, whom each operation lets in, so that a change of it is seen in review.

`harbor_operations.txt` lists Harbor's operations as facts, METHOD and path, read off its public description
of the API, `harbor_parameters.txt` their query parameters and headers; `not_offered.txt` says of each
operation that Seawall does not have why not. `cases.txt` names the test here for each of Harbor's test
files, `differences.txt` says where it differs on purpose.
"""

from __future__ import annotations

import functools
import re
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import Any
from xml.etree import ElementTree

from tests.support import openapi
from tests.support.processes import ROOT

HERE = Path(__file__).parent
PAGE = ROOT / "docs" / "api-coverage.md"
TABLE = HERE / "access_table.txt"
CASES = "tests/system/harbor"
ON_PURPOSE = (
    "A wrong body or parameter is never answered with 500: it is 400, 404 or 422, and the message says why.",
    "`POST /registries/ping` needs the right to create registries; Harbor's needs that to read them.",
    "`GET /users/current/permissions` with an invalid scope answers 400. Harbor answers an empty list.",
    "A purge of the audit log without `include_event_types` purges all kinds, Harbor's none. With 0 hours it"
    " is refused; Harbor takes it and purges nothing.",
    "A list never has more than 100 rows, also with `page_size` 0 or below.",
    "A webhook, replication or preheat policy and a preheat instance without `enabled` are on, a replication"
    " policy without `override` overrides; Harbor's are off.",
    "A preheat instance can be switched off while policies use it, which answer 412 until it is on; Harbor"
    " refuses that with 412.",
    "A robot's `duration` of 0 is the configured one; Harbor refuses 0. A `secret` in the body is used.",
    "A user needs neither e-mail address nor real name. `sysadmin` is set, and other users' passwords are, by"
    " administrators only, not by robots.",
    "The description of a repository is kept as it is given, not HTML-escaped.",
    "A new proxy-cache project has no retention policy; Harbor gives it one of 7 days.",
    "What is not there is 404, also where Harbor answers 400 (executions of a missing retention policy).",
    "A schedule whose `type` is missing is refused unless `cron` is the empty text; Harbor does nothing and"
    " answers 200.",
    "The `auth_header` of a webhook is shown as stars, which keep it when they are sent back.",
    "A schedule that is POSTed takes the place of one that there is; for scans of everything Harbor answers"
    " 412.",
    "An export of findings stays in its list after the download, without its file; Harbor's goes.",
    "A policy with `single_active_replication` that is started while it runs answers 412; Harbor makes an"
    " execution that has failed. One that names a registry that is not there is refused with 400, Harbor's"
    " with 404.",
    "The default scanner, and the one inside, cannot be deleted (400). What of the latter makes no sense to"
    " change is left out of an update; Harbor refuses any of Trivy's with 403.",
    "Global labels are listed for those who are signed in, who may read each; Harbor lists them for anybody,"
    " and shows one to administrators.",
    "`q` of `/security/vul`, and `tags` and `labels` of artifacts in `q`, take `~`, ranges and lists also"
    " where Harbor refuses them. `signed` and `severity` there are Seawall's own."
    " `latest_in_repository` needs neither `media_type` nor `artifact_type`.",
    "The scanner and the artifacts of a public project are shown without signing in; Harbor's answer 401.",
    "`/health` names core, database, redis and registry. Jobs, the portal and the registry's controller have"
    " no entries.",
)
PREFIX = "/api/v2.0"
METHODS = {"get", "head", "post", "put", "patch", "delete"}
Operation = tuple[str, str]
# Taken by every operation, by what is around them.
EVERYWHERE = ("X-Request-Id",)
# Held against the handlers by hand; a parameter that is not taken at all is found by `not_taken`.
NO_EFFECT = {
    "`page`, `page_size`, `with_signature` of `GET .../artifacts/{reference}`": "no effect, as in Harbor",
    "`sort`, `q` of `GET .../webhook/policies/{id}/executions/{id}/tasks`": "an execution has one task",
}


def harbor() -> list[Operation]:
    """(method, path) of Harbor's operations."""
    pairs = [line.split(" ", 1) for line in (HERE / "harbor_operations.txt").read_text().splitlines()]
    return [(method, path) for method, path in pairs]


def not_offered() -> dict[Operation, str]:
    """Operations that are left out, and why."""
    result = {}
    for line in (HERE / "not_offered.txt").read_text().splitlines():
        if line and not line.startswith("#"):
            method, path, reason = line.split(" ", 2)
            result[method, path] = reason
    return result


def harbor_parameters() -> list[tuple[Operation, str, str]]:
    """(operation, in, name) of the query parameters and headers of Harbor's operations."""
    result = []
    for line in (HERE / "harbor_parameters.txt").read_text().splitlines():
        method, path, place, name = line.split(" ")
        result.append(((method, path), place, name))
    return result


def _document() -> dict[str, Any]:
    return openapi.document()


@functools.cache
def our_parameters() -> frozenset[tuple[Operation, str, str]]:
    """(operation, in, name) of what our operations take; names of headers in lower case."""
    return frozenset(
        (shape((method.upper(), path.removeprefix(PREFIX))), item["in"], _name(item["in"], item["name"]))
        for path, operations in _document()["paths"].items()
        for method, operation in operations.items()
        if method in METHODS
        for item in operation.get("parameters", [])
    )


def _name(place: str, name: str) -> str:
    return name.lower() if place == "header" else name


def not_taken() -> list[tuple[Operation, str, str]]:
    """Parameters of Harbor's, of operations that we have, that ours does not name."""
    have = {shape(item) for item in ours()}
    return [
        (operation, place, name)
        for operation, place, name in harbor_parameters()
        if shape(operation) in have
        and (shape(operation), place, _name(place, name)) not in our_parameters()
        and name not in EVERYWHERE
    ]


@functools.cache
def ours() -> frozenset[Operation]:
    """(method, path) of our operations; names of path parameters do not count."""
    return frozenset(
        (method.upper(), path.removeprefix(PREFIX))
        for path, item in _document()["paths"].items()
        for method in item
        if method in METHODS
    )


def shape(operation: Operation) -> Operation:
    """The operation without the names of its path parameters."""
    return operation[0], re.sub(r"\{[^}]*\}", "{}", operation[1])


def cases() -> dict[str, list[str]]:
    """Ids of the tests here by the name of Harbor's test file."""
    result: dict[str, list[str]] = {}
    for line in (HERE / "cases.txt").read_text().splitlines():
        name, test = line.split(" ")
        result.setdefault(name, []).append(test if "/" in test else f"{CASES}/{test}")
    return result


def differences() -> dict[str, str]:
    """Where a case differs from Harbor's on purpose."""
    lines = (HERE / "differences.txt").read_text().splitlines()
    return {name: text for name, _, text in (line.partition(" ") for line in lines)}


def results() -> dict[str, str]:
    """What came of each test (passed, failed) when the cases were last run by `--run`."""
    return dict(line.split(" ") for line in (HERE / "results.txt").read_text().splitlines())


def own() -> dict[str, tuple[str, str]]:
    """Harbor's test file -> (passes, fails or not run; why): the files themselves, run by hand."""
    lines = (HERE / "own.txt").read_text().splitlines()
    return {name: (state, why) for name, state, why in (line.split(" | ") for line in lines)}


def run() -> None:
    """Run the cases, and keep what came of each."""
    tests = sorted({test for found in cases().values() for test in found})
    with tempfile.TemporaryDirectory() as folder:
        report = Path(folder) / "report.xml"
        subprocess.run(
            [sys.executable, "-m", "pytest", "-q", f"--junitxml={report}", *tests], cwd=ROOT, check=False
        )
        states: dict[str, str] = {}
        for case in ElementTree.parse(report).iter("testcase"):
            path = case.get("classname", "").replace(".", "/") + ".py"
            name = f"{path}::{case.get('name', '').partition('[')[0]}"
            failed = any(case.find(kind) is not None for kind in ("failure", "error", "skipped"))
            states[name] = "failed" if failed or states.get(name) == "failed" else "passed"
    lines = [f"{test} {states.get(test, 'failed')}" for test in tests]
    (HERE / "results.txt").write_text("\n".join(lines) + "\n")


def _named(tests: list[str]) -> str:
    return ", ".join(f"`{test.removeprefix(CASES + '/')}`" for test in tests)


def _own(name: str) -> str:
    state, why = own()[name]
    return f"{state}: {why}" if why else state


def _cases_page() -> list[str]:
    found, told = cases(), results()
    states = {
        name: "passes" if all(told.get(test) == "passed" for test in tests) else "fails"
        for name, tests in found.items()
    }
    # One of them came after 2.15.
    passing = sum(state == "passes" for state in states.values())
    themselves = sum(state == "passes" for state, _ in own().values())
    return [
        "",
        "## Harbor's own API tests",
        "",
        "What each of Harbor's test files asks for (`tests/apitests/python` of 2.15; one is newer), as a",
        f"test of our own in `{CASES}`. {passing} of {len(found)} pass.",
        "",
        "The files themselves were run too, on 30 November 2026 (of Harbor's main, 2.16), with a client",
        "that openapi-generator 4.3.1 made of Harbor's swagger, Debian's dockerd and containerd, and cosign,",
        "notation, helm, oras and cnab-to-oci built with Go. There is no network: images that they fetch",
        "were made here, a Seawall takes the place of the public Harbor, slapd has their directory, and",
        f"cosign signs without a transparency log. {themselves} of {len(own())} pass.",
        "",
        "| Harbor's file | Test here | | The file itself | On purpose otherwise |",
        "|---|---|---|---|---|",
        *(
            f"| `test_{name}.py` | {_named(found[name])} | {states[name]} | {_own(name)} |"
            f" {differences().get(name, '')} |"
            for name in found
        ),
        "",
        "Answers that differ from Harbor's on purpose, everywhere:",
        "",
        *(f"- {line}" for line in ON_PURPOSE),
    ]


def page() -> str:
    """The page as it must be."""
    have = {shape(item) for item in ours()}
    wanted, left_out = harbor(), not_offered()
    inside = [item for item in wanted if shape(item) in have]
    own = sorted(item for item in ours() if shape(item) not in {shape(other) for other in wanted})
    lines = [
        "# Coverage of Harbor's API",
        "",
        "Written by `python -m tests.support.harbor.coverage`; a test compares it with the OpenAPI document",
        "that the server gives at `/api/v2.0/openapi.json`, and with the list of operations of Harbor 2.x.",
        "",
        f"{len(inside)} of Harbor's {len(wanted)} operations are in.",
        "",
        "| Operation | |",
        "|---|---|",
    ]
    for item in wanted:
        state = "yes" if shape(item) in have else f"no: {left_out.get(item, 'MISSING')}"
        lines.append(f"| `{item[0]} {item[1]}` | {state} |")
    lines += ["", "Seawall's own, in addition to Harbor's:", "", "| Operation |", "|---|"]
    lines += [f"| `{method} {path}` |" for method, path in own]
    lines += [
        "",
        "## Parameters",
        "",
        f"Of the {len(harbor_parameters())} query parameters and headers of these operations (apart from",
        "`X-Request-Id`, which all take), those that have no effect or are not taken:",
        "",
        "| Parameter | |",
        "|---|---|",
    ]
    for name, reason in NO_EFFECT.items():
        lines.append(f"| {name} | {reason} |")
    for operation, place, name in not_taken():
        lines.append(f"| `{name}` ({place}) of `{operation[0]} {operation[1]}` | not taken |")
    lines += ["", "A field in `q` or `sort` that a list does not know is left out, as in Harbor."]
    lines += _cases_page()
    return "\n".join(lines) + "\n"


def access_table() -> str:
    """Whom each operation lets in: METHOD PATH scope [resource action]; one line each."""
    document = openapi.document()
    lines = []
    for path, item in document["paths"].items():
        for method in METHODS & item.keys():
            need = item[method]["x-seawall-access"]
            by = "by-handler " if "checked" in need else ""
            what = f"{by}{need['scope']} {need['resource']} {need['action']}".strip()
            lines.append(f"{path.removeprefix(PREFIX)} {method.upper()} {what}")
    return "\n".join(sorted(lines)) + "\n"


if __name__ == "__main__":
    if "--run" in sys.argv:
        run()
    PAGE.write_text(page())
    TABLE.write_text(access_table())
    missing = [item for item in harbor() if shape(item) not in {shape(o) for o in ours()}]
    for entry in missing:
        if entry not in not_offered():
            print("missing, and not in not_offered.txt:", *entry)
