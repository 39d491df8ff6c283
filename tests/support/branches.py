"""Coverage of branches at almost no cost: `src` is run from compiled copies that mark what they reach.

coverage.py's tracer makes the tests two to three times slower, and a process that is killed loses what it
saw. Here each statement and each way out of a branch sets one byte of a file that all processes share: test
workers, servers, forked commands and those that end by kill -9. Python finds the copies by itself where
PYTHONPYCACHEPREFIX names their folder. What a branch is, what is left out and the bound remain coverage.py's
(`[tool.coverage.report]` in pyproject.toml). `make coverage` uses it; decision 0009 says why.

    python -m tests.support.branches prepare FOLDER
    PYTHONPYCACHEPREFIX=FOLDER/code make test
    python -m tests.support.branches report FOLDER
"""

from __future__ import annotations

import argparse
import ast
import importlib.util
import json
import marshal
import shutil
import sys
from collections.abc import Iterable, Iterator
from pathlib import Path

from coverage import Coverage, CoverageData
from coverage.parser import PythonParser

from tests.support.processes import ROOT

# The name that copies have for the shared bytes.
_NAME = "_seawall_reached_"
# Each copy begins with this. A process that may not open the file (another user or root) runs unmeasured.
_BEGIN = """
import sys as {name}
try:
    {name} = {name}.{name}
except AttributeError:
    import mmap
    try:
        with open({file!r}, "r+b") as _seawall_file_:
            {name}.{name} = mmap.mmap(_seawall_file_.fileno(), 0)
        del _seawall_file_
    except OSError:
        {name}.{name} = bytearray({size})
    del mmap
    {name} = {name}.{name}
"""

# What a mark means: the line of a statement and _STATEMENT; or the line of a branch and the line that it
# leads to, or _OUT for its other way (the loop ends, the condition is false).
_STATEMENT, _OUT = -1, -2
Mark = tuple[int, int]


class Marker:
    """Adds marks to one module."""

    def __init__(self, first: int) -> None:
        """`first`: the number of its first mark."""
        self.first = first
        self.marks: list[Mark] = []
        self._numbers: dict[Mark, int] = {}

    def mark(self, line: int, to: int) -> ast.stmt:
        """The statement that says that this was reached."""
        mark = (line, to)
        if mark not in self._numbers:
            self._numbers[mark] = self.first + len(self.marks)
            self.marks.append(mark)
        return ast.Assign(
            [ast.Subscript(ast.Name(_NAME, ast.Load()), ast.Constant(self._numbers[mark]), ast.Store())],
            ast.Constant(1),
        )

    def _body(self, body: list[ast.stmt], documented: bool) -> list[ast.stmt]:
        done: list[ast.stmt] = []
        for number, item in enumerate(body):
            if not (_from_future(item) or (documented and number == 0 and _is_text(item))):
                done += [self.mark(line, _STATEMENT) for line in sorted(_lines(item))]
            self.visit(item)
            done.append(item)
        return done

    def visit(self, node: ast.AST) -> None:
        """Mark a node and what is in it."""
        match node:
            case ast.If() | ast.While() | ast.For() | ast.AsyncFor():
                self._two_ways(node)
            case ast.Try() | ast.TryStar():
                self._handlers(node)
            case ast.Match():
                self._cases(node)
            case _:
                self._inside(node)

    def _inside(self, node: ast.AST) -> None:
        documented = isinstance(node, ast.Module | ast.FunctionDef | ast.AsyncFunctionDef | ast.ClassDef)
        for name, value in ast.iter_fields(node):
            if isinstance(value, list) and value and isinstance(value[0], ast.stmt):
                setattr(node, name, self._body(value, documented and name == "body"))
            else:
                for item in value if isinstance(value, list) else [value]:
                    if isinstance(item, ast.AST):
                        self.visit(item)

    def _two_ways(self, node: ast.If | ast.While | ast.For | ast.AsyncFor) -> None:
        inside = self.mark(node.lineno, node.body[0].lineno)
        outside = self.mark(node.lineno, _OUT)
        self._inside(node)
        node.body.insert(0, inside)
        endless = isinstance(node, ast.While) and isinstance(node.test, ast.Constant) and node.test.value
        if not endless:
            node.orelse.insert(0, outside)

    def _handlers(self, node: ast.Try | ast.TryStar) -> None:
        """Who is in the third handler has asked the first two."""
        lines = [handler.lineno for handler in node.handlers]
        self._inside(node)
        for number, handler in enumerate(node.handlers):
            handler.body[:0] = [self.mark(line, _STATEMENT) for line in lines[: number + 1]]

    def _cases(self, node: ast.Match) -> None:
        """A case that is taken was asked, and so were those before it, which led on."""
        lines = [case.pattern.lineno for case in node.cases]
        inside = [case.body[0].lineno for case in node.cases]
        self._inside(node)
        for number, case in enumerate(node.cases):
            case.body[:0] = [
                *(self.mark(line, _STATEMENT) for line in lines[: number + 1]),
                *(self.mark(line, _OUT) for line in lines[:number]),
                self.mark(lines[number], inside[number]),
            ]
        last = node.cases[-1]
        if last.guard is not None or not _takes_all(last.pattern):
            marks = [self.mark(line, to) for line in lines for to in (_STATEMENT, _OUT)]
            node.cases.append(ast.match_case(ast.MatchAs(), body=marks))


def _takes_all(pattern: ast.pattern) -> bool:
    if isinstance(pattern, ast.MatchOr):
        pattern = pattern.patterns[-1]
    return isinstance(pattern, ast.MatchAs) and pattern.pattern is None


def _lines(item: ast.stmt) -> Iterator[int]:
    yield item.lineno
    if isinstance(item, ast.FunctionDef | ast.AsyncFunctionDef | ast.ClassDef):
        for decorator in item.decorator_list:
            yield decorator.lineno


def marked(source: str, first: int, file: Path, size: int = 0) -> tuple[ast.Module, list[Mark]]:
    """A module with marks from number `first` on; `file` is where they are set, `size` bytes at most."""
    tree = ast.parse(source)
    marker = Marker(first)
    marker.visit(tree)
    begin = ast.parse(_BEGIN.format(name=_NAME, file=str(file), size=size)).body
    for item in begin:
        for node in ast.walk(item):
            if isinstance(node, ast.stmt | ast.expr | ast.excepthandler):
                node.lineno = node.end_lineno = 1
    # After what has to be first: the docstring and what comes from __future__.
    place = 0
    while place < len(tree.body) and (_from_future(tree.body[place]) or _is_text(tree.body[place])):
        if _from_future(tree.body[place]):
            begin.append(marker.mark(tree.body[place].lineno, _STATEMENT))
        place += 1
    tree.body[place:place] = begin
    ast.fix_missing_locations(tree)
    return tree, marker.marks


def _from_future(item: ast.stmt) -> bool:
    return isinstance(item, ast.ImportFrom) and item.module == "__future__"


def _is_text(item: ast.stmt) -> bool:
    return isinstance(item, ast.Expr) and isinstance(item.value, ast.Constant)


def prepare(folder: Path, sources: Path) -> None:
    """Write the marked copies of all modules below `sources`, and the file of marks, all unset."""
    shutil.rmtree(folder, ignore_errors=True)
    folder.mkdir(parents=True)
    folder = folder.resolve()
    files = sorted(sources.resolve().rglob("*.py"))
    # A mark for each statement and each branch: never more than three for each line.
    size = sum(3 * len(file.read_bytes().splitlines()) + 10 for file in files)
    reached = folder / "reached"
    reached.write_bytes(bytes(size))
    # Servers of other users are measured too.
    reached.chmod(0o666)
    table: dict[str, list[Mark]] = {}
    first = 0
    for file in files:
        content = file.read_bytes()
        tree, marks = marked(content.decode(), first, reached, size)
        table[str(file)] = marks
        first += len(marks)
        place = folder / "code" / file.relative_to("/")
        place = place.with_name(f"{file.stem}.{sys.implementation.cache_tag}.pyc")
        place.parent.mkdir(parents=True, exist_ok=True)
        # Bound to the source's hash: who changes a module in between gets the new one, unmeasured.
        head = (
            importlib.util.MAGIC_NUMBER + (0b11).to_bytes(4, "little") + importlib.util.source_hash(content)
        )
        place.write_bytes(head + marshal.dumps(compile(tree, str(file), "exec", dont_inherit=True)))
    assert first <= size
    (folder / "marks.json").write_text(json.dumps(table))


def arcs(file: str, reached: Iterable[Mark]) -> set[tuple[int, int]]:
    """What was reached, as coverage.py would have seen it: pairs of a line and the one after it."""
    parser = PythonParser(filename=file)
    parser.parse_source()
    ways: dict[int, set[int]] = {}
    for line, to in parser.arcs():
        ways.setdefault(line, set()).add(to)
    inside: dict[int, set[int]] = {}
    outside: set[int] = set()
    found: set[tuple[int, int]] = set()
    for line, to in reached:
        line = parser.first_line(line)
        found.add((-1, line))
        if to == _OUT:
            outside.add(line)
        elif to != _STATEMENT:
            found.add((line, parser.first_line(to)))
    for line, to in _branches(file):
        inside.setdefault(parser.first_line(line), set()).add(parser.first_line(to))
    for line in outside:
        others = ways.get(line, set()) - inside.get(line, set())
        # More than one: which of them is not known.
        if len(others) == 1:
            found.add((line, others.pop()))
    return found


def _branches(file: str) -> list[Mark]:
    """Each branch of a module and the line that it leads to."""
    return [mark for mark in marked(Path(file).read_text(), 0, Path("-"))[1] if mark[1] >= 0]


def collect(folder: Path, data_file: Path) -> None:
    """Write what was reached as a data file of coverage.py."""
    reached = (folder / "reached").read_bytes()
    data = CoverageData(str(data_file))
    data.erase()
    number = 0
    for file, marks in json.loads((folder / "marks.json").read_text()).items():
        seen = [mark for place, mark in enumerate(marks, number) if reached[place]]
        number += len(marks)
        data.add_arcs({file: arcs(file, [(line, to) for line, to in seen])})
        # A module that nothing imported counts too.
        data.touch_files([file])
    data.write()


def report(folder: Path, sources: Path) -> bool:
    """Print the modules with the most that is missing last, and the figure; whether it is at the bound."""
    data_file = folder / "data"
    collect(folder, data_file)
    coverage = Coverage(
        data_file=str(data_file), config_file=str(ROOT / "pyproject.toml"), source=[str(sources)]
    )
    coverage.load()
    figure = coverage.report(sort="miss")
    bound = float(str(coverage.get_option("report:fail_under")))
    enough = figure >= bound
    print(f"Branch coverage: {figure:.2f} %{'' if enough else f', which is below {bound:g} %'}")
    return enough


def main() -> None:
    """See the module."""
    parser = argparse.ArgumentParser()
    parser.add_argument("command", choices=["prepare", "report"])
    parser.add_argument("folder", type=Path)
    parser.add_argument("--sources", type=Path, default=ROOT / "src" / "seawall")
    given = parser.parse_args()
    if given.command == "prepare":
        prepare(given.folder, given.sources)
    elif not report(given.folder, given.sources):
        sys.exit(1)


if __name__ == "__main__":
    main()
