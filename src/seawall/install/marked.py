"""YAML with a line number at every value, checked against a declared shape.

`check` reports every fault, not only the first, each with the line it is on: somebody with a long
harbor.yml wants to correct it in one go.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import PurePosixPath
from typing import Any

import yaml

from seawall.kernel.errors import ConfigError
from seawall.kernel.spelling import did_you_mean


@dataclass(frozen=True, slots=True)
class Finding:
    """Something to say about a key: line (from 1), dotted key, text."""

    line: int
    key: str
    message: str

    def text(self, file: str) -> str:
        """One line for the operator."""
        return f"{file} line {self.line}: {self.key}: {self.message}"


@dataclass(slots=True)
class Checked:
    """The outcome: plain values, faults (must be corrected) and notes (worth knowing)."""

    values: dict[str, Any] = field(default_factory=dict)
    lines: dict[str, int] = field(default_factory=dict)
    faults: list[Finding] = field(default_factory=list)
    notes: list[Finding] = field(default_factory=list)

    def get(self, path: str, default: Any = None) -> Any:
        """The value at a dotted path, `default` when absent or null."""
        value: Any = self.values
        for part in path.split("."):
            if not isinstance(value, dict) or value.get(part) is None:
                return default
            value = value[part]
        return value

    def line(self, path: str) -> int:
        """Line of a key, or of the nearest section around it."""
        while path and path not in self.lines:
            path = path.rpartition(".")[0]
        return self.lines.get(path, 1)

    def fault(self, path: str, message: str) -> None:
        """Record a fault at a key."""
        self.faults.append(Finding(self.line(path), path, message))

    def note(self, path: str, message: str) -> None:
        """Record a note at a key."""
        self.notes.append(Finding(self.line(path), path, message))


# A check of one scalar: returns the value to use, raises ValueError with the reason.
Scalar = Callable[[Any], Any]


@dataclass(frozen=True, slots=True)
class Noted:
    """A known key that has no effect here; `why` is shown when it is set."""

    why: str


@dataclass(frozen=True, slots=True)
class Refused:
    """A known key whose presence (with a value) is a fault; `why` says what to do instead."""

    why: str


@dataclass(frozen=True, slots=True)
class Items:
    """A list of scalars."""

    item: Scalar


@dataclass(frozen=True, slots=True)
class Anything:
    """A mapping that is checked elsewhere."""


@dataclass(frozen=True, slots=True)
class Used:
    """A key that has an effect here: `effect` says which (for the table in the docs), `rule` checks it."""

    effect: str
    rule: Scalar | Items | Anything


Shape = Mapping[str, "Shape | Used | Noted | Refused"]


def check(text: str, shape: Shape, *, file: str) -> Checked:
    """Parse `text` and check it. Raises ConfigError when it is not YAML or not a mapping."""
    try:
        root = yaml.compose(text, Loader=yaml.SafeLoader)
    except yaml.YAMLError as error:
        mark = getattr(error, "problem_mark", None)
        where = f" line {mark.line + 1}" if mark else ""
        raise ConfigError(f"{file}{where}: not valid YAML: {getattr(error, 'problem', None)}") from None
    if not isinstance(root, yaml.MappingNode):
        raise ConfigError(f"{file}: the top level must be a mapping")
    result = Checked()
    result.values = _mapping(root, shape, "", result)
    return result


def _mapping(node: yaml.MappingNode, shape: Shape, prefix: str, result: Checked) -> dict[str, Any]:
    values: dict[str, Any] = {}
    for key_node, value_node in node.value:
        key = str(key_node.value)
        path = f"{prefix}{key}"
        line = key_node.start_mark.line + 1
        if path in result.lines and key in values:
            result.faults.append(Finding(line, path, f"given before, on line {result.lines[path]}"))
            continue
        result.lines[path] = line
        rule = shape.get(key)
        if rule is None:
            result.fault(path, "unknown key" + did_you_mean(key, shape))
            continue
        plain = _construct(value_node)
        if plain is None or (isinstance(rule, Noted | Refused) and _empty(plain)):
            # A key that nobody filled in.
            values[key] = None
        elif isinstance(rule, Noted):
            result.note(path, rule.why)
        elif isinstance(rule, Refused):
            result.fault(path, rule.why)
        elif isinstance(rule, Mapping):
            if isinstance(value_node, yaml.MappingNode):
                values[key] = _mapping(value_node, rule, f"{path}.", result)
            else:
                result.fault(path, "must be a section with keys")
        else:
            _use(value_node, plain, rule.rule, path, key, values, result)
    return values


def _empty(plain: Any) -> bool:
    """Whether a value is null, or a mapping of nothing but such values."""
    return plain is None or (isinstance(plain, dict) and all(_empty(item) for item in plain.values()))


def _use(
    node: yaml.Node,
    plain: Any,
    rule: Scalar | Items | Anything,
    path: str,
    key: str,
    values: dict[str, Any],
    result: Checked,
) -> None:
    if isinstance(rule, Anything):
        if isinstance(plain, dict):
            values[key] = plain
        else:
            result.fault(path, "must be a section with keys")
    elif isinstance(rule, Items):
        values[key] = _items(node, rule, path, result)
    else:
        try:
            values[key] = rule(plain)
        except ValueError as error:
            result.fault(path, str(error))


def _items(node: yaml.Node, rule: Items, path: str, result: Checked) -> list[Any]:
    if not isinstance(node, yaml.SequenceNode):
        result.fault(path, "must be a list")
        return []
    values = []
    for item in node.value:
        try:
            values.append(rule.item(_construct(item)))
        except ValueError as error:
            result.faults.append(Finding(item.start_mark.line + 1, path, str(error)))
    return values


def _construct(node: yaml.Node) -> Any:
    loader = yaml.SafeLoader("")
    try:
        return loader.construct_document(node)
    except yaml.YAMLError:
        return None
    finally:
        loader.dispose()


# -- scalars -------------------------------------------------------------------------------------------


def text(value: Any) -> str:
    """Any text; numbers are taken as written."""
    if isinstance(value, (dict, list, bool)):
        raise ValueError("must be a text")
    return str(value)


def words(value: Any) -> str:
    """A text that is not empty."""
    if not text(value).strip():
        raise ValueError("must not be empty")
    return text(value).strip()


def flag(value: Any) -> bool:
    """True or false; also as text, which Harbor's tools leave behind."""
    if isinstance(value, bool):
        return value
    if str(value).lower() in ("true", "false"):
        return str(value).lower() == "true"
    raise ValueError("must be true or false")


def number(low: int, high: int) -> Scalar:
    """A whole number within bounds."""

    def take(value: Any) -> int:
        if isinstance(value, bool) or not re.fullmatch(r"-?\d+", str(value)):
            raise ValueError("must be a whole number")
        if not low <= int(value) <= high:
            raise ValueError(f"must be from {low} to {high}")
        return int(value)

    return take


port = number(1, 65535)


def choice(*allowed: str) -> Scalar:
    """One of a few texts."""

    def take(value: Any) -> str:
        if str(value) not in allowed:
            raise ValueError(f"must be one of {', '.join(allowed)}")
        return str(value)

    return take


def path(value: Any) -> str:
    """An absolute path."""
    if not isinstance(value, str) or not PurePosixPath(value).is_absolute():
        raise ValueError("must be an absolute path")
    return value


def url(value: Any) -> str:
    """An http or https URL without a path."""
    if not re.fullmatch(r"https?://[^/\s?#@]+/?", str(value)):
        raise ValueError("must be http:// or https://, a host and perhaps a port, and no path")
    return str(value).rstrip("/")


def duration(value: Any) -> str:
    """A duration in Go's form, such as 168h, 5m or 300ms; 0 and whole seconds too."""
    if not re.fullmatch(r"-?(\d+|(\d+(\.\d+)?(ns|us|µs|ms|s|m|h))+)", str(value)):
        raise ValueError("must be a duration such as 168h, 5m or 30s")
    return str(value)


def hostname(value: Any) -> str:
    """A host name or address that clients can reach."""
    host = str(value)
    if not re.fullmatch(r"[A-Za-z0-9]([A-Za-z0-9.-]*[A-Za-z0-9])?|\[?[0-9a-fA-F:]+\]?", host):
        raise ValueError("must be a host name or an IP address, without protocol and port")
    if host == "reg.mydomain.com":
        raise ValueError("is still the template's; set the name that clients use")
    return host
