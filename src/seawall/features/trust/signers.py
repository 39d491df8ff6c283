"""Who made a signature, and whether the anchors of a project vouch for that signer."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Any

from cryptography import x509
from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec, ed25519, padding, rsa, utils

from seawall.features.trust.anchors import Anchor, Verdict
from seawall.features.trust.certificates import (
    CHAIN_LENGTH,
    is_authority,
    is_issued_by,
    is_valid_at,
    may_sign_code,
)
from seawall.features.trust.times import Moment

# Fulcio's extensions: the issuer as a UTF8String, and as bare text before that.
_ISSUER = x509.ObjectIdentifier("1.3.6.1.4.1.57264.1.8")
_ISSUER_OLD = x509.ObjectIdentifier("1.3.6.1.4.1.57264.1.1")


def signer_of(
    message: bytes, signature: bytes, chain: list[x509.Certificate], anchors: Sequence[Anchor], at: float
) -> str | None:
    """Name of the anchor that vouches for who signed `message`, None for nobody."""
    return _find(lambda key: _verifies(key, signature, message, None), chain, anchors, at)


def signer_of_digest(
    digest: bytes, signature: bytes, chain: list[x509.Certificate], anchors: Sequence[Anchor], at: float
) -> str | None:
    """The same of who signed what has this SHA-256 digest."""
    return _find(lambda key: _verifies(key, signature, None, digest), chain, anchors, at)


def _find(verifies: Any, chain: list[x509.Certificate], anchors: Sequence[Anchor], at: float) -> str | None:
    """The anchor whose key made the signature, or that vouches for the certificate whose key did."""
    for anchor in anchors:
        if anchor.kind == "key" and verifies(serialization.load_pem_public_key(anchor.pem.encode())):
            return anchor.name
    if chain and verifies(chain[0].public_key()):
        return trusted_signer(chain, anchors, at)
    for anchor in anchors:
        # A signer's own certificate is trusted: signatures made with its key need not carry it.
        if anchor.kind == "certificate":
            certificate = x509.load_pem_x509_certificate(anchor.pem.encode())
            if (
                not is_authority(certificate)
                and is_valid_at(certificate, at)
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


def trusted_signer(chain: list[x509.Certificate], anchors: Iterable[Anchor], at: float) -> str | None:
    """The anchor that vouches for `chain[0]`, by itself or through the rest of the chain."""
    leaf = chain[0]
    if not is_valid_at(leaf, at) or not may_sign_code(leaf):
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
    for below in range(CHAIN_LENGTH):
        for name, root in roots:
            if is_issued_by(current, root, at, below):
                return name
        following = next((c for c in chain[1:] if c != current and is_issued_by(current, c, at, below)), None)
        if following is None:
            return None
        current = following
    return None


def _identified(leaf: x509.Certificate, anchor: Anchor) -> bool:
    """Whether a signer's certificate is of a signer that the anchor is confined to."""
    if not anchor.identities:
        return True
    issuer, names = _issuer_of(leaf), _names(leaf)
    return any(
        (not wanted or wanted == issuer) and any(matches_pattern(name, subject) for name in names)
        for wanted, subject in anchor.identities
    )


def matches_pattern(name: str, pattern: str) -> bool:
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


def verdict(signer: str | None, moment: Moment | None = None) -> Verdict:
    """The verdict that an anchor's name gives; None means no trust."""
    if signer is None:
        return Verdict(False, reason="no trusted key or certificate has signed it")
    return Verdict(True, signer, moment=moment)
