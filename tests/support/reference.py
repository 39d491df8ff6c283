"""The pages of docs/reference, made from the code: `python -m tests.support.reference` writes them."""

from __future__ import annotations

import ast
import re
import types
import typing
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any, Literal, Union, get_args, get_origin

import typer
from pydantic import BaseModel
from pydantic.fields import FieldInfo

from seawall.features.audit.trail import EVENT_TYPES
from seawall.infra.exemplars import HISTOGRAM
from seawall.infra.settings import Settings
from seawall.process.commands.main import app
from tests.support import openapi
from tests.support.processes import ROOT

FOLDER = ROOT / "docs" / "reference"
_MADE = "`python -m tests.support.reference` makes this page from the code; a test compares the two.\n"


def _cell(text: str) -> str:
    return " ".join(text.split()).replace("|", "\\|").replace("<", "&lt;").replace("*", "\\*")


def _table(head: tuple[str, ...], rows: Sequence[tuple[str, ...]]) -> str:
    lines = ["| " + " | ".join(head) + " |", "|" + "---|" * len(head)]
    return "\n".join([*lines, *("| " + " | ".join(row) + " |" for row in rows)]) + "\n"


# Settings


def fields(model: type[BaseModel] = Settings, before: str = "") -> Iterator[tuple[str, FieldInfo]]:
    """(name with its sections, field) of every setting."""
    for name, field in model.model_fields.items():
        of = field.annotation
        if isinstance(of, type) and issubclass(of, BaseModel):
            yield from fields(of, f"{before}{name}.")
        else:
            yield before + name, field


def _type(of: Any) -> str:
    plain = {str: "text", int: "whole number", float: "number", bool: "true or false", Path: "path"}
    if of in plain:
        return plain[of]
    origin, inner = get_origin(of), get_args(of)
    if origin is Literal:
        return ", ".join(f"`{item}`" for item in inner)
    if origin in (Union, types.UnionType):
        return " or ".join(dict.fromkeys(_type(item) for item in inner if item is not type(None)))
    if origin is typing.Annotated:
        return _type(inner[0])
    if origin in (list, tuple):
        return "list"
    return "map" if origin is dict else str(of)


def _bounds(field: FieldInfo) -> str:
    words = {"ge": "at least", "gt": "above", "le": "at most", "lt": "below"}
    found = [
        f"{words[key]} {getattr(item, key):.12g}"
        for item in field.metadata
        for key in words
        if hasattr(item, key)
    ]
    return f" ({', '.join(found)})" if found else ""


def _default(field: FieldInfo) -> str:
    value = field.get_default(call_default_factory=True)
    if value is None or value in ("", [], {}):
        return "none"
    if isinstance(value, bool):
        return str(value).lower()
    if isinstance(value, list):
        return ", ".join(f"`{item}`" for item in value)
    return f"`{value}`"


def settings() -> str:
    """docs/reference/settings.md."""
    rows = [
        (
            f"`{name}`",
            f"`SEAWALL_{name.replace('.', '__').upper()}`",
            _type(field.annotation) + _bounds(field),
            _default(field),
            _cell(field.description or ""),
        )
        for name, field in fields()
    ]
    return (
        "# Every setting\n\n"
        "Each setting has a name in `seawall.yml` and an environment variable. A dot in the name is a level\n"
        "of the file: `http.port` is `port` below `http`. [Settings](../settings.md) says which source\n"
        "wins, and explains the settings that need more than a line.\n\n"
        f"{_MADE}\n" + _table(("Setting", "Environment", "Value", "Default", "Meaning"), rows)
    )


# Command line


def commands() -> Iterator[tuple[tuple[str, ...], Any]]:
    """(words, command) of every command that help shows."""

    def walk(command: Any, path: tuple[str, ...]) -> Iterator[tuple[tuple[str, ...], Any]]:
        if hasattr(command, "commands"):
            for name, inner in command.commands.items():
                yield from walk(inner, (*path, name))
        elif not command.hidden:
            yield path, command

    return walk(typer.main.get_command(app), ())


def _parameter(item: Any) -> tuple[str, str, str]:
    if item.param_type_name == "argument":
        name = item.metavar or item.name.upper()
        shown = f"`{name}`" + ("" if item.required else ", optional")
    else:
        shown = ", ".join(f"`{word}`" for word in (*item.opts, *item.secondary_opts))
        shown += ", required" if item.required else ""
    default = item.default
    plain = isinstance(default, (str, int, float)) and not isinstance(default, bool) and str(default)
    variables = [item.envvar] if isinstance(item.envvar, str) else list(item.envvar or ())
    meaning = _cell(item.help or "") + "".join(f"; environment: `{name}`" for name in variables)
    return shown, f"`{getattr(default, 'value', default)}`" if plain else "", meaning


def command_line() -> str:
    """docs/reference/cli.md."""
    parts = [
        "# Command line\n\nEvery command of `seawall`, in the order of `seawall --help`.\n"
        "With `--debug` anywhere on the line, a command prints a trace after an error. Exit codes:\n"
        f"0 done, 1 it could not be done, 2 the command line is wrong, 130 interrupted.\n"
        f"[Shell](../shell.md) says how to set up completion.\n\n{_MADE}"
    ]
    for path, command in commands():
        text = command.help or ""
        examples = re.findall(r"^Example: (.*)$", text, re.MULTILINE)
        described = re.sub(r"^Example: .*$", "", text, flags=re.MULTILINE)
        paragraphs = [
            _cell(item) for item in re.split(r"\n\s*\n", described.replace("\f", "")) if item.strip()
        ]
        parts.append(f"## seawall {' '.join(path)}\n\n" + "\n\n".join(paragraphs) + "\n")
        parts.append("```text\n" + "\n".join(examples) + "\n```\n")
        rows = [_parameter(item) for item in command.params if not getattr(item, "hidden", False)]
        if rows:
            parts.append(_table(("Argument or option", "Default", "Meaning"), rows))
    return "\n".join(parts)


# Metrics

_METRIC = re.compile(r"(seawall|harbor|registry)_[a-z_]+")
_MAKERS = {"Counter", "Gauge", "Histogram", "Summary", "Family", "Family.single", "gauge", "Metric"}


def _named(node: ast.expr) -> str:
    if isinstance(node, ast.Constant) and isinstance(node.value, str):
        return node.value
    return HISTOGRAM if isinstance(node, ast.Attribute) and node.attr == "HISTOGRAM" else ""


def metrics_of_code() -> dict[str, tuple[str, str]]:
    """(type, help) by name, of every metric that the source makes."""
    found = {}
    for path in sorted((ROOT / "src" / "seawall").rglob("*.py")):
        for node in ast.walk(ast.parse(path.read_text())):
            if isinstance(node, ast.Call):
                maker, given = ast.unparse(node.func).removeprefix("telemetry."), node.args
            elif isinstance(node, ast.Tuple) and path.stem == "figures":
                maker, given = "Family", node.elts
            else:
                continue
            if maker not in _MAKERS or len(given) < 2 or not isinstance(given[1], ast.Constant):
                continue
            name = _named(given[0])
            if _METRIC.fullmatch(name) and " " in str(given[1].value) + " ":
                kind = "gauge" if maker.startswith(("Family", "gauge")) else maker.lower()
                if maker == "Metric":
                    name, kind = f"{name}_total", "counter"
                found[name] = (kind, str(given[1].value))
    return found


_RENAMED = {
    "registry_http_requests_total": ("counter", "`seawall_http_requests_total` of the registry API"),
    "registry_http_request_duration_seconds": (
        "histogram",
        "`seawall_http_request_seconds` of the registry API",
    ),
    "registry_storage_action_seconds": ("histogram", "`seawall_storage_seconds` by Distribution's names"),
    "harbor_jobservice_task_process_time_seconds": ("summary", "`seawall_job_seconds` by Harbor's names"),
    **{
        f"harbor_statistics_{word}_{short}_amount": ("gauge", f"Number of {which}{what}")
        for short, what in (("project", "projects"), ("repo", "repositories"))
        for word, which in (("total", ""), ("public", "public "), ("private", "private "))
    },
}


def metrics() -> str:
    """docs/reference/metrics.md."""
    found = {**metrics_of_code(), **_RENAMED}
    rows = [(f"`{name}`", kind, text) for name, (kind, text) in sorted(found.items())]
    return (
        "# Every metric\n\n[Metrics](../metrics.md) says which metrics are of an instance and which of the\n"
        f"cluster, and explains the labels.\n\n{_MADE}\n" + _table(("Metric", "Type", "Meaning"), rows)
    )


# Audit log


def _calls(name: str) -> Iterator[tuple[str, str]]:
    """(operation, kind of resource) of calls of the method `name` with fixed words in the source."""
    for path in sorted((ROOT / "src" / "seawall").rglob("*.py")):
        for node in ast.walk(ast.parse(path.read_text())):
            if isinstance(node, ast.Call) and isinstance(node.func, ast.Attribute) and node.func.attr == name:
                words = [item.value for item in node.args[:2] if isinstance(item, ast.Constant)]
                if len(words) == 2 and all(isinstance(item, str) for item in words):
                    yield str(words[0]), str(words[1])


def audit_events() -> str:
    """docs/reference/audit-events.md."""
    found = sorted(set(_calls("audited")), key=lambda item: (item[1], item[0]))
    by_kind: dict[str, list[str]] = {}
    for operation, kind in found:
        by_kind.setdefault(kind, []).append(f"`{operation}`")
    rows = [(f"`{kind}`", ", ".join(words)) for kind, words in by_kind.items()]
    named = [
        (f"`{name}`", f"`{name.split('_', 1)[0]}`", f"`{name.split('_', 1)[1]}`") for name in EVENT_TYPES
    ]
    return (
        "# Words of the audit log\n\nAn entry of the [audit log](../audit.md) has an operation and a kind of "
        f"resource.\n\n{_MADE}\n## Kinds of events\n\n"
        "These words are for the configuration item `disabled_audit_log_event_types` and for the purge\n"
        "(`include_event_types`). `other` means all entries except those about artifacts.\n\n"
        + _table(("Event", "`operation`", "`resource_type`"), named)
        + "\n## Changes over the API\n\nEach route of the API that changes something writes one of these "
        "pairs.\n\n" + _table(("`resource_type`", "`operation`"), rows)
    )


# API


def api() -> str:
    """docs/reference/api.md."""
    document = openapi.document()
    groups: dict[str, list[tuple[str, ...]]] = {}
    for path, operations in document["paths"].items():
        for method, operation in operations.items():
            text = _cell(str(operation.get("description") or operation.get("summary") or ""))
            row = (f"`{method.upper()} {path.removeprefix('/api/v2.0')}`", text)
            groups.setdefault(operation.get("tags", ["other"])[0], []).append(row)
    parts = [
        "# Every operation of the management API\n\n"
        "Paths follow `/api/v2.0`. The server gives the whole document,\n"
        "with parameters and bodies, at `/api/v2.0/openapi.json`. [Management API](../api.md) has examples,\n"
        f"and [coverage](../api-coverage.md) compares with Harbor.\n\n{_MADE}"
    ]
    for name in sorted(groups, key=str.lower):
        parts.append(f"## {name}\n\n" + _table(("Operation", "Meaning"), sorted(groups[name])))
    return "\n".join(parts)


PAGES: dict[str, Callable[[], str]] = {
    "settings.md": settings,
    "cli.md": command_line,
    "metrics.md": metrics,
    "audit-events.md": audit_events,
    "api.md": api,
}


if __name__ == "__main__":
    FOLDER.mkdir(exist_ok=True)
    for _name, _page in PAGES.items():
        (FOLDER / _name).write_text(_page())
