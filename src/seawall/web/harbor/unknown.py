"""Names members of a request body that its model does not have.

Harbor ignores them, and its clients send some; but a refusal that names them shows a misspelt one at once.
"""

from __future__ import annotations

from collections.abc import Iterator
from types import UnionType
from typing import Any, Union, get_args, get_origin

from pydantic import BaseModel

_NAMES = 5
_LENGTH = 64


def note(kind: Any, body: Any) -> str:
    """What to add to the error about a body that should be a `kind`; empty when it has no unknown members."""
    found = [name[:_LENGTH] for _, name in zip(range(_NAMES), unknown_members(kind, body), strict=False)]
    return f"unknown members: {', '.join(found)}" if found else ""


def unknown_members(kind: Any, value: Any, place: str = "") -> Iterator[str]:
    """The members of `value` that `kind` (a model, or a list, dict or union of such) lacks: `a`, `a.0.b`."""
    arguments = get_args(kind)
    if isinstance(kind, type) and issubclass(kind, BaseModel):
        if isinstance(value, dict):
            yield from _of_model(kind, value, place)
    elif get_origin(kind) in (Union, UnionType):
        # None and plain values have no members.
        for argument in arguments:
            yield from unknown_members(argument, value, place)
    elif get_origin(kind) is list and isinstance(value, list):
        for number, item in enumerate(value):
            yield from unknown_members(arguments[0], item, f"{place}{number}.")
    elif get_origin(kind) is dict and isinstance(value, dict):
        for name, item in value.items():
            yield from unknown_members(arguments[1], item, f"{place}{name}.")


def _of_model(kind: type[BaseModel], value: dict[str, Any], place: str) -> Iterator[str]:
    fields = {field.alias or name: field.annotation for name, field in kind.model_fields.items()}
    for name, item in value.items():
        if name in fields:
            yield from unknown_members(fields[name], item, f"{place}{name}.")
        elif kind.model_config.get("extra") != "allow":
            yield f"{place}{name}"
