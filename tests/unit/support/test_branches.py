"""Branch coverage: as exact as coverage.py's tracer, safe from kills, with a bound that holds."""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
import tomllib
from pathlib import Path
from typing import Any

import pytest

from tests.support import branches
from tests.support.processes import ROOT

# Each kind of statement that branches; `main(True)` reaches more of it than `main(False)`.
SHAPES = '''"""Shapes."""

from __future__ import annotations

import asyncio
import contextlib


def decorated(function):
    """A decorator."""
    return function


@decorated
@decorated
def loops(numbers: list[int]) -> int:
    """Loops."""
    found = 0
    for number in numbers:
        if number == 3:
            continue
        elif number == 7:
            break
        else:
            found += number
    else:
        found += 100
    while found > 10:
        found -= 10
        if found == 13:
            return found
    while True:
        if found < 5:
            break
        found -= 1
    return found


def tries(what: str) -> str:
    try:
        if what == "value":
            raise ValueError(what)
        if what == "key":
            raise KeyError(what)
        if what == "early":
            return what
    except ValueError:
        return "v"
    except KeyError as error:
        what = str(error)
    except (TypeError, OSError):
        return "t"
    else:
        what += "!"
    finally:
        what += "?"
    with contextlib.suppress(ValueError):
        if what:
            raise ValueError
    return what


def matches(item: object) -> str:
    text = ""
    match item:
        case int():
            return "int"
        case str() if item:
            text = item
        case [first, *_]:
            text = str(first)
        case {"a": a}:
            text = str(a)
    match text:
        case "x":
            text = "y"
        case _:
            text = "z"
    return text if text else "none"


async def waits(times: int) -> list[int]:
    async def numbers():
        for number in range(times):
            await asyncio.sleep(0)
            yield number

    found = []
    async for number in numbers():
        if (
            number > 0
            and number % 2
        ):
            found.append(number)
    async with asyncio.timeout(1):
        found = [n for n in found if n]
    return found


class Thing:
    """A class with branches in its body."""

    if sys_size := 3:
        big = True
    else:
        big = False

    def more(self, x):
        global SEEN
        SEEN = x
        assert x, "nothing"
        if x == 5:
            pass
        return x


def main(some: bool) -> None:
    loops([1, 2, 3, 7])
    loops([]) if some else loops([1])
    for what in ("", "value", "key", "early"):
        tries(what)
    for item in (1, "a", [2]):
        matches(item)
    asyncio.run(waits(4))
    Thing().more(3)
    if some:
        Thing().more(5)
        matches(object())
    del some
'''
KILLED = """import os, signal
from {package}.shapes import Thing, main
Thing().more(4)
if os.fork() == 0:
    main(True)
    os.kill(os.getpid(), signal.SIGKILL)
assert os.wait()[1] == signal.SIGKILL
"""


def package(folder: Path, **modules: str) -> Path:
    """A package of these modules."""
    found = folder / "measured"
    found.mkdir()
    (found / "__init__.py").touch()
    for name, text in modules.items():
        (found / f"{name}.py").write_text(text)
    return found


def run(sources: Path, program: str, *interpreter: str, **environment: str) -> None:
    command = [sys.executable, *interpreter, "go.py"]
    (sources.parent / "go.py").write_text(program)
    subprocess.run(command, cwd=sources.parent, env={**os.environ, **environment}, check=True, timeout=120)


def measured(sources: Path, program: str) -> Path:
    """The folder of marks after a run of `program`, which may import `sources`."""
    folder = sources.parent / "marks"
    branches.prepare(folder, sources)
    run(sources, program, PYTHONPYCACHEPREFIX=str(folder / "code"))
    return folder


def counted(folder: Path, data: Path) -> dict[str, dict[str, Any]]:
    """Of each module: what coverage.py says was executed, from a data file."""
    command = [sys.executable, "-m", "coverage", "json", "-q", "--fail-under=0", "-o", "out.json"]
    given = [f"--data-file={data}", f"--rcfile={ROOT / 'pyproject.toml'}"]
    subprocess.run([*command, *given], cwd=folder, check=True, timeout=120)
    parts = ("executed_lines", "missing_lines", "executed_branches", "missing_branches")
    files = json.loads((folder / "out.json").read_text())["files"]
    return {Path(name).name: {part: sorted(found[part]) for part in parts} for name, found in files.items()}


@pytest.mark.parametrize("some", [True, False])
def test_it_counts_what_coverages_own_tracer_counts(tmp_path: Path, some: bool) -> None:
    sources = package(tmp_path, shapes=SHAPES)
    program = f"from measured.shapes import main\nmain({some})\n"
    folder = measured(sources, program)
    branches.collect(folder, tmp_path / "ours")
    traced = ("-m", "coverage", "run", "--branch", f"--data-file={tmp_path / 'theirs'}", "--source=measured")
    run(sources, program, *traced)
    ours = counted(tmp_path, tmp_path / "ours")["shapes.py"]
    theirs = counted(tmp_path, tmp_path / "theirs")["shapes.py"]
    assert ours == theirs
    assert len(ours["executed_branches"]) > 20
    assert ours["missing_branches"]


def test_a_process_that_is_killed_has_told_what_it_reached(tmp_path: Path) -> None:
    sources = package(tmp_path, shapes=SHAPES)
    folder = measured(sources, KILLED.format(package="measured"))
    branches.collect(folder, tmp_path / "killed")
    measured(sources, "from measured.shapes import main\nmain(True)\n")
    branches.collect(folder, tmp_path / "ended")
    assert counted(tmp_path, tmp_path / "killed") == counted(tmp_path, tmp_path / "ended")


def test_a_module_that_changed_is_not_run_from_its_old_copy(tmp_path: Path) -> None:
    sources = package(tmp_path, one="SEEN = 1\n")
    folder = tmp_path / "marks"
    branches.prepare(folder, sources)
    (sources / "one.py").write_text("SEEN = 2\n")
    program = "from measured.one import SEEN\nassert SEEN == 2\n"
    run(sources, program, PYTHONPYCACHEPREFIX=str(folder / "code"))


def reported(folder: Path, sources: Path) -> tuple[int, str]:
    """Exit code and output of the command that `make coverage` ends with."""
    command = [sys.executable, "-m", "tests.support.branches", "report", str(folder)]
    done = subprocess.run(
        [*command, "--sources", str(sources)],
        cwd=ROOT,
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
    )
    assert done.stderr == ""
    return done.returncode, done.stdout


def lines(covered: int, missing: int) -> str:
    """A module with a function of as many statements that is called, and one that is not."""
    body = [f"    x = {n}" for n in range(max(covered, missing))]
    return (
        "\n".join(["def called():", *body[: covered - 3], "def never():", *body[:missing], "called()"]) + "\n"
    )


def test_the_command_fails_below_the_bound_and_names_the_worst(tmp_path: Path) -> None:
    sources = package(tmp_path, good=lines(80, 8), worse=lines(9, 3))
    program = "import measured.good, measured.worse\n"
    # 89 of 100.
    code, shown = reported(measured(sources, program), sources)
    assert code == 1
    assert "Branch coverage: 89.00 %, which is below 90 %" in shown
    assert shown.index("worse.py") < shown.index("good.py") < shown.index("TOTAL")
    # 90 of 100.
    (sources / "worse.py").write_text(lines(10, 2))
    code, shown = reported(measured(sources, program), sources)
    assert (code, "Branch coverage: 90.00 %\n" in shown) == (0, True)
    # A module that nobody imports counts.
    (sources / "left.py").write_text("SEEN = 1\n")
    assert reported(measured(sources, program), sources)[0] == 1


def test_ci_measures_and_its_bound_is_90() -> None:
    settings = tomllib.loads((ROOT / "pyproject.toml").read_text())["tool"]["coverage"]
    assert settings["report"]["fail_under"] == 90
    assert "omit" not in settings["run"]
    assert re.search(
        r"^SEAWALL_FUZZ_EXAMPLES=\d+ make coverage$", (ROOT / ".ci" / "run").read_text(), re.MULTILINE
    )
    steps = subprocess.run(
        ["make", "-n", "-o", "install", "coverage"],
        cwd=ROOT,
        capture_output=True,
        text=True,
        timeout=60,
        check=True,
    ).stdout
    order = [
        steps.index(part)
        for part in ("branches prepare", "PYTHONPYCACHEPREFIX=", "-m pytest", "branches report")
    ]
    assert order == sorted(order)
    # None of its lines may fail unseen.
    assert "|| true" not in steps
