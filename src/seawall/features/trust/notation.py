"""Verification of Notation's signatures: JWS and COSE envelopes."""

from __future__ import annotations

import datetime
from collections.abc import Sequence
from typing import Any

import cbor2
from cryptography import x509
from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec, padding, rsa, utils

from seawall.features.trust.anchors import COSE, JWS, NOTATION_PAYLOAD, Anchor, Verdict
from seawall.features.trust.certificates import CHAIN_LENGTH
from seawall.features.trust.encoding import get, read_der, read_json, unbase64, unbase64url
from seawall.features.trust.proofs import moment_of
from seawall.features.trust.signers import trusted_signer, verdict


def notation(layer: str, envelope: bytes, subject: str, anchors: Sequence[Anchor], at: float) -> Verdict:
    """Check a notation signature envelope (JWS or COSE) about `subject`; only certificates are anchors."""
    if layer == JWS:
        opened = _open_jws(envelope)
    elif layer == COSE:
        opened = _open_cose(envelope)
    else:
        return Verdict(False, reason=f"{layer} is not a signature envelope")
    if opened is None:
        return Verdict(False, reason="the envelope is malformed, or needs what is not understood")
    payload, message, signature, algorithm, chain, stamps = opened
    target = get(read_json(payload), "targetArtifact")
    if get(target, "digest") != subject:
        return Verdict(False, reason="it is about another digest")
    if not chain or not _matches_algorithm(chain[0].public_key(), algorithm, signature, message):
        return Verdict(False, reason="the signature does not match the certificate")
    moment = moment_of((stamps, []), [signature], b"", anchors)
    return verdict(trusted_signer(chain, anchors, moment.at if moment else at), moment)


_NOTATION_STAMP = "io.cncf.notary.timestampSignature"
_UNDERSTOOD = {
    "io.cncf.notary.signingScheme",
    "io.cncf.notary.signingTime",
    "io.cncf.notary.authenticSigningTime",
    "io.cncf.notary.expiry",
    "alg",
    "cty",
}


_Opened = tuple[bytes, bytes, bytes, str, list[x509.Certificate], list[bytes]]


def _open_jws(envelope: bytes) -> _Opened | None:
    top = read_json(envelope)
    parts = [get(top, name) for name in ("protected", "payload", "signature")]
    if not all(isinstance(part, str) and part.isascii() for part in parts):
        return None
    protected, payload, signature = (unbase64url(part) for part in parts)
    listed = get(get(top, "header"), "x5c")
    if protected is None or payload is None or signature is None or not isinstance(listed, list):
        return None
    header = read_json(protected)
    if not _acceptable(header):
        return None
    chain = []
    for item in listed[:CHAIN_LENGTH]:
        der = unbase64(item)
        chain += read_der(der) if der is not None else []
    message = f"{parts[0]}.{parts[1]}".encode()
    stamp = unbase64(get(get(top, "header"), _NOTATION_STAMP))
    return payload, message, signature, str(get(header, "alg")), chain, [stamp] if stamp else []


_COSE_ALGORITHMS = {-37: "PS256", -38: "PS384", -39: "PS512", -7: "ES256", -35: "ES384", -36: "ES512"}


def _open_cose(envelope: bytes) -> _Opened | None:
    try:
        tagged = cbor2.loads(envelope)
        value = tagged.value if isinstance(tagged, cbor2.CBORTag) and tagged.tag == 18 else tagged
        protected, unprotected, payload, signature = value
        raw_header = cbor2.loads(protected)
        header: dict[Any, Any] = {
            {1: "alg", 2: "crit", 3: "cty"}.get(k, k) if isinstance(k, int) else k: v
            for k, v in raw_header.items()
        }
        listed = unprotected.get(33)
        stamp = unprotected.get(_NOTATION_STAMP)
    except Exception:  # whatever a hostile document makes the decoder raise
        return None
    if not all(isinstance(item, bytes) for item in (protected, payload, signature)):
        return None
    algorithm = _COSE_ALGORITHMS.get(header.get("alg", 0), "")
    names = {1: "alg", 3: "cty"}
    critical = [names.get(item, item) for item in header.get("crit") or []]
    if not _acceptable({**header, "crit": critical}):
        return None
    chain = []
    for der in (listed if isinstance(listed, (list, tuple)) else [listed])[:CHAIN_LENGTH]:
        chain += read_der(der) if isinstance(der, bytes) else []
    message = cbor2.dumps(["Signature1", protected, b"", payload])
    return payload, message, signature, algorithm, chain, [stamp] if isinstance(stamp, bytes) else []


def _acceptable(header: Any) -> bool:
    """Whether every critical header is understood, and the signature has not expired."""
    critical = get(header, "crit") or []
    if not isinstance(critical, list) or not all(isinstance(c, str) and c in _UNDERSTOOD for c in critical):
        return False
    if get(header, "cty") != NOTATION_PAYLOAD:
        return False
    if get(header, "io.cncf.notary.signingScheme") not in ("notary.x509", None):
        return False
    expiry = get(header, "io.cncf.notary.expiry")
    if expiry is None:
        return True
    try:
        if isinstance(expiry, cbor2.CBORTag):
            expiry = expiry.value
        if isinstance(expiry, (int, float)):
            moment = datetime.datetime.fromtimestamp(expiry, datetime.UTC)
        elif isinstance(expiry, datetime.datetime):
            moment = expiry
        else:
            moment = datetime.datetime.fromisoformat(str(expiry))
        return moment > datetime.datetime.now(datetime.UTC)
    except (ValueError, TypeError, OverflowError):
        return False


def _matches_algorithm(key: Any, algorithm: str, signature: bytes, message: bytes) -> bool:
    sizes = {"256": hashes.SHA256(), "384": hashes.SHA384(), "512": hashes.SHA512()}
    digest = sizes.get(algorithm[2:])
    try:
        if digest is None:
            return False
        if algorithm.startswith("PS") and isinstance(key, rsa.RSAPublicKey):
            pss = padding.PSS(padding.MGF1(digest), digest.digest_size)
            key.verify(signature, message, pss, digest)
        elif algorithm.startswith("ES") and isinstance(key, ec.EllipticCurvePublicKey):
            half = (key.curve.key_size + 7) // 8
            if len(signature) != 2 * half:
                return False
            r, s = int.from_bytes(signature[:half], "big"), int.from_bytes(signature[half:], "big")
            key.verify(utils.encode_dss_signature(r, s), message, ec.ECDSA(digest))
        else:
            return False
    except (InvalidSignature, ValueError):
        return False
    return True
