"""Reading settings from flags, environment and `seawall.yml`; each fault is one line: where, what, the cure.

Order of precedence, strongest first: flags, environment, file, defaults.
"""

from __future__ import annotations

import contextlib
import difflib
import json
import os
import re
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path
from types import UnionType
from typing import Any, Union, get_args, get_origin

import yaml
from pydantic import BaseModel, ValidationError

from seawall.infra.settings import Settings, use_sources
from seawall.kernel.errors import ConfigError
from seawall.kernel.spelling import did_you_mean

PREFIX = "SEAWALL_"
SYSTEM_FILE = Path("/etc/seawall/seawall.yml")
# Variables of that prefix that are not settings.
_OTHERS = {
    "SEAWALL_CONFIG",
    "SEAWALL_RESOLVED_SETTINGS",
    "SEAWALL_DRAIN_FILE",
    "SEAWALL_INSTANCE_ID",
    "SEAWALL_DEBUG",
    "SEAWALL_PASSWORD",
    "SEAWALL_NO_PORTAL",
    "SEAWALL_HARBOR_DATABASE",
    "SEAWALL_HARBOR_SECRET_KEY",
    "SEAWALL_SOURCE_PASSWORD",
    "SEAWALL_TARGET_PASSWORD",
}
# Kubernetes gives every pod variables of the services in its namespace, and ours may be called seawall.
_SERVICE = re.compile(r"SEAWALL(_[A-Z0-9_]+)?_SERVICE_(HOST|PORT(_[A-Z0-9_]+)?)")
_SERVICE_ADDRESS = re.compile(r"SEAWALL(_[A-Z0-9_]+)?_PORT(_[0-9]+_(TCP|UDP|SCTP)(_(PROTO|PORT|ADDR))?)?")
# What the project's own tests and benchmarks read.
_TESTS = re.compile(r"SEAWALL_(TEST|CRASH|MEMORY|CHAOS|SOAK|BENCH|SCREENSHOTS|BIG|FUZZ|DR_SECONDS)\w*")


def load(file: Path | None = None, flags: Mapping[str, Any] | None = None) -> Settings:
    """Read settings from flags, environment and `file` (YAML mapping).

    Raises ConfigError with one line that names the source and the key.
    """
    values, lines = _read(file) if file is not None else ({}, {})
    environment = _environment()
    with use_sources(environment, values):
        try:
            return Settings(**(flags or {}))
        except ValidationError as error:
            raise ConfigError(_fault(error, file, lines, environment, flags or {})) from None


def find(data_dir: Path | None = None) -> Path | None:
    """The settings file to use where none is named: the working directory's, then the host's."""
    here = Path("seawall.yml")
    # A working directory that this user may not enter has none: `sudo -u seawall seawall ...` in root's home.
    with contextlib.suppress(PermissionError):
        if here.exists():
            return here
    named = data_dir is not None or not {"SEAWALL_DATA_DIR", "SEAWALL_DATABASE__URL"}.isdisjoint(os.environ)
    if not named and os.access(SYSTEM_FILE, os.R_OK):
        return SYSTEM_FILE
    return None


# -- the file -------------------------------------------------------------------------------------------


def _read(file: Path) -> tuple[dict[str, Any], dict[tuple[str, ...], int]]:
    """(values, line of each key). Raises ConfigError."""
    try:
        text = file.read_text()
        root = yaml.compose(text, Loader=yaml.SafeLoader)
        found = list(_keys(root, ())) if root is not None else []
        values = yaml.safe_load(text) or {}
    except (OSError, UnicodeDecodeError) as error:
        raise ConfigError(f"{file}: {getattr(error, 'strerror', None) or 'is not UTF-8 text'}") from None
    except yaml.YAMLError as error:
        mark = getattr(error, "problem_mark", None)
        place = f" line {mark.line + 1}" if mark else ""
        raise ConfigError(f"{file}{place}: not valid YAML: {_of_yaml(error)}") from None
    except RecursionError:
        raise ConfigError(f"{file}: not valid YAML: a part of it refers to itself") from None
    if not isinstance(values, dict):
        raise ConfigError(f"{file}: the top level must be a mapping")
    for key in values:
        if not isinstance(key, str):
            raise ConfigError(f"{file}: {key}: unknown key; names of settings must be text")
    lines: dict[tuple[str, ...], int] = {}
    for path, line in found:
        if path in lines:
            # YAML parsers take the last one silently, and an operator may look at the first.
            raise ConfigError(
                f"{file} line {line}: {'.'.join(path)}: given before, on line {lines[path]}; remove one"
            )
        lines[path] = line
    if "hostname" in values or "harbor_admin_password" in values:
        raise ConfigError(
            f"{file}: is a harbor.yml; `seawall prepare -f {file}` makes the seawall.yml to name here"
        )
    return values, lines


def _of_yaml(error: yaml.YAMLError) -> str:
    problem = getattr(error, "problem", None)
    if problem is None:
        return str(getattr(error, "reason", None) or "it cannot be read")
    context = getattr(error, "context", None)
    return f"{context}, {problem}" if problem.startswith("but ") else problem


def _keys(node: yaml.Node, prefix: tuple[str, ...]) -> Iterator[tuple[tuple[str, ...], int]]:
    if isinstance(node, yaml.MappingNode):
        for key, value in node.value:
            path = (*prefix, str(key.value))
            yield path, key.start_mark.line + 1
            yield from _keys(value, path)
    elif isinstance(node, yaml.SequenceNode):
        for number, item in enumerate(node.value):
            yield from _keys(item, (*prefix, str(number)))


# -- the environment ------------------------------------------------------------------------------------


def _environment() -> dict[str, Any]:
    """Nested values of `SEAWALL_SECTION__KEY`; lists as JSON or with commas. Raises ConfigError."""
    found: dict[str, Any] = {}
    for name in sorted(os.environ):
        upper = name.upper()
        if not upper.startswith(PREFIX) or upper in _OTHERS:
            continue
        path = tuple(upper.removeprefix(PREFIX).lower().split("__"))
        known, wanted = _annotation(Settings, path)
        if not known:
            if _foreign(upper, os.environ[name]):
                continue
            raise ConfigError(f"{name}: unknown setting{_suggestion(path)}")
        *sections, key = path
        target = found
        for section in sections:
            inner = target.setdefault(section, {})
            if not isinstance(inner, dict):
                raise ConfigError(f"{name}: {PREFIX}{section.upper()} is set as a whole too; use one of them")
            target = inner
        value = _value(name, os.environ[name], wanted)
        if isinstance(value, dict) and isinstance(target.get(key), dict):
            value = {**value, **target[key]}
        target[key] = value
    return found


def _foreign(name: str, value: str) -> bool:
    if _SERVICE.fullmatch(name) or _TESTS.fullmatch(name):
        return True
    # SEAWALL_HTTP_PORT is a slip when it is a number, and a service's when it is tcp://10.0.0.1:80.
    match = _SERVICE_ADDRESS.fullmatch(name)
    return match is not None and (match[2] is not None or "://" in value)


def _annotation(model: type[BaseModel], path: tuple[str, ...]) -> tuple[bool, Any]:
    """(whether `path` names a setting, its type)."""
    field = model.model_fields.get(path[0])
    if field is None:
        return False, None
    kind = field.annotation
    if len(path) == 1:
        return True, kind
    for inner in _members(kind):
        if isinstance(inner, type) and issubclass(inner, BaseModel):
            return _annotation(inner, path[1:])
        if get_origin(inner) is dict:
            return len(path) == 2, get_args(inner)[1]
    return False, None


def _members(kind: Any) -> tuple[Any, ...]:
    return get_args(kind) if get_origin(kind) in (Union, UnionType) else (kind,)


def _value(name: str, text: str, kind: Any) -> Any:
    members = _members(kind)
    lists = any(get_origin(member) in (list, tuple, set) for member in members)
    objects = any(
        get_origin(member) is dict or (isinstance(member, type) and issubclass(member, BaseModel))
        for member in members
    )
    if text == "" and type(None) in members and str not in members:
        return None
    if not (lists or objects):
        return text
    if text.lstrip().startswith("[" if lists else "{"):
        try:
            return json.loads(text)
        except ValueError as error:
            raise ConfigError(f"{name}: not valid JSON: {error}") from None
    if lists:
        return [item.strip() for item in text.split(",") if item.strip()]
    raise ConfigError(f"{name}: must be a JSON object; single keys are {name}__KEY=value")


def _suggestion(path: tuple[str, ...]) -> str:
    """What was meant: one underscore for two is the commonest mistake."""
    names = ["__".join(known) for known in _paths(Settings)]
    wanted = "__".join(path)
    flat = {name.replace("__", "_"): name for name in names}
    guess = flat.get(wanted.replace("__", "_"))
    if guess is None:
        near = difflib.get_close_matches(wanted, names, 1, 0.7)
        guess = near[0] if near else None
    return f"; did you mean {PREFIX}{guess.upper()}?" if guess else "; `seawall config check` lists them"


def _paths(model: type[BaseModel]) -> Iterator[tuple[str, ...]]:
    for name, field in model.model_fields.items():
        inner = [m for m in _members(field.annotation) if isinstance(m, type) and issubclass(m, BaseModel)]
        yield (name,)
        for section in inner:
            for path in _paths(section):
                yield (name, *path)


# -- what is wrong ---------------------------------------------------------------------------------------


def _fault(
    error: ValidationError,
    file: Path | None,
    lines: Mapping[tuple[str, ...], int],
    environment: Mapping[str, Any],
    flags: Mapping[str, Any],
) -> str:
    first = error.errors()[0]
    path = tuple(str(part) for part in first["loc"])
    message = in_words(first)
    if first["type"] == "extra_forbidden":
        message = "unknown key" + _like_it(path)
    elif first["type"] == "string_type" and isinstance(first["input"], (int, float)):
        # YAML reads 12345678 as a number, and yes as true.
        message += "; put it in quotes"
    # A union's alternatives stand in the location too; the key is the longest part that was given.
    for length in range(len(path), 0, -1):
        given = path[:length]
        if _has(flags, given):
            return f"{'.'.join(given)}: {message}"
        if _has(environment, given):
            return f"{PREFIX}{'__'.join(given).upper()}: {message}"
        if file is not None and given in lines:
            return f"{file} line {lines[given]}: {'.'.join(given)}: {message}"
    where = f"{file}: " if file else ""
    return f"{where}{'.'.join(path) or 'settings'}: {message}"


def _number(bound: float) -> str:
    return str(int(bound)) if bound == int(bound) else str(bound)


def in_words(error: Mapping[str, Any], section: str = "a section with keys") -> str:
    """One of pydantic's errors in words for an operator, who need not know what validated."""
    bounds = error.get("ctx", {})
    match error["type"]:
        case "int_parsing" | "int_type" | "int_from_float":
            return "must be a whole number"
        case "float_parsing" | "float_type":
            return "must be a number"
        case "bool_parsing" | "bool_type":
            return "must be true or false"
        case "finite_number":
            return "must be a number"
        case "invalid_key":
            return "unknown key"
        case "string_type":
            return "must be a text"
        case "string_too_short":
            return f"must have {bounds['min_length']} characters or more"
        case "string_too_long":
            return f"must have {bounds['max_length']} characters or less"
        case "string_pattern_mismatch":
            return f"must match {bounds['pattern']}"
        case "path_type":
            return "must be a path"
        case "list_type" | "tuple_type" | "set_type":
            return "must be a list, such as [a, b]"
        case "dict_type" | "model_type" | "model_attributes_type":
            return f"must be {section}"
        case "greater_than_equal":
            return f"must be {_number(bounds['ge'])} or more"
        case "greater_than":
            return f"must be more than {_number(bounds['gt'])}"
        case "less_than_equal":
            return f"must be {_number(bounds['le'])} or less"
        case "less_than":
            return f"must be less than {_number(bounds['lt'])}"
        case "literal_error" | "enum":
            known = str(bounds["expected"]).split("'")[1::2]
            return f"must be {bounds['expected']}{did_you_mean(str(error['input']), known)}"
    return str(error["msg"]).removeprefix("Value error, ")


def _has(values: Mapping[str, Any], path: Iterable[str]) -> bool:
    here: Any = values
    for part in path:
        if not isinstance(here, Mapping) or part not in here:
            return False
        here = here[part]
    return True


def _like_it(path: tuple[str, ...]) -> str:
    if len(path) == 1 and tuple(path[0].split(".")) in _paths(Settings):
        section, _, key = path[0].partition(".")
        return f"; write `{section}:`, and below it `{key}:`"
    model: type[BaseModel] = Settings
    for part in path[:-1]:
        field = model.model_fields.get(part)
        inner = [
            m
            for m in _members(field.annotation if field else None)
            if isinstance(m, type) and issubclass(m, BaseModel)
        ]
        if not inner:
            return ""
        model = inner[0]
    return did_you_mean(path[-1], model.model_fields)
