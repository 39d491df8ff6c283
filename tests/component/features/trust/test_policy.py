"""cosign and notation signatures recognised, verified against trusted keys, and asked for on pull."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from cryptography.hazmat.primitives.asymmetric import ec, ed25519, rsa

from tests.support import signing
from tests.support.api import Api, code
from tests.support.notary import Notary
from tests.support.oci.client import unique
from tests.support.processes import PASSWORD
from tests.support.registry import Registry
from tests.support.signing import Authority, Pusher, b64

SIMPLE = "application/vnd.dev.cosign.simplesigning.v1+json"
BUNDLE = "application/vnd.dev.sigstore.bundle.v0.3+json"
NOTATION = "application/vnd.cncf.notary.signature"
SLSA = "https://slsa.dev/provenance/v1"


class Bench:
    """A project, a repository in it, the administrator's client."""

    def __init__(self, registry: Registry) -> None:
        self.api = Api(registry, registry.admin)
        self.project = self.api.project(public="true")
        self.repository = "app"
        self.pusher = Pusher(registry.url, f"{self.project}/app", registry.admin)

    def trust(self, name: str, pem: str) -> int:
        return self.api.made(f"/projects/{self.project}/trustedkeys", {"name": name, "pem": pem})

    def require(self, **flags: str) -> None:
        answer = self.api.put(f"/projects/{self.project}", json={"metadata": flags})
        assert answer.status_code == 200, answer.text

    def verdicts(self, reference: str) -> list[dict[str, Any]]:
        path = f"/projects/{self.project}/repositories/app/artifacts/{reference}/signatures"
        answer = self.api.get(path)
        assert answer.status_code == 200, answer.text
        found: list[dict[str, Any]] = answer.json()
        return found

    def cosign_by_tag(self, key: Any, digest: str, payload: bytes | None = None, **extra: str) -> str:
        payload = payload or signing.simple_payload(digest)
        annotations = {"dev.cosignproject.cosign/signature": b64(signing.sign(key, payload)), **extra}
        return self.pusher.accessory(
            None, None, (SIMPLE, payload), annotations, digest.replace(":", "-") + ".sig"
        )


@pytest.fixture
def bench(registry: Registry) -> Bench:
    return Bench(registry)


def keys() -> list[Any]:
    return [
        ec.generate_private_key(ec.SECP256R1()),
        ec.generate_private_key(ec.SECP384R1()),
        rsa.generate_private_key(65537, 2048),
        ed25519.Ed25519PrivateKey.generate(),
    ]


def test_cosign_signature_by_key(bench: Bench) -> None:
    for number, key in enumerate(keys()):
        digest = bench.pusher.image(f"v{number}", str(number).encode())
        bench.cosign_by_tag(key, digest)
        [before] = bench.verdicts(f"v{number}")
        assert (before["type"], before["valid"]) == ("signature.cosign", False)
        bench.trust(f"key {number}", signing.public_pem(key))
        [after] = bench.verdicts(f"v{number}")
        assert (after["valid"], after.get("signer")) == (True, f"key {number}")


def test_cosign_signature_must_be_about_the_image(bench: Bench) -> None:
    key = ec.generate_private_key(ec.SECP256R1())
    bench.trust("ours", signing.public_pem(key))
    other = bench.pusher.image("other", b"other")
    digest = bench.pusher.image("v1", b"1")
    # A good signature of another image, moved to this one.
    bench.cosign_by_tag(key, digest, signing.simple_payload(other))
    [found] = bench.verdicts("v1")
    assert not found["valid"]
    assert "another digest" in found["reason"]
    # The right digest, but a signature over something else.
    payload = signing.simple_payload(digest)
    wrong = {"dev.cosignproject.cosign/signature": b64(signing.sign(key, payload + b" "))}
    bench.pusher.accessory(None, None, (SIMPLE, payload), wrong, digest.replace(":", "-") + ".sig")
    [found] = bench.verdicts("v1")
    assert not found["valid"]


def test_cosign_signature_by_certificate(bench: Bench) -> None:
    authority = Authority.make()
    bench.trust("authority", signing.certificate_pem(authority.certificate))
    cases = {
        "good": authority.signer(key := ec.generate_private_key(ec.SECP256R1())),
        "expired": authority.signer(key, days=-1),
        "server": authority.signer(key, code_signing=False),
        "stranger": Authority.make("authority").signer(key),
    }
    for number, (name, certificate) in enumerate(cases.items()):
        digest = bench.pusher.image(name, str(number).encode())
        pem = signing.certificate_pem(certificate)
        bench.cosign_by_tag(key, digest, None, **{"dev.sigstore.cosign/certificate": pem})
        [found] = bench.verdicts(name)
        assert found["valid"] is (name == "good"), name


def test_bundles_and_attestations(bench: Bench) -> None:
    key = ec.generate_private_key(ec.SECP256R1())
    bench.trust("ours", signing.public_pem(key))
    digest = bench.pusher.image("v1")
    signed = signing.bundle(key, digest, "https://sigstore.dev/cosign/sign/v1")
    bench.pusher.accessory(digest, BUNDLE, (BUNDLE, signed))
    attested = json.dumps(signing.dsse(key, digest, SLSA)).encode()
    tag = digest.replace(":", "-") + ".att"
    bench.pusher.accessory(None, None, ("application/vnd.dsse.envelope.v1+json", attested), tag=tag)
    forged = json.loads(signing.bundle(key, digest, SLSA))
    forged["dsseEnvelope"]["payload"] = b64(b'{"predicateType": "x", "subject": []}')
    bench.pusher.accessory(digest, BUNDLE, (BUNDLE, json.dumps(forged).encode()))
    found = bench.verdicts("v1")
    assert [(item["valid"], item.get("predicate_type")) for item in found] == [
        (True, None),
        (True, SLSA),
        (False, None),
    ]


@pytest.mark.parametrize("form", ["jws", "cose"])
@pytest.mark.parametrize("kind", ["ec", "rsa"])
def test_notation(bench: Bench, form: str, kind: str) -> None:
    key: Any = (
        ec.generate_private_key(ec.SECP256R1()) if kind == "ec" else rsa.generate_private_key(65537, 2048)
    )
    root = Authority.make("root")
    middle_key = ec.generate_private_key(ec.SECP256R1())
    middle = signing.issue("middle", middle_key, root.key, root.certificate, ca=True)
    leaf = signing.issue("signer", key, middle_key, middle)
    make = signing.notation_jws if form == "jws" else signing.notation_cose
    media_type = "application/jose+json" if form == "jws" else "application/cose"
    digest = bench.pusher.image("v1")
    other = bench.pusher.image("v2", b"2")
    bench.pusher.accessory(digest, NOTATION, (media_type, make(key, [leaf, middle], digest)))
    bench.pusher.accessory(other, NOTATION, (media_type, make(key, [leaf, middle], digest)))
    [before] = bench.verdicts("v1")
    assert (before["type"], before["valid"]) == ("signature.notation", False)
    bench.trust("root", signing.certificate_pem(root.certificate))
    [after] = bench.verdicts("v1")
    assert (after["valid"], after.get("signer")) == (True, "root")
    [moved] = bench.verdicts("v2")
    assert "another digest" in moved["reason"]


def test_notation_expiry_and_unknown_demands(bench: Bench) -> None:
    root = Authority.make("root")
    key = ec.generate_private_key(ec.SECP256R1())
    leaf = root.signer(key)
    bench.trust("root", signing.certificate_pem(root.certificate))
    digest = bench.pusher.image("v1")
    for header in (
        {"io.cncf.notary.expiry": "2020-01-01T00:00:00Z"},
        {"crit": ["io.cncf.notary.signingScheme", "com.example.unknown"]},
        {"cty": "text/plain"},
    ):
        envelope = signing.notation_jws(key, [leaf], digest, **header)
        bench.pusher.accessory(digest, NOTATION, ("application/jose+json", envelope))
    assert [item["valid"] for item in bench.verdicts("v1")] == [False, False, False]


def test_unsigned_images_are_refused(bench: Bench, registry: Registry) -> None:
    key = ec.generate_private_key(ec.SECP256R1())
    digest = bench.pusher.image("v1")
    bench.pusher.image("unsigned", b"u")
    assert bench.pusher.pull("v1").status_code == 200
    bench.require(enable_content_trust_cosign="true")
    refused = bench.pusher.pull("v1")
    assert refused.status_code == 412
    assert code(refused) == "DENIED"
    assert "The image is not signed by cosign" in refused.text
    assert bench.pusher.pull(digest).status_code == 412
    # A tool's name opens nothing.
    stranger = Pusher(registry.url, f"{bench.project}/app", _user(registry))
    for caller in (bench.pusher, stranger):
        assert caller.pull("v1", **{"User-Agent": "cosign/v3.0.2 (linux; amd64)"}).status_code == 412
    signature = bench.cosign_by_tag(key, digest)
    # No key is trusted: a signature by anybody is enough, as in Harbor.
    assert bench.pusher.pull("v1").status_code == 200
    number = bench.trust("other", signing.public_pem(ec.generate_private_key(ec.SECP256R1())))
    assert bench.pusher.pull("v1").status_code == 412
    # Signatures themselves are never held back: clients need them to verify.
    assert stranger.pull(signature).status_code == 200
    bench.trust("ours", signing.public_pem(key))
    assert stranger.pull("v1").status_code == 200
    assert stranger.pull("unsigned").status_code == 412
    assert bench.api.delete(f"/projects/{bench.project}/trustedkeys/{number}").status_code == 200
    assert stranger.pull("v1").status_code == 200
    bench.require(enable_content_trust_cosign="false")
    assert stranger.pull("unsigned").status_code == 200


def _user(registry: Registry) -> tuple[str, str]:
    name = unique("reader")
    registry.create_user(name, PASSWORD)
    return name, PASSWORD


def test_children_of_a_signed_index(bench: Bench) -> None:
    key = ec.generate_private_key(ec.SECP256R1())
    bench.trust("ours", signing.public_pem(key))
    child = bench.pusher.image("child", b"child")
    kind = "application/vnd.oci.image.index.v1+json"
    size = len(bench.pusher.pull(child).content)
    item = {"mediaType": signing.OCI, "digest": child, "size": size}
    index = bench.pusher.manifest({"schemaVersion": 2, "mediaType": kind, "manifests": [item]}, "all")
    bench.require(enable_content_trust_cosign="true")
    assert bench.pusher.pull("all").status_code == 412
    assert bench.pusher.pull(child).status_code == 412
    bench.cosign_by_tag(key, index)
    assert bench.pusher.pull("all").status_code == 200
    assert bench.pusher.pull(child).status_code == 200


def test_attestations_are_no_signatures(bench: Bench) -> None:
    key = ec.generate_private_key(ec.SECP256R1())
    bench.trust("ours", signing.public_pem(key))
    digest = bench.pusher.image("v1")
    bench.pusher.accessory(digest, BUNDLE, (BUNDLE, signing.bundle(key, digest, SLSA)))
    bench.require(enable_content_trust_cosign="true")
    assert bench.pusher.pull("v1").status_code == 412


def test_notation_or_notary_satisfies_content_trust(bench: Bench) -> None:
    root = Authority.make("root")
    key = ec.generate_private_key(ec.SECP256R1())
    bench.trust("root", signing.certificate_pem(root.certificate))
    digest = bench.pusher.image("v1")
    bench.require(enable_content_trust="true")
    assert bench.pusher.pull("v1").status_code == 412
    envelope = signing.notation_jws(key, [root.signer(key)], digest)
    bench.pusher.accessory(digest, NOTATION, ("application/jose+json", envelope))
    assert bench.pusher.pull("v1").status_code == 200


def test_notary_signed_tags_satisfy_content_trust(bench: Bench, registry: Registry, tmp_path: Path) -> None:
    """As Docker Content Trust signs: a target is a tag, its hash the manifest's digest."""
    for tag in ("signed", "unsigned"):
        bench.pusher.image(tag, tag.encode())
    manifest = tmp_path / "manifest.json"
    manifest.write_bytes(bench.pusher.pull("signed").content)
    notary = Notary(registry, tmp_path / "notary", registry.admin)
    gun = f"{registry.host}/{bench.project}/app"
    notary.run("init", "-p", gun)
    notary.run("add", "-p", gun, "signed", str(manifest))
    bench.require(enable_content_trust="true")
    assert bench.pusher.pull("signed").status_code == 200
    assert bench.pusher.pull("unsigned").status_code == 412
    notary.run("remove", "-p", gun, "signed")
    assert bench.pusher.pull("signed").status_code == 412


def test_trusted_keys_api(bench: Bench) -> None:
    path = f"/projects/{bench.project}/trustedkeys"
    pem = signing.public_pem(ec.generate_private_key(ec.SECP256R1()))
    number = bench.trust("a", pem)
    [listed] = bench.api.get(path).json()
    assert (listed["id"], listed["name"], listed["kind"], listed["pem"]) == (number, "a", "key", pem)
    assert len(listed["fingerprint"]) == 64
    assert bench.api.post(path, json={"name": "a", "pem": pem}).status_code == 409
    assert bench.api.post(path, json={"name": "b", "pem": pem}).status_code == 409
    for bad in ("", "x", signing.public_pem(rsa.generate_private_key(65537, 1024)), pem + "x" * 70000):
        assert bench.api.post(path, json={"name": "c", "pem": bad}).status_code in (400, 422)
    assert bench.api.delete(f"{path}/{number}").status_code == 200
    assert bench.api.delete(f"{path}/{number}").status_code == 404
    assert bench.api.get(path).json() == []


def test_times_are_told_and_are_no_signature(bench: Bench) -> None:
    key = ec.generate_private_key(ec.SECP256R1())
    path = f"/projects/{bench.project}/trustedkeys"
    log, authority = signing.public_pem(key), signing.certificate_pem(Authority.make().certificate)
    assert bench.api.post(path, json={"name": "x", "pem": log, "usage": "timestamp"}).status_code == 400
    assert bench.api.post(path, json={"name": "x", "pem": authority, "usage": "log"}).status_code == 400
    assert bench.api.post(path, json={"name": "x", "pem": log, "usage": "other"}).status_code == 422
    bench.api.made(path, {"name": "log", "pem": log, "usage": "log"})
    bench.api.made(path, {"name": "stamps", "pem": authority, "usage": "timestamp"})
    assert {item["name"]: item["kind"] for item in bench.api.get(path).json()} == {
        "log": "log",
        "stamps": "timestamp",
    }
    digest = bench.pusher.image("v1")
    bench.cosign_by_tag(key, digest)
    # The log's key is no signer's, and no signer is trusted: anybody's signature counts, as before.
    [found] = bench.verdicts("v1")
    assert (found["valid"], found.get("time"), found.get("witness")) == (False, None, None)
    bench.require(enable_content_trust_cosign="true")
    assert bench.pusher.pull("v1").status_code == 200


def test_identities_of_trusted_certificates(bench: Bench) -> None:
    path = f"/projects/{bench.project}/trustedkeys"
    pem = signing.certificate_pem(Authority.make().certificate)
    who = {"subject": "*@example.test", "issuer": "https://accounts.example.test"}
    key = signing.public_pem(ec.generate_private_key(ec.SECP256R1()))
    for bad in (
        {"name": "a", "pem": key, "identities": [who]},
        {"name": "a", "pem": pem, "identities": [{"subject": "**"}]},
        {"name": "a", "pem": pem, "identities": [{"subject": "a\0b"}]},
        {"name": "a", "pem": pem, "identities": [who] * 101},
    ):
        assert bench.api.post(path, json=bad).status_code in (400, 422)
    bench.api.made(path, {"name": "a", "pem": pem, "identities": [who]})
    [listed] = bench.api.get(path).json()
    assert listed["identities"] == [who]
