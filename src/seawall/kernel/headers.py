"""Headers of a request by name: several layers look at some, and each pass over all of them takes time."""

from __future__ import annotations

from collections.abc import MutableMapping
from typing import Any

_KEY = "seawall.headers"


def by_name(scope: MutableMapping[str, Any]) -> dict[bytes, bytes]:
    """The headers of an ASGI scope, by their lower-case names; of those that come twice, the first."""
    headers = scope["headers"]
    known: tuple[Any, dict[bytes, bytes]] | None = scope.get(_KEY)
    # A layer may have given the scope other headers since.
    if known is None or known[0] is not headers:
        known = scope[_KEY] = (headers, dict(reversed(headers)))
    return known[1]
