"""Packages that only some installations need: the extras of pyproject.toml.

The embedded start, with SQLite and a directory, needs none of them. A module that uses such a package names
it with `optional`, which imports it at its first use, so that nothing is read before it is needed. A setting
that needs one calls `need`. `tests/unit/test_dependencies.py` holds this table against pyproject.toml.
"""

from __future__ import annotations

import sys
import warnings
from importlib import import_module
from importlib.util import find_spec
from typing import Any

from seawall.kernel.errors import ConfigError

# Name of an extra: the packages to import that it brings.
EXTRAS: dict[str, tuple[str, ...]] = {
    "postgresql": ("psycopg",),
    "redis": ("redis",),
    "s3": ("obstore",),
    "gcs": ("obstore",),
    "azure": ("obstore",),
    "ldap": ("ldap3",),
    "oidc": ("authlib",),
    "scan": ("univers", "packageurl", "cyclonedx", "cvss", "lxml", "zstandard", "isal", "packaging"),
    "spdx": ("spdx_tools",),
}


class MissingExtraError(ConfigError):
    """Something needs packages that are not installed; the message says how to install them."""


class _Later:
    """A module that is imported when an attribute of it is first asked for."""

    def __init__(self, name: str) -> None:
        self._name = name

    def __getattr__(self, attribute: str) -> Any:
        return getattr(_imported(self._name), attribute)


def optional(name: str) -> Any:
    """The module `name` of an extra, imported at its first use, which raises MissingExtraError without it."""
    return _Later(name)


def installed(extra: str) -> bool:
    """Whether every package of `extra` is installed; nothing is imported."""
    return all(package in sys.modules or find_spec(package) is not None for package in EXTRAS[extra])


def need(extra: str, what: str) -> None:
    """Raise MissingExtraError unless `extra` is installed. `what`: what needs it, such as a setting."""
    if not installed(extra):
        raise MissingExtraError(sentence(extra, what))


def sentence(extra: str, what: str) -> str:
    """The line for an operator: what needs which extra, and the command that installs it."""
    return f"{what} needs packages that are not installed; run: pip install 'seawall[{extra}]'"


def lacking(error: ImportError) -> str | None:
    """The line for an import that failed because an extra is not installed; None for another failure."""
    package = (error.name or "").partition(".")[0]
    extras = [extra for extra, packages in EXTRAS.items() if package in packages]
    if not isinstance(error, ModuleNotFoundError) or not extras or find_spec(package) is not None:
        return None
    return f"the package {package} is not installed; run: pip install 'seawall[{extras[0]}]'"


def _imported(name: str) -> Any:
    found = sys.modules.get(name)
    if found is not None:
        return found
    try:
        with warnings.catch_warnings():
            # Authlib warns of its next version's HTTP client; this is not for operators.
            warnings.simplefilter("ignore")
            return import_module(name)
    except ModuleNotFoundError as error:
        line = lacking(error)
        if line is None:
            raise
        raise MissingExtraError(line) from None
