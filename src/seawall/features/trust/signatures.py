"""Signatures of cosign and notation, checked against keys and certificates. No storage, no network.

Sources: sigstore's cosign signature specification and bundle format, the DSSE protocol, the Notary Project's
signature specification (JWS and COSE envelopes), in-toto's Statement.
"""

from __future__ import annotations

import base64
import binascii
import datetime
import hashlib
import json
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import cbor2
from cryptography import x509
from cryptography.exceptions import InvalidSignature, UnsupportedAlgorithm
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec, ed25519, padding, rsa, utils
from cryptography.x509.oid import ExtendedKeyUsageOID

from seawall.features.trust.times import LogEntry, Moment, Witness, logged, stamped
from seawall.kernel.errors import InvalidError

SIMPLE_SIGNING = "application/vnd.dev.cosign.simplesigning.v1+json"
DSSE = "application/vnd.dsse.envelope.v1+json"
BUNDLE_PREFIX = "application/vnd.dev.sigstore.bundle"
JWS = "application/jose+json"
COSE = "application/cose"
NOTATION = "application/vnd.cncf.notary.signature"
NOTATION_PAYLOAD = "application/vnd.cncf.notary.payload.v1+json"
_SIGNATURE = "dev.cosignproject.cosign/signature"
_CERTIFICATE = "dev.sigstore.cosign/certificate"
_CHAIN = "dev.sigstore.cosign/chain"
_LOG = "dev.sigstore.cosign/bundle"
_STAMP = "dev.sigstore.cosign/rfc3161timestamp"
_INTOTO = "application/vnd.in-toto+json"
_CHAIN_LENGTH = 8


@dataclass(frozen=True, slots=True)
class Anchor:
    """A key or certificate that is trusted, under the name its project gave it.

    `identities`: (issuer, subject) of which a signer's certificate must have one, anybody's where empty. The
    subject is a name in the certificate (e-mail address, URI, ...), "*" stands for any text; the issuer is
    who Fulcio says vouched for it, "" for whoever did.
    """

    name: str
    kind: str
    pem: str
    identities: tuple[tuple[str, str], ...] = ()


@dataclass(frozen=True, slots=True)
class Verdict:
    """Whether something is signed by somebody trusted: by which anchor, or else why not.

    `predicate` is an attestation's predicate type, None for a plain signature. `moment`: when it was made,
    where a trusted timestamp authority or log says so.
    """

    valid: bool
    signer: str | None = None
    reason: str = ""
    predicate: str | None = None
    moment: Moment | None = None


SIGNERS = ("key", "certificate")
"""Kinds of anchors that sign; "timestamp" and "log" say when."""


def read_anchor(pem: str, usage: str = "signer") -> tuple[str, str]:
    """(kind, SHA-256 fingerprint in hex) of a public key or certificate. Raises InvalidError.

    `usage` is "signer", "timestamp" (certificates of a timestamp authority: its own, those above it) or "log"
    (the public key of a transparency log).
    """
    if usage == "timestamp":
        try:
            chain = x509.load_pem_x509_certificates(pem.strip().encode())
            for certificate in chain:
                _strong(certificate.public_key())
        except (ValueError, TypeError, UnsupportedAlgorithm):
            chain = []
        if not 0 < len(chain) <= _CHAIN_LENGTH or not any(
            _authority(c) or c.issuer == c.subject for c in chain
        ):
            raise InvalidError(
                "must be certificates in PEM, at most 8, and the one that issued the others there"
            )
        return usage, chain[0].fingerprint(hashes.SHA256()).hex()
    kind, fingerprint = _read_anchor(pem)
    if usage == "signer":
        return kind, fingerprint
    if (usage, kind) != ("log", "key"):
        raise InvalidError("a log is trusted by its public key")
    return usage, fingerprint


def _read_anchor(pem: str) -> tuple[str, str]:
    data = pem.strip().encode()
    try:
        if b"BEGIN CERTIFICATE" in data:
            (certificate,) = x509.load_pem_x509_certificates(data)
            _strong(certificate.public_key())
            return "certificate", certificate.fingerprint(hashes.SHA256()).hex()
        key = serialization.load_pem_public_key(data)
        _strong(key)
        der = key.public_bytes(serialization.Encoding.DER, serialization.PublicFormat.SubjectPublicKeyInfo)
        return "key", hashlib.sha256(der).hexdigest()
    except (ValueError, TypeError, UnsupportedAlgorithm):
        raise InvalidError(
            "must be one public key or one certificate in PEM: ECDSA, Ed25519, or RSA with 2048 bits or more"
        ) from None


def _strong(key: object) -> None:
    if isinstance(key, rsa.RSAPublicKey):
        if key.key_size < 2048:
            raise ValueError("too short")
    elif not isinstance(key, (ec.EllipticCurvePublicKey, ed25519.Ed25519PublicKey)):
        raise ValueError("another kind")


# -- cosign --------------------------------------------------------------------------------------------


def cosign(
    layer: str,
    annotations: Mapping[str, str],
    payload: bytes,
    subject: str,
    anchors: Sequence[Anchor],
    at: float,
) -> Verdict:
    """Check one layer of a cosign signature or attestation about `subject`.

    `layer` is its media type, `at` the time (Unix seconds) when the registry was given it: certificates
    must have been valid then, or when a trusted timestamp authority or log saw the signature.
    """
    if layer == SIMPLE_SIGNING:
        return _simple(annotations, payload, subject, anchors, at)
    if layer == DSSE:
        proofs = _annotated(annotations)
        return _dsse(_json(payload), _certificates(annotations), subject, anchors, at, proofs, payload)
    if layer.startswith(BUNDLE_PREFIX):
        return _bundle(payload, subject, anchors, at)
    return Verdict(False, reason=f"{layer} is no signature")


def _simple(
    annotations: Mapping[str, str], payload: bytes, subject: str, anchors: Sequence[Anchor], at: float
) -> Verdict:
    signature = _unbase64(annotations.get(_SIGNATURE))
    if signature is None:
        return Verdict(False, reason="it has no signature annotation")
    critical = _get(_json(payload), "critical")
    if _get(_get(critical, "image"), "docker-manifest-digest") != subject:
        return Verdict(False, reason="it is about another digest")
    moment = _moment(_annotated(annotations), [signature], hashlib.sha256(payload).digest(), anchors)
    signer = _signer(payload, signature, _certificates(annotations), anchors, moment.at if moment else at)
    return _verdict(signer, moment)


def _dsse(
    envelope: Any,
    chain: list[x509.Certificate],
    subject: str,
    anchors: Sequence[Anchor],
    at: float,
    proofs: _Proofs,
    whole: bytes = b"",
) -> Verdict:
    payload = _unbase64(_get(envelope, "payload"))
    kind = _get(envelope, "payloadType")
    signatures = _get(envelope, "signatures")
    if payload is None or kind != _INTOTO or not isinstance(signatures, list):
        return Verdict(False, reason="it is no envelope of an in-toto statement")
    statement = _json(payload)
    algorithm, _, value = subject.partition(":")
    subjects = _get(statement, "subject")
    digests = (
        [_get(_get(item, "digest"), algorithm) for item in subjects] if isinstance(subjects, list) else []
    )
    if value not in digests:
        return Verdict(False, reason="it is about another digest")
    # DSSE's pre-authentication encoding.
    message = b"DSSEv1 %d %s %d %s" % (len(kind), kind.encode(), len(payload), payload)
    predicate = _get(statement, "predicateType")
    for item in signatures[:16]:
        signature = _unbase64(_get(item, "sig"))
        if not signature:
            continue
        # cosign has attestations stamped whole, sigstore's bundles by signature.
        moment = _moment(proofs, [signature, whole], hashlib.sha256(payload).digest(), anchors)
        signer = _signer(message, signature, chain, anchors, moment.at if moment else at)
        if signer is not None:
            named = predicate if isinstance(predicate, str) else ""
            return Verdict(True, signer, predicate=named, moment=moment)
    return Verdict(False, reason="no trusted key or certificate has signed it")


def _bundle(payload: bytes, subject: str, anchors: Sequence[Anchor], at: float) -> Verdict:
    bundle = _json(payload)
    material = _get(bundle, "verificationMaterial")
    raw = [_get(_get(material, "certificate"), "rawBytes")]
    listed = _get(_get(material, "x509CertificateChain"), "certificates")
    if isinstance(listed, list):
        raw += [_get(item, "rawBytes") for item in listed[:_CHAIN_LENGTH]]
    chain = []
    for item in raw:
        der = _unbase64(item)
        if der is not None:
            chain += _der(der)
    proofs = _bundled(material)
    envelope = _get(bundle, "dsseEnvelope")
    if envelope is not None:
        found = _dsse(envelope, chain, subject, anchors, at, proofs)
        # cosign 3 signs images with a statement of this predicate; others are attestations.
        if found.valid and found.predicate in ("https://sigstore.dev/cosign/sign/v1", ""):
            return Verdict(True, found.signer, moment=found.moment)
        return found
    message = _get(bundle, "messageSignature")
    signature = _unbase64(_get(message, "signature"))
    digest = _unbase64(_get(_get(message, "messageDigest"), "digest"))
    if signature is None or digest is None or f"sha256:{digest.hex()}" != subject:
        return Verdict(False, reason="it is about another digest")
    moment = _moment(proofs, [signature], digest, anchors)
    signer = _signer_of_digest(digest, signature, chain, anchors, moment.at if moment else at)
    return _verdict(signer, moment)


_Proofs = tuple[list[bytes], list[LogEntry]]


def _annotated(annotations: Mapping[str, str]) -> _Proofs:
    """Timestamps and log entries beside a signature in cosign's annotations."""
    entry = _json(annotations.get(_LOG, "").encode())
    payload = _get(entry, "Payload")
    stamp = _unbase64(_get(_json(annotations.get(_STAMP, "").encode()), "SignedRFC3161Timestamp"))
    values = [_get(payload, name) for name in ("body", "integratedTime", "logID", "logIndex")]
    found = _entry(values[0], values[1], values[2], values[3], _get(entry, "SignedEntryTimestamp"))
    return [stamp] if stamp else [], [found] if found else []


def _bundled(material: Any) -> _Proofs:
    """The same of a sigstore bundle; its integers may be text (protobuf's JSON)."""
    listed = _get(_get(material, "timestampVerificationData"), "rfc3161Timestamps")
    stamps = [_unbase64(_get(item, "signedTimestamp")) for item in listed] if isinstance(listed, list) else []
    entries = _get(material, "tlogEntries")
    found = []
    for item in entries[:_CHAIN_LENGTH] if isinstance(entries, list) else ():
        key = _unbase64(_get(_get(item, "logId"), "keyId"))
        numbers = [_integer(_get(item, name)) for name in ("integratedTime", "logIndex")]
        promise = _get(_get(item, "inclusionPromise"), "signedEntryTimestamp")
        body, log_id = _get(item, "canonicalizedBody"), key.hex() if key else None
        made = _entry(body, numbers[0], log_id, numbers[1], promise)
        if made is not None:
            found.append(made)
    return [stamp for stamp in stamps if stamp], found


def _integer(value: Any) -> int | None:
    if isinstance(value, int):
        return value
    return int(value) if isinstance(value, str) and value.isdecimal() and len(value) < 20 else None


def _entry(body: Any, integrated: Any, log_id: Any, index: Any, promise: Any) -> LogEntry | None:
    signature = _unbase64(promise)
    if not isinstance(body, str) or not isinstance(log_id, str) or signature is None:
        return None
    if type(integrated) is not int or type(index) is not int or not 0 < integrated < 1 << 36:
        return None
    return LogEntry(body, integrated, log_id, index, signature)


def _moment(
    proofs: _Proofs, messages: list[bytes], digest: bytes, anchors: Sequence[Anchor]
) -> Moment | None:
    """When the signature (first of `messages`) over what has SHA-256 `digest` was made, if that is proven."""
    witnesses = [Witness(a.name, a.kind, a.pem) for a in anchors if a.kind not in SIGNERS]
    if not witnesses:
        return None
    stamps, entries = proofs
    return stamped(stamps, [m for m in messages if m], witnesses) or logged(
        entries, messages[0], digest, witnesses
    )


def _certificates(annotations: Mapping[str, str]) -> list[x509.Certificate]:
    text = "\n".join(annotations.get(name, "") for name in (_CERTIFICATE, _CHAIN)).strip()
    if not text:
        return []
    try:
        return x509.load_pem_x509_certificates(text.encode())[:_CHAIN_LENGTH]
    except ValueError:
        return []


# -- notation ------------------------------------------------------------------------------------------


def notation(layer: str, envelope: bytes, subject: str, anchors: Sequence[Anchor], at: float) -> Verdict:
    """Check a notation signature envelope (JWS or COSE) about `subject`; only certificates are anchors."""
    if layer == JWS:
        opened = _open_jws(envelope)
    elif layer == COSE:
        opened = _open_cose(envelope)
    else:
        return Verdict(False, reason=f"{layer} is no signature envelope")
    if opened is None:
        return Verdict(False, reason="the envelope is malformed, or needs what is not understood")
    payload, message, signature, algorithm, chain, stamps = opened
    target = _get(_json(payload), "targetArtifact")
    if _get(target, "digest") != subject:
        return Verdict(False, reason="it is about another digest")
    if not chain or not _matches_algorithm(chain[0].public_key(), algorithm, signature, message):
        return Verdict(False, reason="the signature does not match the certificate")
    moment = _moment((stamps, []), [signature], b"", anchors)
    return _verdict(_trusted(chain, anchors, moment.at if moment else at), moment)


_Opened = tuple[bytes, bytes, bytes, str, list[x509.Certificate], list[bytes]]
_NOTATION_STAMP = "io.cncf.notary.timestampSignature"
_UNDERSTOOD = {
    "io.cncf.notary.signingScheme",
    "io.cncf.notary.signingTime",
    "io.cncf.notary.authenticSigningTime",
    "io.cncf.notary.expiry",
    "alg",
    "cty",
}


def _open_jws(envelope: bytes) -> _Opened | None:
    top = _json(envelope)
    parts = [_get(top, name) for name in ("protected", "payload", "signature")]
    if not all(isinstance(part, str) and part.isascii() for part in parts):
        return None
    protected, payload, signature = (_unbase64url(part) for part in parts)
    listed = _get(_get(top, "header"), "x5c")
    if protected is None or payload is None or signature is None or not isinstance(listed, list):
        return None
    header = _json(protected)
    if not _acceptable(header):
        return None
    chain = []
    for item in listed[:_CHAIN_LENGTH]:
        der = _unbase64(item)
        chain += _der(der) if der is not None else []
    message = f"{parts[0]}.{parts[1]}".encode()
    stamp = _unbase64(_get(_get(top, "header"), _NOTATION_STAMP))
    return payload, message, signature, str(_get(header, "alg")), chain, [stamp] if stamp else []


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
    for der in (listed if isinstance(listed, (list, tuple)) else [listed])[:_CHAIN_LENGTH]:
        chain += _der(der) if isinstance(der, bytes) else []
    message = cbor2.dumps(["Signature1", protected, b"", payload])
    return payload, message, signature, algorithm, chain, [stamp] if isinstance(stamp, bytes) else []


def _acceptable(header: Any) -> bool:
    """Whether every critical header is understood, and the signature has not expired."""
    critical = _get(header, "crit") or []
    if not isinstance(critical, list) or not all(isinstance(c, str) and c in _UNDERSTOOD for c in critical):
        return False
    if _get(header, "cty") != NOTATION_PAYLOAD:
        return False
    if _get(header, "io.cncf.notary.signingScheme") not in ("notary.x509", None):
        return False
    expiry = _get(header, "io.cncf.notary.expiry")
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


# -- who is trusted ------------------------------------------------------------------------------------


def _signer(
    message: bytes, signature: bytes, chain: list[x509.Certificate], anchors: Sequence[Anchor], at: float
) -> str | None:
    return _find(lambda key: _verifies(key, signature, message, None), chain, anchors, at)


def _signer_of_digest(
    digest: bytes, signature: bytes, chain: list[x509.Certificate], anchors: Sequence[Anchor], at: float
) -> str | None:
    return _find(lambda key: _verifies(key, signature, None, digest), chain, anchors, at)


def _find(verifies: Any, chain: list[x509.Certificate], anchors: Sequence[Anchor], at: float) -> str | None:
    """The anchor whose key made the signature, or that vouches for the certificate whose key did."""
    for anchor in anchors:
        if anchor.kind == "key" and verifies(serialization.load_pem_public_key(anchor.pem.encode())):
            return anchor.name
    if chain and verifies(chain[0].public_key()):
        return _trusted(chain, anchors, at)
    for anchor in anchors:
        # A signer's own certificate is trusted: signatures made with its key need not carry it.
        if anchor.kind == "certificate":
            certificate = x509.load_pem_x509_certificate(anchor.pem.encode())
            if (
                not _authority(certificate)
                and _valid_at(certificate, at)
                and _identified(certificate, anchor)
                and verifies(certificate.public_key())
            ):
                return anchor.name
    return None


def _verifies(key: Any, signature: bytes, message: bytes | None, digest: bytes | None) -> bool:
    """Whether cosign's way of signing with this kind of key gives `signature`."""
    data = message if message is not None else digest
    assert data is not None
    algorithm: Any = hashes.SHA256() if message is not None else utils.Prehashed(hashes.SHA256())
    try:
        if isinstance(key, ec.EllipticCurvePublicKey):
            key.verify(signature, data, ec.ECDSA(algorithm))
        elif isinstance(key, rsa.RSAPublicKey):
            key.verify(signature, data, padding.PKCS1v15(), algorithm)
        elif isinstance(key, ed25519.Ed25519PublicKey) and message is not None:
            key.verify(signature, message)
        else:
            return False
    except (InvalidSignature, ValueError):
        return False
    return True


def _trusted(chain: list[x509.Certificate], anchors: Iterable[Anchor], at: float) -> str | None:
    """The anchor that vouches for `chain[0]`, by itself or through the rest of the chain."""
    leaf = chain[0]
    if not _valid_at(leaf, at) or not _may_sign_code(leaf):
        return None
    roots = [
        (anchor.name, x509.load_pem_x509_certificate(anchor.pem.encode()))
        for anchor in anchors
        if anchor.kind == "certificate" and _identified(leaf, anchor)
    ]
    for name, root in roots:
        if root == leaf:
            return name
    current = leaf
    for below in range(_CHAIN_LENGTH):
        for name, root in roots:
            if _issued(current, root, at, below):
                return name
        following = next((c for c in chain[1:] if c != current and _issued(current, c, at, below)), None)
        if following is None:
            return None
        current = following
    return None


# Fulcio's extensions: the issuer as a UTF8String, and as bare text before that.
_ISSUER = x509.ObjectIdentifier("1.3.6.1.4.1.57264.1.8")
_ISSUER_OLD = x509.ObjectIdentifier("1.3.6.1.4.1.57264.1.1")


def _identified(leaf: x509.Certificate, anchor: Anchor) -> bool:
    """Whether a signer's certificate is of somebody to whom the anchor is confined."""
    if not anchor.identities:
        return True
    issuer, names = _issuer_of(leaf), _names(leaf)
    return any(
        (not wanted or wanted == issuer) and any(_like(name, subject) for name in names)
        for wanted, subject in anchor.identities
    )


def _like(name: str, pattern: str) -> bool:
    """`pattern` with "*" for any text; no other character is special. Without backtracking."""
    first, *rest = pattern.split("*")
    if not rest:
        return name == pattern
    *middle, last = rest
    if not name.startswith(first):
        return False
    at = len(first)
    for part in middle:
        at = name.find(part, at)
        if at < 0:
            return False
        at += len(part)
    return len(name) - len(last) >= at and name.endswith(last)


def _names(leaf: x509.Certificate) -> list[str]:
    try:
        names = leaf.extensions.get_extension_for_class(x509.SubjectAlternativeName).value
    except (x509.ExtensionNotFound, ValueError):
        return []
    found = []
    for name in names:
        if isinstance(name, (x509.RFC822Name, x509.UniformResourceIdentifier, x509.DNSName)):
            found.append(name.value)
    return found


def _issuer_of(leaf: x509.Certificate) -> str | None:
    for oid in (_ISSUER, _ISSUER_OLD):
        try:
            value = leaf.extensions.get_extension_for_oid(oid).value
            assert isinstance(value, x509.UnrecognizedExtension)
            data = value.value
            if oid == _ISSUER:
                # A short UTF8String: tag, length of one or two bytes, text.
                if data[:1] != b"\x0c":
                    return None
                data = data[3:] if data[1] == 0x81 else data[2:]
            return data.decode()
        except (x509.ExtensionNotFound, ValueError, IndexError):
            continue
    return None


def _issued(certificate: x509.Certificate, issuer: x509.Certificate, at: float, below: int) -> bool:
    if not _authority(issuer) or not _valid_at(issuer, at):
        return False
    length = issuer.extensions.get_extension_for_class(x509.BasicConstraints).value.path_length
    if length is not None and below > length:
        return False
    try:
        certificate.verify_directly_issued_by(issuer)
    except (ValueError, TypeError, InvalidSignature):
        return False
    return True


def _authority(certificate: x509.Certificate) -> bool:
    try:
        if not certificate.extensions.get_extension_for_class(x509.BasicConstraints).value.ca:
            return False
    except (x509.ExtensionNotFound, ValueError):
        return False
    try:
        return certificate.extensions.get_extension_for_class(x509.KeyUsage).value.key_cert_sign
    except x509.ExtensionNotFound:
        return True
    except ValueError:
        return False


def _may_sign_code(certificate: x509.Certificate) -> bool:
    try:
        usages = certificate.extensions.get_extension_for_class(x509.ExtendedKeyUsage).value
    except x509.ExtensionNotFound:
        return True
    except ValueError:
        return False
    return ExtendedKeyUsageOID.CODE_SIGNING in usages


def _valid_at(certificate: x509.Certificate, at: float) -> bool:
    moment = datetime.datetime.fromtimestamp(at, datetime.UTC)
    return certificate.not_valid_before_utc <= moment <= certificate.not_valid_after_utc


def _verdict(signer: str | None, moment: Moment | None = None) -> Verdict:
    if signer is None:
        return Verdict(False, reason="no trusted key or certificate has signed it")
    return Verdict(True, signer, moment=moment)


# -- reading -------------------------------------------------------------------------------------------


def _json(data: bytes) -> Any:
    try:
        return json.loads(data)
    except (ValueError, RecursionError):
        return None


def _get(value: Any, key: str) -> Any:
    return value.get(key) if isinstance(value, dict) else None


def _unbase64(value: Any) -> bytes | None:
    if not isinstance(value, str):
        return None
    try:
        return base64.b64decode(value, validate=True)
    except (binascii.Error, ValueError):
        return None


def _unbase64url(value: Any) -> bytes | None:
    try:
        return base64.b64decode(value + "=" * (-len(value) % 4), altchars=b"-_", validate=True)
    except (binascii.Error, ValueError, TypeError):
        return None


def _der(data: bytes) -> list[x509.Certificate]:
    try:
        return [x509.load_der_x509_certificate(data)]
    except ValueError:
        return []
