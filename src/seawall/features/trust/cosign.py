"""Verification of cosign's signatures, attestations and sigstore bundles."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping, Sequence
from typing import Any

from cryptography import x509

from seawall.features.trust.anchors import BUNDLE_PREFIX, DSSE, SIMPLE_SIGNING, Anchor, Verdict
from seawall.features.trust.certificates import CHAIN_LENGTH
from seawall.features.trust.encoding import get, read_der, read_json, unbase64
from seawall.features.trust.proofs import Proofs, annotated_proofs, bundled_proofs, moment_of
from seawall.features.trust.signers import signer_of, signer_of_digest, verdict

_SIGNATURE = "dev.cosignproject.cosign/signature"
_CERTIFICATE = "dev.sigstore.cosign/certificate"
_CHAIN = "dev.sigstore.cosign/chain"
_INTOTO = "application/vnd.in-toto+json"


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
        proofs = annotated_proofs(annotations)
        return _dsse(read_json(payload), _certificates(annotations), subject, anchors, at, proofs, payload)
    if layer.startswith(BUNDLE_PREFIX):
        return _bundle(payload, subject, anchors, at)
    return Verdict(False, reason=f"{layer} is not a signature")


def _simple(
    annotations: Mapping[str, str], payload: bytes, subject: str, anchors: Sequence[Anchor], at: float
) -> Verdict:
    signature = unbase64(annotations.get(_SIGNATURE))
    if signature is None:
        return Verdict(False, reason="it has no signature annotation")
    critical = get(read_json(payload), "critical")
    if get(get(critical, "image"), "docker-manifest-digest") != subject:
        return Verdict(False, reason="it is about another digest")
    moment = moment_of(annotated_proofs(annotations), [signature], hashlib.sha256(payload).digest(), anchors)
    signer = signer_of(payload, signature, _certificates(annotations), anchors, moment.at if moment else at)
    return verdict(signer, moment)


def _dsse(
    envelope: Any,
    chain: list[x509.Certificate],
    subject: str,
    anchors: Sequence[Anchor],
    at: float,
    proofs: Proofs,
    whole: bytes = b"",
) -> Verdict:
    payload = unbase64(get(envelope, "payload"))
    kind = get(envelope, "payloadType")
    signatures = get(envelope, "signatures")
    if payload is None or kind != _INTOTO or not isinstance(signatures, list):
        return Verdict(False, reason="it is not an envelope of an in-toto statement")
    statement = read_json(payload)
    algorithm, _, value = subject.partition(":")
    subjects = get(statement, "subject")
    digests = [get(get(item, "digest"), algorithm) for item in subjects] if isinstance(subjects, list) else []
    if value not in digests:
        return Verdict(False, reason="it is about another digest")
    # DSSE's pre-authentication encoding.
    message = b"DSSEv1 %d %s %d %s" % (len(kind), kind.encode(), len(payload), payload)
    predicate = get(statement, "predicateType")
    for item in signatures[:16]:
        signature = unbase64(get(item, "sig"))
        if not signature:
            continue
        # cosign has attestations stamped whole, sigstore's bundles by signature.
        moment = moment_of(proofs, [signature, whole], hashlib.sha256(payload).digest(), anchors)
        signer = signer_of(message, signature, chain, anchors, moment.at if moment else at)
        if signer is not None:
            named = predicate if isinstance(predicate, str) else ""
            return Verdict(True, signer, predicate=named, moment=moment)
    return Verdict(False, reason="no trusted key or certificate has signed it")


def _bundle(payload: bytes, subject: str, anchors: Sequence[Anchor], at: float) -> Verdict:
    bundle = read_json(payload)
    material = get(bundle, "verificationMaterial")
    raw = [get(get(material, "certificate"), "rawBytes")]
    listed = get(get(material, "x509CertificateChain"), "certificates")
    if isinstance(listed, list):
        raw += [get(item, "rawBytes") for item in listed[:CHAIN_LENGTH]]
    chain = []
    for item in raw:
        der = unbase64(item)
        if der is not None:
            chain += read_der(der)
    proofs = bundled_proofs(material)
    envelope = get(bundle, "dsseEnvelope")
    if envelope is not None:
        found = _dsse(envelope, chain, subject, anchors, at, proofs)
        # cosign 3 signs images with a statement of this predicate; others are attestations.
        if found.valid and found.predicate in ("https://sigstore.dev/cosign/sign/v1", ""):
            return Verdict(True, found.signer, moment=found.moment)
        return found
    message = get(bundle, "messageSignature")
    signature = unbase64(get(message, "signature"))
    digest = unbase64(get(get(message, "messageDigest"), "digest"))
    if signature is None or digest is None or f"sha256:{digest.hex()}" != subject:
        return Verdict(False, reason="it is about another digest")
    moment = moment_of(proofs, [signature], digest, anchors)
    signer = signer_of_digest(digest, signature, chain, anchors, moment.at if moment else at)
    return verdict(signer, moment)


def _certificates(annotations: Mapping[str, str]) -> list[x509.Certificate]:
    text = "\n".join(annotations.get(name, "") for name in (_CERTIFICATE, _CHAIN)).strip()
    if not text:
        return []
    try:
        return x509.load_pem_x509_certificates(text.encode())[:CHAIN_LENGTH]
    except ValueError:
        return []
