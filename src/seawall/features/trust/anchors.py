"""What a project trusts (anchors), and what verification says of a signature."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass

from cryptography import x509
from cryptography.exceptions import UnsupportedAlgorithm
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec, ed25519, rsa

from seawall.features.trust.certificates import CHAIN_LENGTH, is_authority
from seawall.features.trust.times import Moment
from seawall.kernel.errors import InvalidError

SIMPLE_SIGNING = "application/vnd.dev.cosign.simplesigning.v1+json"
DSSE = "application/vnd.dsse.envelope.v1+json"
BUNDLE_PREFIX = "application/vnd.dev.sigstore.bundle"
JWS = "application/jose+json"
COSE = "application/cose"
NOTATION = "application/vnd.cncf.notary.signature"
NOTATION_PAYLOAD = "application/vnd.cncf.notary.payload.v1+json"
# Kinds of anchors that sign; "timestamp" and "log" say when.
SIGNERS = ("key", "certificate")


@dataclass(frozen=True, slots=True)
class Anchor:
    """A key or certificate that is trusted, under the name its project gave it.

    `identities`: (issuer, subject); a signer's certificate must have one of them, or any where empty. The
    subject is a name in the certificate (e-mail address, URI, ...), "*" stands for any text; the issuer is
    who Fulcio says vouched for it, "" for anyone.
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
        if not 0 < len(chain) <= CHAIN_LENGTH or not any(
            is_authority(c) or c.issuer == c.subject for c in chain
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
