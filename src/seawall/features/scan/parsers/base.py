"""What the parsers share."""

from __future__ import annotations

from collections.abc import Iterator


class ParseError(Exception):
    """The file is not what its name says; the message says why."""


class TooMuchError(ParseError):
    """Reading the file costs more than scanning allows, so nobody knows what is in it."""


def paragraphs(data: bytes) -> Iterator[dict[str, str]]:
    """RFC 822-like paragraphs (Debian policy section 5.1): first line of each field, continuation dropped."""
    fields: dict[str, str] = {}
    for line in data.decode("utf-8", "replace").split("\n"):
        if not line.strip():
            if fields:
                yield fields
                fields = {}
        elif line[0] not in " \t":
            name, separator, value = line.partition(":")
            if separator:
                fields.setdefault(name.lower(), value.strip())
    if fields:
        yield fields


def clean(text: str, limit: int = 255) -> str:
    """One line of printable text, at most `limit` characters."""
    text = text.strip()[:limit]
    return text if text.isprintable() else "".join(c for c in text if c.isprintable())
