"""Installed packages and lock files of Python, JavaScript, Go, Rust and Ruby.

Sources: PyPA core metadata and the lock formats of pip, Pipenv, Poetry, PDM and uv; npm package.json and
package-lock.json, yarn.lock (v1 and berry), pnpm-lock.yaml; go.mod and go.sum; Cargo.lock; Gemfile.lock
and installed gemspecs.
"""

from __future__ import annotations

import json
import re
import tomllib
from typing import TYPE_CHECKING, Any

from seawall.features.scan.model import Found
from seawall.features.scan.parsers.base import ParseError, clean
from seawall.kernel.extras import optional

if TYPE_CHECKING:
    from packaging import requirements as pep508
else:
    pep508 = optional("packaging.requirements")


def _text(data: bytes) -> str:
    return data.decode("utf-8-sig", "replace")


def _json(data: bytes) -> Any:
    try:
        return json.loads(_text(data))
    except (ValueError, RecursionError) as error:
        raise ParseError(f"not JSON: {error}") from None


def _toml(data: bytes) -> dict[str, Any]:
    try:
        return tomllib.loads(_text(data))
    except (tomllib.TOMLDecodeError, RecursionError) as error:
        raise ParseError(f"not TOML: {error}") from None


def _add(found: list[Found], kind: str, name: Any, version: Any) -> None:
    if isinstance(name, str) and isinstance(version, str):
        name, version = clean(name), clean(version)
        if kind == "pypi":
            name = pypi_name(name)
        if name and version:
            found.append(Found(kind, name, version))


def pypi_name(name: str) -> str:
    """Normalised project name (PEP 503)."""
    return re.sub(r"[-_.]+", "-", name).lower()


def _unique(found: list[Found]) -> list[Found]:
    return list(dict.fromkeys(found))


# -- Python ------------------------------------------------------------------------------------------


def python_metadata(data: bytes) -> list[Found]:
    """Name, version and licence of METADATA or PKG-INFO."""
    values: dict[str, str] = {}
    # The description, often long and with colons, follows the first empty line.
    for line in _text(data[: 256 * 1024]).split("\n"):
        line = line.rstrip("\r")
        if not line:
            break
        key, separator, value = line.partition(":")
        if separator and line[0] not in " \t":
            values.setdefault(key.lower(), value.strip())
    name, version = pypi_name(clean(values.get("name", ""))), clean(values.get("version", ""))
    if not name or not version:
        return []
    licence = clean(values.get("license-expression", "") or values.get("license", ""), 100)
    return [Found("pypi", name, version, licenses=(licence,) if licence and licence != "UNKNOWN" else ())]


def requirements(data: bytes) -> list[Found]:
    """Exactly pinned requirements ("name==version") of a requirements file."""
    found: list[Found] = []
    for line in _text(data).replace("\\\n", " ").splitlines():
        line = re.split(r"(?:^|\s)#", line, maxsplit=1)[0]
        line = re.split(r"\s--?[a-z]", line, maxsplit=1)[0].strip()
        if not line or line.startswith("-") or len(line) > 2000:
            continue
        try:
            requirement = pep508.Requirement(line)
        except pep508.InvalidRequirement:
            continue
        pins = [
            s.version for s in requirement.specifier if s.operator in ("==", "===") and "*" not in s.version
        ]
        if len(pins) == 1:
            _add(found, "pypi", requirement.name, pins[0])
    return _unique(found)


def python_lock(data: bytes) -> list[Found]:
    """Packages of poetry.lock, uv.lock, pdm.lock or pylock.toml."""
    document = _toml(data)
    packages = document.get("package", document.get("packages"))
    found: list[Found] = []
    for item in packages if isinstance(packages, list) else []:
        if not isinstance(item, dict):
            continue
        source = item.get("source")
        # uv lists the project itself as a package.
        if isinstance(source, dict) and ("virtual" in source or "editable" in source):
            continue
        _add(found, "pypi", item.get("name"), item.get("version"))
    return _unique(found)


def pipfile_lock(data: bytes) -> list[Found]:
    """Packages of Pipfile.lock, all groups."""
    document = _json(data)
    found: list[Found] = []
    if isinstance(document, dict):
        for group, items in document.items():
            if group == "_meta" or not isinstance(items, dict):
                continue
            for name, item in items.items():
                version = item.get("version") if isinstance(item, dict) else None
                if isinstance(version, str) and version.startswith("=="):
                    _add(found, "pypi", name, version.lstrip("="))
    return _unique(found)


# -- JavaScript --------------------------------------------------------------------------------------


def package_json(data: bytes) -> list[Found]:
    """Name, version and licence of a package.json that has both name and version."""
    document = _json(data)
    if not isinstance(document, dict):
        return []
    name, version = document.get("name"), document.get("version")
    if not isinstance(name, str) or not isinstance(version, str) or not clean(name) or not clean(version):
        return []
    licence = document.get("license")
    if isinstance(licence, dict):
        licence = licence.get("type")
    licences = (clean(licence, 100),) if isinstance(licence, str) and clean(licence) else ()
    return [Found("npm", clean(name), clean(version), licenses=licences)]


def package_lock(data: bytes) -> list[Found]:
    """Packages of package-lock.json or npm-shrinkwrap.json, lock versions 1 to 3."""
    document = _json(data)
    found: list[Found] = []
    if not isinstance(document, dict):
        return found
    packages = document.get("packages")
    if isinstance(packages, dict):
        for path, item in packages.items():
            if not path or not isinstance(item, dict) or item.get("link"):
                continue
            name = item.get("name") or path.rpartition("node_modules/")[2]
            _add(found, "npm", name, item.get("version"))
        return _unique(found)
    stack: list[Any] = [document.get("dependencies")]
    while stack:
        level = stack.pop()
        for name, item in level.items() if isinstance(level, dict) else ():
            if isinstance(item, dict):
                version = item.get("version")
                if isinstance(version, str) and version.startswith("npm:"):
                    name, _, version = version[4:].rpartition("@")
                _add(found, "npm", name, version)
                stack.append(item.get("dependencies"))
    return _unique(found)


_YARN_KEY = re.compile(r'"?((?:@[^@/"]+/)?[^@/"]+)@')


def yarn_lock(data: bytes) -> list[Found]:
    """Packages of yarn.lock, classic and berry."""
    found: list[Found] = []
    name = ""
    for line in _text(data).splitlines():
        if not line or line[0] == "#":
            continue
        if line[0] != " ":
            match = _YARN_KEY.match(line)
            name = match[1] if match else ""
            if "@workspace:" in line or name == "__metadata":
                name = ""
            # "alias@npm:real@range": the package is the one behind the alias.
            alias = re.match(r'"?(?:@[^@/"]+/)?[^@/"]+@npm:((?:@[^@/"]+/)?[^@/"]+)@', line)
            if alias:
                name = alias[1]
        elif name and line.startswith("  version"):
            version = line[9:].strip(' :"')
            _add(found, "npm", name, version)
            name = ""
    return _unique(found)


_PNPM_KEY = re.compile(r"^  '?/?((?:@[^@/']+/)?[^@/'(]+)[@/]([0-9][^:('_]*)")


def pnpm_lock(data: bytes) -> list[Found]:
    """Packages of pnpm-lock.yaml: the keys of its `packages` mapping, lock versions 5 to 9."""
    found: list[Found] = []
    inside = False
    for line in _text(data).splitlines():
        if line and line[0] not in " #":
            inside = line.startswith("packages:")
        elif inside and line.startswith("  ") and line[2:3] not in (" ", "", "#"):
            match = _PNPM_KEY.match(line)
            if match:
                _add(found, "npm", match[1], match[2])
    return _unique(found)


# -- Go ----------------------------------------------------------------------------------------------


def go_mod(data: bytes) -> list[Found]:
    """Required modules of go.mod with replacements applied."""
    required: dict[str, str] = {}
    replaced: dict[str, tuple[str, str]] = {}
    block = ""
    for line in _text(data).splitlines():
        words = line.split("//", 1)[0].split()
        if not words:
            continue
        if block:
            if words[0] == ")":
                block = ""
                continue
        elif words[0] in ("require", "replace", "exclude", "retract", "tool", "godebug"):
            if words[1:2] == ["("]:
                block = words[0]
                continue
            words, verb = words[1:], words[0]
            _go_line(verb, words, required, replaced)
            continue
        else:
            continue
        _go_line(block, words, required, replaced)
    found: list[Found] = []
    for name, version in required.items():
        name, version = replaced.get(name, (name, version))
        _add(found, "golang", name, version)
    return _unique(found)


def _go_line(
    verb: str, words: list[str], required: dict[str, str], replaced: dict[str, tuple[str, str]]
) -> None:
    if verb == "require" and len(words) >= 2:
        required[words[0].strip('"')] = words[1]
    elif verb == "replace" and "=>" in words:
        arrow = words.index("=>")
        target = words[arrow + 1 :]
        if words and len(target) == 2:
            replaced[words[0].strip('"')] = (target[0].strip('"'), target[1])


def go_sum(data: bytes) -> list[Found]:
    """Modules of go.sum whose content (not only go.mod) is pinned."""
    found: list[Found] = []
    for line in _text(data).splitlines():
        words = line.split()
        if len(words) == 3 and not words[1].endswith("/go.mod"):
            _add(found, "golang", words[0], words[1])
    return _unique(found)


# -- Rust --------------------------------------------------------------------------------------------


def cargo_lock(data: bytes) -> list[Found]:
    """Packages of Cargo.lock that come from a registry or from git."""
    packages = _toml(data).get("package")
    found: list[Found] = []
    for item in packages if isinstance(packages, list) else []:
        if isinstance(item, dict) and item.get("source"):
            _add(found, "cargo", item.get("name"), item.get("version"))
    return _unique(found)


# -- Ruby --------------------------------------------------------------------------------------------

_GEM_LINE = re.compile(r" {4}([A-Za-z0-9_.-]+) \(([^)]+)\)")
_GEM_FIELD = {
    key: re.compile(
        rf"^[ \t]*\w+\.{key}[ \t]*=[ \t]*(?:Gem::Version\.new\s*\(?\s*)?[\"']([^\"']+)[\"']", re.MULTILINE
    )
    for key in ("name", "version", "license")
}
_PLATFORM = re.compile(r"-(?:x86|x64|arm|aarch|java|universal|mingw|mswin|ruby).*$")


def gemfile_lock(data: bytes) -> list[Found]:
    """Resolved gems of Gemfile.lock."""
    found: list[Found] = []
    inside = False
    for line in _text(data).splitlines():
        if line and line[0] != " ":
            inside = line.strip() in ("GEM", "GIT")
        elif inside and (match := _GEM_LINE.fullmatch(line.rstrip())):
            _add(found, "gem", match[1], _PLATFORM.sub("", match[2]))
    return _unique(found)


def gemspec(data: bytes) -> list[Found]:
    """The gem an installed specification describes."""
    text = _text(data[: 256 * 1024])
    values = {key: match[1] if (match := pattern.search(text)) else "" for key, pattern in _GEM_FIELD.items()}
    found: list[Found] = []
    _add(found, "gem", values["name"], values["version"])
    return found
