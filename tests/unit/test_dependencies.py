"""What Seawall installs: pyproject.toml, the table of extras, docs/dependencies.md and the imports agree."""

from __future__ import annotations

import ast
import re
import subprocess
import sys
import tomllib
from collections.abc import Iterator
from importlib.metadata import packages_distributions
from importlib.util import find_spec
from pathlib import Path

import pytest
from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

from seawall.kernel import extras
from seawall.kernel.extras import EXTRAS, MissingExtraError, lacking, need, optional
from seawall.process.commands.boundary import described
from tests.support.processes import ROOT

PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
PAGE = (ROOT / "docs/dependencies.md").read_text()
SOURCES = ROOT / "src" / "seawall"
# Granian loads it.
UNSEEN = {"uvloop"}


def names(requirements: list[str]) -> set[str]:
    found = {str(canonicalize_name(Requirement(text).name)) for text in requirements}
    assert len(found) == len(requirements), "one is there twice"
    return found - {"seawall"}


def rows(heading: str) -> Iterator[list[str]]:
    part = PAGE.partition(f"\n## {heading}\n")[2].partition("\n## ")[0]
    for line in part.splitlines():
        cells = [cell.strip() for cell in line.strip("|").split("|")]
        if cells[0].startswith("`"):
            yield cells


def imported() -> Iterator[tuple[str, str]]:
    """(top-level package, file) of each import of the sources, those for types too."""
    for path in SOURCES.rglob("*.py"):
        for node in ast.walk(ast.parse(path.read_text())):
            if isinstance(node, ast.Import):
                yield from ((item.name.partition(".")[0], str(path)) for item in node.names)
            elif isinstance(node, ast.ImportFrom) and node.module and not node.level:
                yield node.module.partition(".")[0], str(path)


def test_the_page_has_each_package_with_a_reason_and_a_way_out() -> None:
    listed = list(rows("What every installation has"))
    assert {cells[0].strip("`") for cells in listed} == names(PROJECT["dependencies"])
    assert all(len(cells) == 3 and all(cell.endswith(".") for cell in cells[1:]) for cells in listed)


def test_the_page_has_each_extra_with_its_packages() -> None:
    written: dict[str, set[str]] = {}
    for first, _why, packages in rows("Extras"):
        for extra in re.findall(r"`([a-z0-9]+)`", first):
            written[extra] = set(re.findall(r"`([a-z0-9-]+)`", packages)) - {"scan"}
    declared = {extra: names(needs) for extra, needs in PROJECT["optional-dependencies"].items()}
    assert written == declared


def test_all_is_every_extra() -> None:
    declared = PROJECT["optional-dependencies"]
    (whole,) = declared["all"]
    assert Requirement(whole).extras == set(EXTRAS) == declared.keys() - {"all"}


def test_the_table_of_the_code_has_the_packages_of_each_extra() -> None:
    of = {module: {canonicalize_name(n) for n in d} for module, d in packages_distributions().items()}
    for extra, packages in EXTRAS.items():
        brought = set().union(*(of[package] for package in packages))
        assert names(PROJECT["optional-dependencies"][extra]) <= brought, extra


def test_what_is_imported_is_declared_and_what_is_declared_is_imported() -> None:
    declared = set().union(*(names(needs) for needs in PROJECT["optional-dependencies"].values()))
    declared |= names(PROJECT["dependencies"])
    of = packages_distributions()
    used: set[str] = set()
    for package, path in imported():
        if package in sys.stdlib_module_names or package == "seawall":
            continue
        found = {canonicalize_name(name) for name in of.get(package, [])}
        assert found & declared, f"{path}: {package} is not declared"
        used |= found
    assert declared - used == UNSEEN


def test_the_server_starts_without_a_package_of_an_extra(tmp_path: Path) -> None:
    """zstandard is left out of the list: aiohttp uses it where it is."""
    packages = sorted({package for some in EXTRAS.values() for package in some} - {"zstandard", "packaging"})
    code = (
        "import sys\n"
        "class Absent:\n"
        "    def find_spec(self, name, path=None, target=None):\n"
        f"        if name.partition('.')[0] in {packages}:\n"
        "            raise ModuleNotFoundError(f'No module named {name!r}', name=name)\n"
        "sys.meta_path.insert(0, Absent())\n"
        "import seawall.process.commands.serve, seawall.process.server, seawall.process.worker\n"
        "from seawall.infra.db import open_database\n"
        "from seawall.infra.settings import Settings\n"
        "from seawall.process.storage import open_storage\n"
        "open_database('sqlite:///:memory:'); open_storage(Settings())\n"
    )
    # In a folder of its own: ":memory:" is the name of a file here.
    command = [sys.executable, "-c", code]
    done = subprocess.run(command, capture_output=True, text=True, check=False, cwd=tmp_path)
    assert done.returncode == 0, done.stderr


def without(monkeypatch: pytest.MonkeyPatch, *packages: str) -> None:
    monkeypatch.setattr(extras, "find_spec", lambda name: None if name in packages else find_spec(name))
    for name in list(sys.modules):
        if name.partition(".")[0] in packages:
            monkeypatch.delitem(sys.modules, name)


def test_a_setting_names_the_extra_that_it_needs(monkeypatch: pytest.MonkeyPatch) -> None:
    need("ldap", "auth_mode ldap_auth")
    without(monkeypatch, "ldap3")
    with pytest.raises(MissingExtraError) as raised:
        need("ldap", "auth_mode ldap_auth")
    line = "auth_mode ldap_auth needs packages that are not installed; run: pip install 'seawall[ldap]'"
    assert described(raised.value) == line


def test_a_module_that_is_not_installed_names_its_extra(monkeypatch: pytest.MonkeyPatch) -> None:
    without(monkeypatch, "ldap3")
    error = ModuleNotFoundError("No module named 'ldap3'", name="ldap3.core")
    assert lacking(error) == "the package ldap3 is not installed; run: pip install 'seawall[ldap]'"
    assert described(error) == lacking(error)
    # A fault inside of a package that is there is not ours to explain.
    assert lacking(ModuleNotFoundError("no", name="cvss.nothing")) is None
    assert lacking(ImportError("cannot import name")) is None


def test_an_optional_module_is_imported_when_it_is_used() -> None:
    assert optional("cvss").CVSS3("CVSS:3.1/AV:N/AC:L/PR:N/UI:N/S:U/C:H/I:H/A:H").base_score > 9
