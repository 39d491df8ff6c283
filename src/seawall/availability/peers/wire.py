"""Messages between peers, signed and sealed under keys that only instances with the same master key have.

A request's signature is one header, which is looked at before anything of the body is read. It is over
method, host, path and query, time, a nonce that counts once, and all else that the receiver goes by: the user
that a request is passed on for, from which address, where its bytes belong, and the digest of its body.

Bodies are AES-256-GCM. A message is compressed JSON, bound to its direction and to the nonce of its request,
so that no answer can be passed off as another's. Bytes of blobs are a row of frames under a key of that
request alone; a frame knows its number and whether it is the last, so nothing can be cut off, left out or
moved.
"""

from __future__ import annotations

import hashlib
import hmac
import json
import secrets
import struct
import time
import zlib
from collections.abc import AsyncGenerator, AsyncIterator, Mapping
from dataclasses import dataclass
from typing import Any

from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.ciphers.aead import AESGCM

from seawall.infra.secrets.keyring import KeyRing
from seawall.kernel.errors import SeawallError

PATH = "/_seawall/peers"
HEADER = "X-Seawall-Peer"
# What else a request says in headers; signed with it.
ACTOR, ADDRESS = "X-Seawall-Actor", "X-Seawall-Address"
BODY, LENGTH, RANGE = "X-Seawall-Body", "X-Seawall-Length", "Content-Range"
_CLAIMS = (ACTOR, ADDRESS, BODY, LENGTH, RANGE)
# A request is good for so long, and its nonce is remembered until it is not, however the clocks differ.
_GOOD_SECONDS = 600
NONCE_SECONDS = 2 * _GOOD_SECONDS
_LIMIT = 256 * 1024 * 1024
# A frame: the length of what is sealed, whether it is the last one, and then that.
_HEAD = struct.Struct(">IB")
_FRAME = 1024 * 1024
_TAG = 16


class WireError(SeawallError):
    """A message that is not a peer's."""


@dataclass(frozen=True, slots=True)
class Signed:
    """A request whose signature is good: which master key it was signed with, its nonce, its claims."""

    fingerprint: str
    nonce: str
    claims: Mapping[str, str]


def new_nonce() -> str:
    """Of a request that is yet to be signed."""
    return secrets.token_hex(16)


def sign(
    keys: KeyRing,
    fingerprint: str,
    method: str,
    host: str,
    target: str,
    claims: Mapping[str, str],
    nonce: str | None = None,
) -> Signed:
    """Sign a request for `target` (path and query) at `host` (as in its Host header).

    The claims of the result are the headers to send, the signature among them.
    """
    nonce, at = nonce or new_nonce(), f"{time.time():.3f}"
    mac = _mac(keys.masters.peer_keys("request")[fingerprint], method, host, target, at, nonce, claims)
    return Signed(fingerprint, nonce, {**claims, HEADER: f"{fingerprint}.{nonce}.{mac}.{at}"})


def signed(keys: KeyRing, method: str, host: str, target: str, headers: Mapping[str, str]) -> Signed | None:
    """What a request says that a peer has signed; None when nobody signed it. Raises WireError."""
    parts = headers.get(HEADER, "").split(".", 3)
    if len(parts) != 4 or not headers[HEADER].isascii():
        return None
    fingerprint, nonce, mac, at = parts
    # While the master key is being replaced, a peer may use either.
    key = keys.masters.peer_keys("request").get(fingerprint)
    if key is None:
        raise WireError("has another master key: all peers need the same (master_key_file)")
    claims = {name: headers[name] for name in _CLAIMS if name in headers}
    if not hmac.compare_digest(mac, _mac(key, method, host, target, at, nonce, claims)):
        raise WireError("the signature is wrong; a proxy on the way must keep the Host header and the path")
    if abs(time.time() - float(at)) > _GOOD_SECONDS:
        raise WireError("the request is old, or the clocks differ by more than ten minutes")
    return Signed(fingerprint, nonce, claims)


def digest(body: bytes) -> str:
    """What a request's claims say of its body."""
    return hashlib.sha256(body).hexdigest()


def _mac(
    key: bytes, method: str, host: str, target: str, at: str, nonce: str, claims: Mapping[str, str]
) -> str:
    text = json.dumps([method, host.lower(), target, at, nonce, sorted(claims.items())])
    return hmac.digest(key, text.encode(), "sha256").hex()


def seal(keys: KeyRing, request: Signed, direction: str, message: dict[str, Any]) -> bytes:
    """A message of a request, or of its answer."""
    nonce = secrets.token_bytes(12)
    data = zlib.compress(json.dumps(message).encode(), 1)
    key = keys.masters.peer_keys("message")[request.fingerprint]
    return nonce + AESGCM(key).encrypt(nonce, data, _bound(request, direction))


def unseal(keys: KeyRing, request: Signed, direction: str, data: bytes) -> dict[str, Any]:
    """Reverse of `seal`. Raises WireError."""
    key = keys.masters.peer_keys("message")[request.fingerprint]
    try:
        plain = AESGCM(key).decrypt(data[:12], data[12:], _bound(request, direction))
        message = json.loads(zlib.decompressobj().decompress(plain, _LIMIT))
    except (InvalidTag, ValueError, zlib.error):
        raise WireError("the message is not from a peer with this master key") from None
    if not isinstance(message, dict):
        raise WireError("the message is not an object")
    return message


async def frames(
    keys: KeyRing, request: Signed, direction: str, parts: AsyncIterator[bytes]
) -> AsyncGenerator[bytes, None]:
    """Bytes on their way."""
    cipher, number = _cipher(keys, request, direction), 0
    async for part in parts:
        for start in range(0, len(part), _FRAME):
            yield _frame(cipher, number, part[start : start + _FRAME], last=False)
            number += 1
    yield _frame(cipher, number, b"", last=True)


async def unframed(
    keys: KeyRing, request: Signed, direction: str, parts: AsyncIterator[bytes]
) -> AsyncGenerator[bytes, None]:
    """Reverse of `frames`; each frame is checked before it is given out. Raises WireError."""
    cipher, number = _cipher(keys, request, direction), 0
    held, last = bytearray(), False
    # Read to the end, also after the last frame: only then the connection is good for the next request.
    async for part in parts:
        held += part
        if last and held:
            raise WireError("there are bytes after the last one that was announced")
        while len(held) >= _HEAD.size:
            size, mark = _HEAD.unpack_from(held)
            if size > _FRAME + _TAG:
                raise WireError("the bytes are not from a peer with this master key")
            if len(held) < _HEAD.size + size:
                break
            sealed = bytes(held[_HEAD.size : _HEAD.size + size])
            del held[: _HEAD.size + size]
            try:
                plain = cipher.decrypt(number.to_bytes(12, "big"), sealed, bytes([mark]))
            except InvalidTag:
                raise WireError("the bytes are not from a peer with this master key") from None
            number += 1
            last = bool(mark)
            if last and held:
                raise WireError("there are bytes after the last one that was announced")
            if plain:
                yield plain
    if not last:
        raise WireError("the bytes end early")


def _frame(cipher: AESGCM, number: int, plain: bytes, *, last: bool) -> bytes:
    sealed = cipher.encrypt(number.to_bytes(12, "big"), plain, bytes([last]))
    return _HEAD.pack(len(sealed), last) + sealed


def _cipher(keys: KeyRing, request: Signed, direction: str) -> AESGCM:
    """Of one request and direction: the numbers of frames are nonces under this key, and never come again."""
    key = keys.masters.peer_keys("stream")[request.fingerprint]
    return AESGCM(hmac.digest(key, _bound(request, direction), "sha256"))


def _bound(request: Signed, direction: str) -> bytes:
    return f"{direction} {request.nonce}".encode()
