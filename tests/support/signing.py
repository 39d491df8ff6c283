"""Signatures as cosign and notation make them, made here from their specifications."""

from __future__ import annotations

import base64
import datetime
import json
from dataclasses import dataclass
from typing import Any

import cbor2
import httpx
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec, padding, rsa, utils
from cryptography.x509.oid import ExtendedKeyUsageOID, NameOID

from tests.support.digests import digest_of

EMPTY = b"{}"
OCI = "application/vnd.oci.image.manifest.v1+json"


def b64(data: bytes) -> str:
    return base64.b64encode(data).decode()


def b64url(data: bytes) -> str:
    return base64.urlsafe_b64encode(data).decode().rstrip("=")


def public_pem(key: Any) -> str:
    pem: bytes = key.public_key().public_bytes(
        serialization.Encoding.PEM, serialization.PublicFormat.SubjectPublicKeyInfo
    )
    return pem.decode()


def certificate_pem(certificate: x509.Certificate) -> str:
    return certificate.public_bytes(serialization.Encoding.PEM).decode()


def certificate_der(certificate: x509.Certificate) -> bytes:
    return certificate.public_bytes(serialization.Encoding.DER)


@dataclass
class Authority:
    """A certificate authority for signers."""

    key: ec.EllipticCurvePrivateKey
    certificate: x509.Certificate

    @classmethod
    def make(cls, name: str = "authority") -> Authority:
        key = ec.generate_private_key(ec.SECP256R1())
        return cls(key, issue(name, key, key, name, ca=True))

    def signer(self, key: Any, *, days: int = 30, code_signing: bool = True) -> x509.Certificate:
        return issue("signer", key, self.key, self.certificate, days=days, code_signing=code_signing)


def issue(
    name: str,
    key: Any,
    by: Any,
    issuer: x509.Certificate | str,
    *,
    ca: bool = False,
    days: int = 30,
    code_signing: bool = True,
) -> x509.Certificate:
    now = datetime.datetime.now(datetime.UTC)
    start = now - datetime.timedelta(days=60)
    subject = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, name)])
    above = issuer.subject if isinstance(issuer, x509.Certificate) else subject
    builder = (
        x509.CertificateBuilder()
        .subject_name(subject)
        .issuer_name(above)
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(start)
        .not_valid_after(now + datetime.timedelta(days=days))
        .add_extension(x509.BasicConstraints(ca=ca, path_length=None), critical=True)
    )
    # notation takes no certificate without this extension.
    unused = ("content_commitment", "key_encipherment", "data_encipherment", "key_agreement", "crl_sign")
    use = dict.fromkeys((*unused, "encipher_only", "decipher_only"), False)
    use |= {"digital_signature": not ca, "key_cert_sign": ca}
    builder = builder.add_extension(x509.KeyUsage(**use), critical=True)
    if not ca:
        usage = ExtendedKeyUsageOID.CODE_SIGNING if code_signing else ExtendedKeyUsageOID.SERVER_AUTH
        builder = builder.add_extension(x509.ExtendedKeyUsage([usage]), critical=False)
    return builder.sign(by, hashes.SHA256())


def sign(key: Any, message: bytes) -> bytes:
    """As cosign does."""
    if isinstance(key, rsa.RSAPrivateKey):
        return key.sign(message, padding.PKCS1v15(), hashes.SHA256())
    if isinstance(key, ec.EllipticCurvePrivateKey):
        return key.sign(message, ec.ECDSA(hashes.SHA256()))
    made: bytes = key.sign(message)
    return made


def simple_payload(digest: str, name: str = "registry.example.com/app") -> bytes:
    return json.dumps({
        "critical": {
            "identity": {"docker-reference": name},
            "image": {"docker-manifest-digest": digest},
            "type": "cosign container image signature",
        },
        "optional": None,
    }).encode()  # fmt: skip


def dsse(key: Any, digest: str, predicate: str) -> dict[str, Any]:
    statement = json.dumps({
        "_type": "https://in-toto.io/Statement/v1",
        "predicateType": predicate,
        "subject": [{"name": "app", "digest": {"sha256": digest.partition(":")[2]}}],
        "predicate": {},
    }).encode()  # fmt: skip
    kind = b"application/vnd.in-toto+json"
    message = b"DSSEv1 %d %s %d %s" % (len(kind), kind, len(statement), statement)
    signature = b64(sign(key, message))
    return {"payload": b64(statement), "payloadType": kind.decode(), "signatures": [{"sig": signature}]}


def bundle(key: Any, digest: str, predicate: str, certificate: x509.Certificate | None = None) -> bytes:
    material: dict[str, Any] = {"publicKey": {"hint": "x"}}
    if certificate is not None:
        material = {"certificate": {"rawBytes": b64(certificate_der(certificate))}}
    return json.dumps({
        "mediaType": "application/vnd.dev.sigstore.bundle.v0.3+json",
        "verificationMaterial": material,
        "dsseEnvelope": dsse(key, digest, predicate),
    }).encode()  # fmt: skip


def _notation_payload(digest: str) -> bytes:
    return json.dumps({"targetArtifact": {"mediaType": OCI, "digest": digest, "size": 1}}).encode()


_HEADER = {
    "cty": "application/vnd.cncf.notary.payload.v1+json",
    "crit": ["io.cncf.notary.signingScheme"],
    "io.cncf.notary.signingScheme": "notary.x509",
    "io.cncf.notary.signingTime": "2026-01-01T00:00:00Z",
}


def notation_jws(key: Any, chain: list[x509.Certificate], digest: str, **header: Any) -> bytes:
    ecdsa = isinstance(key, ec.EllipticCurvePrivateKey)
    protected = b64url(json.dumps({"alg": "ES256" if ecdsa else "PS256", **_HEADER, **header}).encode())
    payload = b64url(_notation_payload(digest))
    signature = _jose(key, f"{protected}.{payload}".encode())
    return json.dumps({
        "payload": payload,
        "protected": protected,
        "header": {"x5c": [b64(certificate_der(item)) for item in chain]},
        "signature": b64url(signature),
    }).encode()  # fmt: skip


def notation_cose(key: Any, chain: list[x509.Certificate], digest: str) -> bytes:
    ecdsa = isinstance(key, ec.EllipticCurvePrivateKey)
    header = {
        1: -7 if ecdsa else -37,
        2: ["io.cncf.notary.signingScheme"],
        3: _HEADER["cty"],
        "io.cncf.notary.signingScheme": "notary.x509",
        "io.cncf.notary.signingTime": cbor2.CBORTag(1, 1767225600),
    }
    protected = cbor2.dumps(header)
    payload = _notation_payload(digest)
    signature = _jose(key, cbor2.dumps(["Signature1", protected, b"", payload]))
    certificates = [certificate_der(item) for item in chain]
    return cbor2.dumps(cbor2.CBORTag(18, [protected, {33: certificates}, payload, signature]))


def _jose(key: Any, message: bytes) -> bytes:
    if isinstance(key, ec.EllipticCurvePrivateKey):
        r, s = utils.decode_dss_signature(key.sign(message, ec.ECDSA(hashes.SHA256())))
        return r.to_bytes(32, "big") + s.to_bytes(32, "big")
    pss = padding.PSS(padding.MGF1(hashes.SHA256()), 32)
    made: bytes = key.sign(message, pss, hashes.SHA256())
    return made


class Pusher:
    """Pushes manifests and blobs to one repository."""

    def __init__(self, url: str, repository: str, auth: tuple[str, str]) -> None:
        self.client = httpx.Client(base_url=f"{url}/v2/{repository}", auth=auth, timeout=30)

    def blob(self, data: bytes) -> dict[str, Any]:
        """Upload; returns digest and size."""
        answer = self.client.post("/blobs/uploads/", params={"digest": digest_of(data)}, content=data)
        assert answer.status_code == 201, answer.text
        return {"digest": digest_of(data), "size": len(data)}

    def manifest(self, content: dict[str, Any], reference: str | None = None) -> str:
        """Push; returns the digest."""
        data = json.dumps(content).encode()
        kind = {"Content-Type": content["mediaType"]}
        answer = self.client.put(f"/manifests/{reference or digest_of(data)}", content=data, headers=kind)
        assert answer.status_code == 201, answer.text
        return digest_of(data)

    def image(self, tag: str, seed: bytes = b"x") -> str:
        """A small image."""
        return self.manifest(
            {
                "schemaVersion": 2,
                "mediaType": OCI,
                "config": {"mediaType": "application/vnd.oci.image.config.v1+json", **self.blob(EMPTY)},
                "layers": [{"mediaType": "application/vnd.oci.image.layer.v1.tar", **self.blob(seed)}],
            },
            tag,
        )

    def accessory(
        self,
        subject: str | None,
        artifact_type: str | None,
        layer: tuple[str, bytes],
        annotations: dict[str, str] | None = None,
        tag: str | None = None,
    ) -> str:
        """Something attached to `subject`: by reference, or by `tag` in cosign's scheme."""
        content: dict[str, Any] = {
            "schemaVersion": 2,
            "mediaType": OCI,
            "config": {"mediaType": "application/vnd.oci.empty.v1+json", **self.blob(EMPTY)},
            "layers": [{"mediaType": layer[0], **self.blob(layer[1]), "annotations": annotations or {}}],
        }
        if artifact_type is not None:
            content["artifactType"] = artifact_type
        if subject is not None:
            content["subject"] = {"mediaType": OCI, "digest": subject, "size": 1}
        return self.manifest(content, tag)

    def pull(self, reference: str, **headers: str) -> httpx.Response:
        """GET of a manifest."""
        return self.client.get(f"/manifests/{reference}", headers={"Accept": "*/*", **headers})
