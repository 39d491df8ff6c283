"""Messages between peers: JSON, sealed under a key that only instances with the same master key have.

A message is AES-256-GCM over compressed JSON, bound to its direction and, for an answer, to its question; so
what arrives is what a peer wrote, nobody else can read the secrets in it, and no answer can be passed off as
another's. A question is good for ten minutes. Requests that carry bytes of blobs are authenticated by a MAC
over method, path and time; blobs are checked against their digests.
"""

from __future__ import annotations

import hmac
import json
import secrets
import time
import zlib
from typing import Any

from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.ciphers.aead import AESGCM

from seawall.infra.secrets.keyring import KeyRing
from seawall.kernel.errors import SeawallError

PATH = "/_seawall/peers"
KEY_HEADER = "X-Seawall-Key"
PROOF_HEADER = "X-Seawall-Peer"
_GOOD_SECONDS = 600
_LIMIT = 256 * 1024 * 1024


class WireError(SeawallError):
    """A message that is not a peer's."""


def seal(key: bytes, message: dict[str, Any], bound: bytes) -> bytes:
    """A message for the way; `bound` must be given again to open it."""
    nonce = secrets.token_bytes(12)
    data = zlib.compress(json.dumps({"at": time.time(), **message}).encode(), 1)
    return nonce + AESGCM(key).encrypt(nonce, data, bound)


def unseal(key: bytes, data: bytes, bound: bytes) -> dict[str, Any]:
    """Reverse of `seal`. Raises WireError."""
    try:
        plain = AESGCM(key).decrypt(data[:12], data[12:], bound)
    except (InvalidTag, ValueError):
        raise WireError("the message is not from a peer with this master key") from None
    message = json.loads(zlib.decompressobj().decompress(plain, _LIMIT))
    if not isinstance(message, dict):
        raise WireError("the message is not an object")
    if abs(time.time() - float(message.pop("at", 0))) > _GOOD_SECONDS:
        raise WireError("the message is old, or the clocks differ by more than ten minutes")
    return message


def proof(keys: KeyRing, method: str, target: str) -> str:
    """What proves that a request for `target` (path and query) is a peer's."""
    now = f"{time.time():.3f}"
    return f"{now}.{_mac(keys.masters.peer_key('request'), method, target, now)}"


def proven(keys: KeyRing, method: str, target: str, value: str) -> bool:
    """Whether `value` is such a proof."""
    now, _, mac = value.rpartition(".")
    try:
        fresh = abs(time.time() - float(now)) <= _GOOD_SECONDS
    except ValueError:
        return False
    if not (fresh and mac.isascii()):
        return False
    # While the master key is being replaced, a peer may use either.
    held = keys.masters.peer_keys("request").values()
    return any(hmac.compare_digest(mac, _mac(key, method, target, now)) for key in held)


def _mac(key: bytes, method: str, target: str, now: str) -> str:
    text = f"{method}\n{target}\n{now}".encode()
    return hmac.digest(key, text, "sha256").hex()
