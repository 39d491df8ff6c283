"""Requests of peers: signed in all that they say, their bodies sealed, and bytes in order and complete."""

from __future__ import annotations

import asyncio
import secrets
import time
from collections.abc import AsyncIterator, Callable
from types import SimpleNamespace
from typing import Any

import pytest

from seawall.availability.peers import wire
from seawall.infra.secrets.master import MasterKeys
from seawall.infra.settings import PeerSettings

TARGET = f"{wire.PATH}/v2/library/x/blobs/uploads/1"
CLAIMS = {wire.ACTOR: "alice", wire.ADDRESS: "192.0.2.1", wire.RANGE: "0-9", wire.LENGTH: "10"}


def keys_of(*masters: bytes) -> Any:
    """What a ring of these master keys is to the wire."""
    return SimpleNamespace(masters=MasterKeys(masters[0], masters[1:]))


KEYS = keys_of(secrets.token_bytes(32))
[FINGERPRINT] = KEYS.masters.peer_keys("request")


def signed(**claims: str) -> wire.Signed:
    return wire.sign(KEYS, FINGERPRINT, "PATCH", "B.example:80", TARGET, {**CLAIMS, **claims})


def test_a_signature_is_good_once_it_is_of_all() -> None:
    made = signed()
    taken = wire.signed(KEYS, "PATCH", "b.example:80", TARGET, made.claims)
    assert taken is not None
    assert (taken.nonce, taken.claims[wire.ACTOR]) == (made.nonce, "alice")
    # Headers that mean nothing here are not its business.
    assert wire.signed(KEYS, "PATCH", "b.example:80", TARGET, {**made.claims, "accept": "*/*"}) is not None


@pytest.mark.parametrize(
    ("method", "host", "target", "headers"),
    [
        ("PUT", "b.example:80", TARGET, {}),
        ("PATCH", "c.example:80", TARGET, {}),
        ("PATCH", "b.example:80", TARGET + "?digest=sha256:0", {}),
        ("PATCH", "b.example:80", TARGET, {wire.ACTOR: "admin"}),
        ("PATCH", "b.example:80", TARGET, {wire.ADDRESS: "192.0.2.2"}),
        ("PATCH", "b.example:80", TARGET, {wire.RANGE: "5-9"}),
        ("PATCH", "b.example:80", TARGET, {wire.LENGTH: "9"}),
        ("PATCH", "b.example:80", TARGET, {wire.BODY: wire.digest(b"x")}),
        ("PATCH", "b.example:80", TARGET, {wire.ACTOR: None}),
    ],
)
def test_whatever_is_changed_is_noticed(method: str, host: str, target: str, headers: dict[str, Any]) -> None:
    sent = {**signed().claims, **headers}
    with pytest.raises(wire.WireError, match="signature is wrong"):
        wire.signed(KEYS, method, host, target, {k: v for k, v in sent.items() if v is not None})


@pytest.mark.parametrize("header", ["", "1.2", "a.b.c", "\u0661.b.c.d"])
def test_no_signature_is_none(header: str) -> None:
    assert wire.signed(KEYS, "PATCH", "b", TARGET, {wire.HEADER: header}) is None


def test_an_old_request_and_another_key(monkeypatch: pytest.MonkeyPatch) -> None:
    made, now = signed(), time.time()
    monkeypatch.setattr("seawall.availability.peers.wire.time.time", lambda: now + 700)
    with pytest.raises(wire.WireError, match="old"):
        wire.signed(KEYS, "PATCH", "b.example:80", TARGET, made.claims)
    monkeypatch.undo()
    other = secrets.token_bytes(32)
    with pytest.raises(wire.WireError, match="another master key"):
        wire.signed(keys_of(other), "PATCH", "b.example:80", TARGET, made.claims)
    # One that replaces its master key holds both.
    both = keys_of(other, KEYS.masters.in_use)
    assert wire.signed(both, "PATCH", "b.example:80", TARGET, made.claims) is not None


def test_a_message_is_of_its_request_and_direction() -> None:
    one, two = signed(), signed()
    sealed = wire.seal(KEYS, one, "answer", {"granted": True})
    assert wire.unseal(KEYS, one, "answer", sealed) == {"granted": True}
    for request, direction, data in (
        (two, "answer", sealed),
        (one, "question", sealed),
        (one, "answer", sealed[:-1]),
        (one, "answer", b""),
    ):
        with pytest.raises(wire.WireError):
            wire.unseal(KEYS, request, direction, data)


async def _given(parts: list[bytes]) -> AsyncIterator[bytes]:
    for part in parts:
        yield part


async def _all(parts: AsyncIterator[bytes]) -> list[bytes]:
    return [part async for part in parts]


def _framed(request: wire.Signed, parts: list[bytes]) -> list[bytes]:
    return asyncio.run(_all(wire.frames(KEYS, request, "question", _given(parts))))


def _read(request: wire.Signed, parts: list[bytes]) -> bytes:
    return b"".join(asyncio.run(_all(wire.unframed(KEYS, request, "question", _given(parts)))))


def test_bytes_come_as_they_were_however_they_are_cut() -> None:
    request, data = signed(), secrets.token_bytes(2_500_000)
    made = _framed(request, [data[:10], b"", data[10:]])
    assert len(made) == 5
    assert data not in b"".join(made)
    assert _read(request, made) == data
    whole = b"".join(made)
    cuts = [whole[start : start + 70_001] for start in range(0, len(whole), 70_001)]
    assert _read(request, cuts) == data
    assert _read(request, _framed(request, [])) == b""


@pytest.mark.parametrize(
    "change",
    [
        lambda made: made[:-1],
        lambda made: made[1:],
        lambda made: [made[1], made[0], *made[2:]],
        lambda made: [*made, made[0]],
        lambda made: [made[0], made[0], *made[1:]],
        lambda made: [made[0][:-1] + bytes([made[0][-1] ^ 1]), *made[1:]],
        lambda made: [b"\xff\xff\xff\xff\0" + made[0]],
        # The mark of the last frame, put on an earlier one.
        lambda made: [made[0][:4] + b"\1" + made[0][5:]],
        lambda made: [b"".join(made)[:-3]],
    ],
    ids=["cut", "begun-late", "moved", "more", "twice", "changed", "long", "ended", "short"],
)
def test_bytes_are_all_or_an_error(change: Callable[[list[bytes]], list[bytes]]) -> None:
    request = signed()
    made = _framed(request, [b"one", b"two", b"three"])
    with pytest.raises(wire.WireError):
        _read(request, change(made))
    with pytest.raises(wire.WireError):
        _read(signed(), made)


def test_peers_are_reached_over_private_links() -> None:
    for url in ("https://b.example", "http://127.0.0.1:8080", "http://localhost:8080", "http://[::1]:80"):
        assert PeerSettings(name="a", urls=[url]).urls == [url]
    with pytest.raises(ValueError, match="must be https"):
        PeerSettings(name="a", urls=["http://b.example"])
    assert PeerSettings(name="a", urls=["http://b.example"], allow_http=True).allow_http
