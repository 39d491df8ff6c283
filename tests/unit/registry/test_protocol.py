"""The door for content: whoever wraps a registry passes on every verb that it does not change."""

from __future__ import annotations

import asyncio
import inspect
from typing import Any

import pytest

from seawall.availability.peers.registry import PeerRegistry
from seawall.features.proxycache.registry import ProxyCache
from seawall.registry.local import LocalRegistry
from seawall.registry.protocol import BlobVerbs, ListVerbs, ManifestVerbs, Registry, UploadVerbs, Wrapper

VERBS = sorted(
    name
    for part in (ListVerbs, ManifestVerbs, BlobVerbs, UploadVerbs)
    for name, value in vars(part).items()
    if inspect.iscoroutinefunction(value)
)


class Recorder:
    """Notes every verb with what it is called with."""

    def __init__(self) -> None:
        self.calls: list[tuple[str, list[Any], dict[str, Any]]] = []

    def __getattr__(self, name: str) -> Any:
        async def verb(*args: Any, **options: Any) -> object:
            self.calls.append((name, list(args), options))
            return self

        return verb


def test_there_are_all_verbs() -> None:
    assert len(VERBS) == 17


@pytest.mark.parametrize("verb", VERBS)
def test_wrapper_passes_on(verb: str) -> None:
    parameters = list(inspect.signature(getattr(Registry, verb)).parameters.values())[1:]
    args = [object() for p in parameters if p.kind is not p.KEYWORD_ONLY]
    options = {p.name: object() for p in parameters if p.kind is p.KEYWORD_ONLY}
    inner: Any = Recorder()
    answer = asyncio.run(getattr(Wrapper(inner), verb)(*args, **options))
    assert inner.calls == [(verb, args, options)]
    assert answer in (inner, None)


@pytest.mark.parametrize("registry", [Wrapper, LocalRegistry, ProxyCache, PeerRegistry])
@pytest.mark.parametrize("verb", VERBS)
def test_same_signature(registry: type, verb: str) -> None:
    wanted, found = inspect.signature(getattr(Registry, verb)), inspect.signature(getattr(registry, verb))
    assert found == wanted
    # LocalRegistry derives from the protocol: what it did not define would silently return None.
    assert getattr(registry, verb) is not getattr(Registry, verb)
