"""Takes secrets out of text that leaves the house: those that are known, and what looks like one."""

from __future__ import annotations

import re
from collections.abc import Iterable
from urllib.parse import unquote, urlsplit

from pydantic import BaseModel

_STARS = "***"
# Shorter ones would be found in words.
_SHORTEST = 4
_LOOKS: tuple[tuple[re.Pattern[str], str], ...] = (
    # The userinfo of a URL.
    (re.compile(r"(?<=://)[^/\s@\"']+@"), f"{_STARS}@"),
    (re.compile(r"(?i)\b(basic|bearer)\s+[A-Za-z0-9+/=._~-]{6,}"), rf"\1 {_STARS}"),
    (re.compile(r"\beyJ[A-Za-z0-9_-]{8,}\.[A-Za-z0-9_-]+\.[A-Za-z0-9_-]*"), _STARS),
    (
        re.compile(
            r"(?i)([\"']?\b[\w-]*(?:password|passwd|secret|token|access_?key|secret_?key|signature|credential|"
            r"cookie|authorization)[\w-]*[\"']?\s*[=:]\s*[\"']?)(?!\(set\)|null|none|true|false|[0-9]{1,6}\b)"
            r"[^\s\"',;&}]{4,}"
        ),
        rf"\1{_STARS}",
    ),
    (
        re.compile(r"-----BEGIN [A-Z ]*PRIVATE KEY-----.*?(?:-----END [A-Z ]*PRIVATE KEY-----|\Z)", re.S),
        _STARS,
    ),
)


class Redactor:
    """Cleans text of secrets."""

    def __init__(self, known: Iterable[str] = ()) -> None:
        """`known`: secrets that are taken out wherever they stand, as they are and as a URL has them."""
        words = {item for item in known if len(item) >= _SHORTEST}
        # The longest first: one may be part of another.
        self._known = sorted(words, key=len, reverse=True)

    def clean(self, text: str) -> str:
        """`text` without secrets."""
        for word in self._known:
            text = text.replace(word, _STARS)
        for pattern, instead in _LOOKS:
            text = pattern.sub(instead, text)
        return text


def secrets_of(settings: BaseModel) -> set[str]:
    """Every value that the settings do not show (`repr=False`), and the passwords inside URLs."""
    found: set[str] = set()
    for name, info in type(settings).model_fields.items():
        value = getattr(settings, name)
        if isinstance(value, BaseModel):
            found |= secrets_of(value)
        elif not info.repr:
            for text in value.values() if isinstance(value, dict) else [value]:
                if isinstance(text, str):
                    found |= _parts(text)
    return found


def _parts(text: str) -> set[str]:
    if "://" not in text:
        return {text}
    password = urlsplit(text).netloc.rpartition("@")[0].partition(":")[2]
    return {text, password, unquote(password)} if password else {text}
