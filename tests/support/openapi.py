"""The OpenAPI document of the management API, made once for each process: that takes seconds."""

from __future__ import annotations

import functools
import json
import warnings
from typing import Any

from seawall.web.harbor.app import make_app


def document() -> dict[str, Any]:
    """A copy of the document, the caller's own."""
    found: dict[str, Any] = json.loads(_text())
    return found


@functools.cache
def _text() -> str:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        return json.dumps(make_app().openapi())
