"""When a signature was made, as a trusted timestamp authority or transparency log says. No network.

Sources: RFC 3161 (through rfc3161-client); Rekor's signed entry timestamps (a signature over the canonical
JSON, RFC 8785, of body, integrated time, log id and index) and its entry kinds hashedrekord, dsse and intoto.
"""

from __future__ import annotations

import base64
import hashlib
import json
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import rfc3161_client
from cryptography import x509
from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec, ed25519
from cryptography.x509.oid import ExtendedKeyUsageOID

# PKIStatusInfo "granted": notation keeps the token without the response around it.
_GRANTED = bytes.fromhex("3003020100")
_TOKENS = 8


@dataclass(frozen=True, slots=True)
class Witness:
    """Who vouches for a time: certificates of a timestamp authority or a log's public key, in PEM."""

    name: str
    kind: str
    pem: str


@dataclass(frozen=True, slots=True)
class Moment:
    """A proven time (Unix seconds) and who proves it; at that time the signature existed."""

    at: float
    witness: str


@dataclass(frozen=True, slots=True)
class LogEntry:
    """An entry of a transparency log: its body in base64, log id in hex, signed entry timestamp."""

    body: str
    integrated: int
    log_id: str
    index: int
    promise: bytes


def stamped(
    tokens: Sequence[bytes], messages: Sequence[bytes], witnesses: Sequence[Witness]
) -> Moment | None:
    """The first timestamp (response or bare token, DER) by a trusted authority over any of `messages`."""
    for token in tokens[:_TOKENS]:
        response = _response(token)
        if response is None:
            continue
        for witness in witnesses:
            if witness.kind != "timestamp":
                continue
            chain = x509.load_pem_x509_certificates(witness.pem.encode())
            for message in messages:
                try:
                    verifier = _verifier(chain)
                    if verifier.verify_message(_response(token), message):
                        return Moment(response.tst_info.gen_time.timestamp(), witness.name)
                except (rfc3161_client.VerificationError, ValueError, OverflowError):
                    continue
    return None


def _response(token: bytes) -> Any:
    for data in (token, _wrapped(token)):
        try:
            return rfc3161_client.decode_timestamp_response(data)
        except ValueError:
            continue
    return None


def _wrapped(token: bytes) -> bytes:
    inner = _GRANTED + token
    length = len(inner).to_bytes((len(inner).bit_length() + 7) // 8, "big")
    head = bytes([len(inner)]) if len(inner) < 128 else bytes([0x80 | len(length)]) + length
    return b"\x30" + head + inner


def _verifier(chain: list[x509.Certificate]) -> Any:
    """For tokens of the authority in `chain`: its own certificate, those above it, or both."""
    own = next((certificate for certificate in chain if _stamps(certificate)), None)
    others = [certificate for certificate in chain if certificate is not own]
    roots = [c for c in others if c.issuer == c.subject] or others or chain
    between = [c for c in others if c not in roots]
    return rfc3161_client.VerifierBuilder(tsa_certificate=own, intermediates=between, roots=roots).build()


def _stamps(certificate: x509.Certificate) -> bool:
    try:
        usages = certificate.extensions.get_extension_for_class(x509.ExtendedKeyUsage).value
    except (x509.ExtensionNotFound, ValueError):
        return False
    return ExtendedKeyUsageOID.TIME_STAMPING in usages


def logged(
    entries: Sequence[LogEntry], signature: bytes, digest: bytes, witnesses: Sequence[Witness]
) -> Moment | None:
    """The first entry of a trusted log about `signature` over what has SHA-256 `digest`."""
    for entry in entries[:_TOKENS]:
        if not _about(entry.body, signature, digest):
            continue
        for witness in witnesses:
            if witness.kind == "log" and _promised(entry, witness.pem):
                return Moment(float(entry.integrated), witness.name)
    return None


def _promised(entry: LogEntry, pem: str) -> bool:
    key = serialization.load_pem_public_key(pem.encode())
    der = key.public_bytes(serialization.Encoding.DER, serialization.PublicFormat.SubjectPublicKeyInfo)
    if hashlib.sha256(der).hexdigest() != entry.log_id:
        return False
    # Keys in order, no spaces: of these values that is RFC 8785.
    message = json.dumps(
        {
            "body": entry.body,
            "integratedTime": entry.integrated,
            "logID": entry.log_id,
            "logIndex": entry.index,
        },
        separators=(",", ":"),
    ).encode()
    try:
        if isinstance(key, ec.EllipticCurvePublicKey):
            key.verify(entry.promise, message, ec.ECDSA(hashes.SHA256()))
        elif isinstance(key, ed25519.Ed25519PublicKey):
            key.verify(entry.promise, message)
        else:
            return False
    except InvalidSignature:
        return False
    return True


def _about(body: str, signature: bytes, digest: bytes) -> bool:
    try:
        entry = json.loads(base64.b64decode(body, validate=True))
        spec = entry["spec"]
        text = base64.b64encode(signature).decode()
        if entry["kind"] == "hashedrekord":
            found = spec["data"]["hash"]
            signatures = [spec["signature"]["content"]]
        elif entry["kind"] == "dsse":
            found = spec["payloadHash"]
            signatures = [item["signature"] for item in spec["signatures"]]
        elif entry["kind"] == "intoto":
            found = spec["content"]["payloadHash"]
            # Encoded twice, in version 0.0.2.
            twice = [item["sig"] for item in spec["content"]["envelope"]["signatures"]]
            signatures = [*twice, *(base64.b64decode(item).decode("ascii", "replace") for item in twice)]
        else:
            return False
        return found["algorithm"] == "sha256" and found["value"] == digest.hex() and text in signatures
    except (ValueError, KeyError, TypeError, RecursionError):
        return False
