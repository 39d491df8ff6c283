"""TUF metadata in the form Notary v1 has: parsing, key ids, signatures, signing. No storage, no network.

python-tuf reads the form of TUF 1.0 (`spec_version`, keys and hashes in hex, JSON lists of delegations by
other names), which Notary's metadata, older than that, does not have; so only its canonical JSON
(securesystemslib) serves here. Source: The Update Framework, and Notary's service architecture and its
client's wire format.
"""

from __future__ import annotations

import base64
import binascii
import datetime
import hashlib
import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import msgspec
from cryptography import x509
from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec, ed25519, padding, rsa, utils
from securesystemslib.formats import encode_canonical

BASE_ROLES = ("root", "targets", "snapshot", "timestamp")
SERVER_ROLES = ("timestamp", "snapshot")
_DELEGATION = re.compile(r"targets(/[a-z0-9_.-]+)+")
_TYPES = {"root": "Root", "targets": "Targets", "snapshot": "Snapshot", "timestamp": "Timestamp"}
MAX_BYTES = 8 * 1024 * 1024


class TufError(Exception):
    """Metadata is not acceptable. `name` is the kind Notary's client knows (ErrBadRoot, ...)."""

    def __init__(self, name: str, message: str) -> None:
        self.name = name
        self.message = message
        super().__init__(message)


@dataclass(frozen=True, slots=True)
class Key:
    """A public key: Notary's type name and its base64 text."""

    type: str
    public: str

    @property
    def id(self) -> str:
        """SHA-256 of the canonical JSON of the public part."""
        return key_id(self.type, self.public)


@dataclass(frozen=True, slots=True)
class Role:
    """Who may sign for a role: keys by id, and how many of them must."""

    keys: Mapping[str, Key]
    threshold: int


@dataclass(frozen=True, slots=True)
class Document:
    """One signed piece of metadata as it was sent. `expires` is in UTC."""

    role: str
    version: int
    expires: datetime.datetime
    signed: Mapping[str, Any]
    signatures: tuple[tuple[str, str, str], ...]
    payload: bytes

    @property
    def sha256(self) -> str:
        """Hex digest of the payload."""
        return hashlib.sha256(self.payload).hexdigest()

    def expired(self, now: datetime.datetime) -> bool:
        """Whether it is no longer valid."""
        return self.expires <= now


def is_role(role: str) -> bool:
    """Whether `role` is one of the base roles or a delegation (`targets/...`)."""
    return role in BASE_ROLES or (len(role) <= 255 and _DELEGATION.fullmatch(role) is not None)


def parse(role: str, payload: bytes) -> Document:
    """Read metadata of `role`. Raises TufError."""
    if len(payload) > MAX_BYTES:
        raise TufError("ErrValidation", f"{role} is larger than {MAX_BYTES} bytes")
    try:
        top = msgspec.json.decode(payload)
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError):
        raise TufError("ErrValidation", f"{role} is not JSON") from None
    signed = top.get("signed") if isinstance(top, dict) else None
    signatures = top.get("signatures") if isinstance(top, dict) else None
    if not isinstance(signed, dict) or not isinstance(signatures, list):
        raise TufError("ErrValidation", f"{role} has no signed part, or no signatures")
    kind = _TYPES.get(role, "Targets")
    if str(signed.get("_type", "")).lower() != kind.lower():
        raise TufError("ErrValidation", f"{role} is not of type {kind}")
    version = signed.get("version")
    if not isinstance(version, int) or isinstance(version, bool) or not 1 <= version < 2**31:
        raise TufError("ErrValidation", f"{role} has no valid version")
    found = []
    for item in signatures:
        parts = [item.get(name) for name in ("keyid", "method", "sig")] if isinstance(item, dict) else []
        if len(parts) != 3 or not all(isinstance(part, str) for part in parts):
            raise TufError("ErrValidation", f"{role} has a malformed signature")
        found.append((str(parts[0]), str(parts[1]), str(parts[2])))
    return Document(role, version, _time(role, signed.get("expires")), signed, tuple(found), payload)


def _time(role: str, value: Any) -> datetime.datetime:
    match = re.fullmatch(r"(\d{4}-\d\d-\d\d[Tt]\d\d:\d\d:\d\d)(?:\.\d+)?([Zz]|[+-]\d\d:\d\d)", str(value))
    if match is None:
        raise TufError("ErrValidation", f"{role} has no valid expiry")
    zone = "+00:00" if match[2] in "Zz" else match[2]
    try:
        return datetime.datetime.fromisoformat(match[1].upper() + zone).astimezone(datetime.UTC)
    except (ValueError, OverflowError):
        raise TufError("ErrValidation", f"{role} has no valid expiry") from None


def canonical(value: Any) -> bytes:
    """Canonical JSON, over which signatures and key ids are made. Raises TufError."""
    try:
        text = encode_canonical(value)
    except Exception as error:  # it raises FormatError, whose module path has moved between releases
        raise TufError("ErrValidation", f"not canonical JSON: {error}") from None
    return (text or "").encode()


def key_id(type_: str, public: str) -> str:
    """Notary's key id."""
    shape = {"keytype": type_, "keyval": {"private": None, "public": public}}
    return hashlib.sha256(canonical(shape)).hexdigest()


# -- who may sign --------------------------------------------------------------------------------------


def keys_of(raw: Any, role: str) -> dict[str, Key]:
    """The `keys` mapping of root or of delegations. Raises TufError when an id is not its key's."""
    found = {}
    if not isinstance(raw, dict):
        raise TufError("ErrBadRoot", f"{role} has no keys")
    for identifier, item in raw.items():
        value = item.get("keyval") if isinstance(item, dict) else None
        public = value.get("public") if isinstance(value, dict) else None
        if not isinstance(public, str) or not isinstance(item.get("keytype"), str):
            raise TufError("ErrBadRoot", f"{role} has a malformed key")
        key = Key(item["keytype"], public)
        if key.id != identifier:
            raise TufError("ErrBadRoot", f"{role} has a key under an id that is not its own")
        found[identifier] = key
    return found


def role_of(root: Document, role: str) -> Role:
    """Keys and threshold that root gives a base role. Raises TufError."""
    roles = root.signed.get("roles")
    if not isinstance(roles, dict):
        raise TufError("ErrBadRoot", "root has no roles")
    return _role(roles.get(role), keys_of(root.signed.get("keys"), "root"), role, "ErrBadRoot")


def delegated(parent: Document, role: str) -> Role:
    """Keys and threshold that a targets role gives its delegation `role`. Raises TufError."""
    delegations = parent.signed.get("delegations") or {}
    roles = delegations.get("roles") if isinstance(delegations, dict) else None
    for item in roles if isinstance(roles, list) else []:
        if isinstance(item, dict) and item.get("name") == role:
            return _role(item, keys_of(delegations.get("keys"), parent.role), role, "ErrBadTargets")
    raise TufError("ErrBadTargets", f"{parent.role} delegates nothing to {role}")


def _role(raw: Any, keys: Mapping[str, Key], role: str, error: str) -> Role:
    ids = raw.get("keyids") if isinstance(raw, dict) else None
    threshold = raw.get("threshold") if isinstance(raw, dict) else None
    if not isinstance(ids, list) or not isinstance(threshold, int) or isinstance(threshold, bool):
        raise TufError(error, f"role {role} is malformed")
    mine = {item: keys[item] for item in ids if isinstance(item, str) and item in keys}
    if threshold < 1 or len(mine) < threshold:
        raise TufError(error, f"role {role} has fewer keys than its threshold, or a threshold below 1")
    return Role(mine, threshold)


# -- signatures ----------------------------------------------------------------------------------------


def verify(document: Document, role: Role, error: str) -> None:
    """Raise TufError `error` unless enough different keys of `role` have signed `document`."""
    message = canonical(document.signed)
    valid = set()
    for identifier, method, signature in document.signatures:
        key = role.keys.get(identifier)
        if key is not None and identifier not in valid and _valid(key, method, signature, message):
            valid.add(identifier)
    if len(valid) < role.threshold:
        raise TufError(
            error, f"{document.role} has {len(valid)} valid signatures of {role.threshold} that are needed"
        )


def _valid(key: Key, method: str, signature: str, message: bytes) -> bool:
    try:
        raw = base64.b64decode(signature, validate=True)
        public = load_public(key)
        if isinstance(public, ec.EllipticCurvePublicKey) and method == "ecdsa":
            half = len(raw) // 2
            if not raw or len(raw) % 2:
                return False
            der = utils.encode_dss_signature(
                int.from_bytes(raw[:half], "big"), int.from_bytes(raw[half:], "big")
            )
            public.verify(der, message, ec.ECDSA(hashes.SHA256()))
        elif isinstance(public, rsa.RSAPublicKey) and method == "rsapss":
            pss = padding.PSS(padding.MGF1(hashes.SHA256()), hashes.SHA256.digest_size)
            public.verify(raw, message, pss, hashes.SHA256())
        elif isinstance(public, rsa.RSAPublicKey) and method == "rsapkcs1v15":
            public.verify(raw, message, padding.PKCS1v15(), hashes.SHA256())
        elif isinstance(public, ed25519.Ed25519PublicKey) and method == "eddsa":
            public.verify(raw, message)
        else:
            return False
    except (InvalidSignature, ValueError, binascii.Error, TypeError):
        return False
    return True


def load_public(key: Key) -> Any:
    """The key as cryptography has it. Raises ValueError for one that is not a key, or too weak."""
    raw = base64.b64decode(key.public, validate=True)
    if key.type.endswith("-x509"):
        public: Any = x509.load_pem_x509_certificate(raw).public_key()
    elif key.type == "ed25519":
        public = ed25519.Ed25519PublicKey.from_public_bytes(raw)
    else:
        public = serialization.load_der_public_key(raw)
    if isinstance(public, rsa.RSAPublicKey) and public.key_size < 2048:
        raise ValueError("RSA keys need 2048 bits")
    return public


def generate() -> tuple[Key, bytes]:
    """A new key for the server: ECDSA on P-256; the private part is PKCS #8, DER."""
    private = ec.generate_private_key(ec.SECP256R1())
    public = private.public_key().public_bytes(
        serialization.Encoding.DER, serialization.PublicFormat.SubjectPublicKeyInfo
    )
    sealed = private.private_bytes(
        serialization.Encoding.DER, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
    )
    return Key("ecdsa", base64.b64encode(public).decode()), sealed


def sign(role: str, signed: dict[str, Any], keys: list[tuple[str, bytes]]) -> Document:
    """`signed` with a signature by each of `keys` (id, private part as from `generate`)."""
    message = canonical(signed)
    signatures = []
    for identifier, private in keys:
        key = serialization.load_der_private_key(private, None)
        assert isinstance(key, ec.EllipticCurvePrivateKey)
        r, s = utils.decode_dss_signature(key.sign(message, ec.ECDSA(hashes.SHA256())))
        raw = r.to_bytes(32, "big") + s.to_bytes(32, "big")
        signatures.append({"keyid": identifier, "method": "ecdsa", "sig": base64.b64encode(raw).decode()})
    return parse(role, canonical({"signed": signed, "signatures": signatures}))


def meta_of(document: Document) -> dict[str, Any]:
    """The entry that snapshot and timestamp have for a document."""
    payload = document.payload
    return {
        "hashes": {
            "sha256": base64.b64encode(hashlib.sha256(payload).digest()).decode(),
            "sha512": base64.b64encode(hashlib.sha512(payload).digest()).decode(),
        },
        "length": len(payload),
    }


def matches(entry: Any, document: Document) -> bool:
    """Whether an entry of snapshot or timestamp is about exactly this document."""
    if not isinstance(entry, dict) or entry.get("length") != len(document.payload):
        return False
    stated = entry.get("hashes")
    if not isinstance(stated, dict) or not {"sha256", "sha512"} & stated.keys():
        return False
    actual = meta_of(document)["hashes"]
    return all(stated[name] == actual[name] for name in ("sha256", "sha512") if name in stated)


def expiry(now: datetime.datetime, days: int) -> str:
    """A time `days` from now, as metadata has it."""
    return (now + datetime.timedelta(days=days)).strftime("%Y-%m-%dT%H:%M:%SZ")
