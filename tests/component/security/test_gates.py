"""The gates on pulls (signatures, severity) open for what a thing is, never for what it says of itself."""

from __future__ import annotations

import gzip
import io
import json
import tarfile
from typing import Any

import httpx
import pytest
from cryptography.hazmat.primitives.asymmetric import ec

from tests.support import signing
from tests.support.api import Api
from tests.support.digests import digest_of
from tests.support.oci.client import unique
from tests.support.processes import PASSWORD
from tests.support.registry import Registry
from tests.support.signing import Pusher, b64

IMAGE_CONFIG = "application/vnd.oci.image.config.v1+json"
EMPTY_CONFIG = "application/vnd.oci.empty.v1+json"
TAR = "application/vnd.oci.image.layer.v1.tar+gzip"
DOCKER = "application/vnd.docker.distribution.manifest.v2+json"
SIMPLE = "application/vnd.dev.cosign.simplesigning.v1+json"
DSSE = "application/vnd.dsse.envelope.v1+json"
BUNDLE = "application/vnd.dev.sigstore.bundle.v0.3+json"
NOTATION = "application/vnd.cncf.notary.signature"
SPDX = "application/spdx+json"
NOWHERE = "sha256:" + "0" * 64


def layer() -> bytes:
    """A layer with a file in it, as an archive."""
    out = io.BytesIO()
    with tarfile.open(fileobj=out, mode="w") as tar:
        item = tarfile.TarInfo("bin/run")
        item.size = 4
        tar.addfile(item, io.BytesIO(b"run!"))
    return gzip.compress(out.getvalue())


class Gated:
    """A public project with a gate, a developer who pushes, and a reader whose pulls the gate must judge."""

    def __init__(self, registry: Registry, gate: dict[str, str]) -> None:
        self.api = Api(registry, registry.admin)
        self.gate = gate
        self.project = self.api.project(public="true")
        names = []
        for _ in range(2):
            name = unique("dev")
            registry.create_user(name, PASSWORD)
            names.append(name)
        self.api.member(self.project, names[0], 2)
        self.pushed: dict[str, tuple[str, bytes]] = {}
        self.url, self.admin = registry.url, registry.admin
        self.developer = Pusher(registry.url, f"{self.project}/app", (names[0], PASSWORD))
        self.reader = Pusher(registry.url, f"{self.project}/app", (names[1], PASSWORD))
        answer = self.api.put(f"/projects/{self.project}", json={"metadata": gate})
        assert answer.status_code == 200, answer.text

    def push(
        self,
        config: str = IMAGE_CONFIG,
        layer_type: str = TAR,
        data: bytes | None = None,
        reference: str | None = None,
        media_type: str = signing.OCI,
        **more: Any,
    ) -> str:
        """Push a manifest of one layer as the developer; returns its digest."""
        data = layer() if data is None else data
        # Two manifests of the same parts are two artifacts.
        text = json.dumps({"architecture": "amd64", "os": "linux", "author": unique("a")}).encode()
        content = {
            "schemaVersion": 2,
            "mediaType": media_type,
            "config": {"mediaType": config, **self.developer.blob(text)},
            "layers": [{"mediaType": layer_type, **self.developer.blob(data)}],
            **more,
        }
        digest = self.developer.manifest(content, reference)
        self.pushed[digest] = (media_type, json.dumps(content).encode())
        return digest

    def tag(self, digest: str, tag: str) -> httpx.Response:
        """Push a manifest that is there once more, under a tag."""
        kind, content = self.pushed[digest]
        return self.developer.client.put(f"/manifests/{tag}", content=content, headers={"Content-Type": kind})

    def status(self, reference: str, **headers: str) -> int:
        """What a pull by the reader is answered with."""
        return self.reader.pull(reference, **headers).status_code


SIGNED = {"enable_content_trust_cosign": "true"}
NOTATION_SIGNED = {"enable_content_trust": "true"}
SEVERE = {"prevent_vul": "true", "severity": "low"}


@pytest.fixture(params=[SIGNED, NOTATION_SIGNED, SEVERE], ids=["cosign", "notation", "severity"])
def gated(registry: Registry, request: pytest.FixtureRequest) -> Gated:
    return Gated(registry, request.param)


def subject(digest: str) -> dict[str, Any]:
    return {"mediaType": signing.OCI, "digest": digest, "size": 1}


def test_no_claim_opens_a_gate(gated: Gated) -> None:
    image = gated.push(reference="v1")
    assert gated.status("v1") == 412
    claims = {
        # An image that says it belongs to something, there or not.
        "subject that is not there": gated.push(subject=subject(NOWHERE)),
        "image about an image": gated.push(subject=subject(image)),
        "image that calls itself a signature": gated.push(artifactType=BUNDLE, subject=subject(image)),
        "image that calls itself an SBOM": gated.push(artifactType=SPDX, subject=subject(image)),
        # Configs that Docker takes for an image's, and such as nobody knows.
        "octet-stream": gated.push("application/octet-stream", media_type=DOCKER),
        "plug-in": gated.push("application/vnd.docker.plugin.v1+json", media_type=DOCKER),
        "unknown config": gated.push("application/vnd.example.thing.v1+json"),
        # Layers that say they are signatures and hold programs.
        "archive as a signature": gated.push(layer_type=SIMPLE, subject=subject(image)),
        "archive as an attestation": gated.push(layer_type=DSSE, subject=subject(image)),
        "signature of nothing": gated.push(EMPTY_CONFIG, SIMPLE, b"{}", subject=subject(NOWHERE)),
        "signature without subject": gated.push(EMPTY_CONFIG, SIMPLE, b"{}"),
    }
    passed = [name for name, digest in claims.items() if gated.status(digest) != 412]
    assert passed == []
    for tool in ("cosign/v3.0.2 (linux; amd64)", "notation/1.3.2"):
        assert gated.status("v1", **{"User-Agent": tool}) == 412


def test_a_policy_counts_from_the_next_pull_on(registry: Registry) -> None:
    """Whichever process was asked before, and however short ago."""
    gated = Gated(registry, SEVERE)
    digest = gated.push(reference="one")
    for _ in range(5):
        for severe, status in (("false", 200), ("true", 412)):
            gated.api.put(f"/projects/{gated.project}", json={"metadata": {"prevent_vul": severe}})
            found = {gated.status(reference) for reference in ("one", digest) * 4}
            assert found == {status}, severe


def test_no_form_of_an_accessory_carries_a_program(gated: Gated) -> None:
    """Bundles, notation, SBOMs, indexes and artifact manifests, with layers that an engine would run."""
    image = gated.push(reference="v1")
    about = subject(image)
    index = "application/vnd.oci.image.index.v1+json"
    program = {"mediaType": TAR, **gated.developer.blob(layer())}
    text = {"mediaType": SPDX, **gated.developer.blob(b'{"spdxVersion": "SPDX-2.3"}')}
    config = {"mediaType": IMAGE_CONFIG, **gated.developer.blob(b'{"architecture": "amd64", "os": "linux"}')}
    empty = {"mediaType": EMPTY_CONFIG, **gated.developer.blob(b"{}")}
    behind = b"{}\n" + bytes(510)
    listed = {"mediaType": signing.OCI, "digest": image, "size": len(gated.pushed[image][1])}

    def both(**more: Any) -> str:
        """A harmless layer first, and the program behind it."""
        content = {"schemaVersion": 2, "mediaType": signing.OCI, "layers": [text, program], "subject": about}
        return gated.developer.manifest({**content, "config": config, **more})

    forged = {
        "bundle with an archive": gated.push(EMPTY_CONFIG, TAR, artifactType=BUNDLE, subject=about),
        "bundle of another version": gated.push(artifactType=BUNDLE.replace("0.3", "0.9"), subject=about),
        "notation with an archive": gated.push(NOTATION, TAR, artifactType=NOTATION, subject=about),
        "SBOM and a program": both(artifactType=SPDX),
        "no artifact type": both(),
        "no artifact type, empty config": both(config=empty),
        "type with a parameter": gated.push(layer_type=SPDX + ";x=1", artifactType=SPDX, subject=about),
        "type in capitals": gated.push(layer_type=SPDX.upper(), subject=about),
        "archive that begins like JSON": gated.push(layer_type=SIMPLE, data=b"{}" + layer(), subject=about),
        "JSON that goes on as an archive": gated.push(layer_type=DSSE, data=behind, subject=about),
    }
    passed = [name for name, digest in forged.items() if gated.status(digest) != 412]
    assert passed == []
    # An index runs nothing, and so is not held for severity; what a client takes from it is.
    about_itself = {
        "schemaVersion": 2,
        "mediaType": index,
        "artifactType": BUNDLE,
        "manifests": [listed],
        "subject": about,
    }
    accessory = gated.developer.manifest(about_itself)
    assert gated.status(accessory) == (200 if gated.gate == SEVERE else 412)
    assert gated.status(image) == 412


def test_a_tag_in_cosigns_form_opens_nothing(gated: Gated) -> None:
    digest = gated.push(reference="v1")
    real = gated.push()
    for about in (NOWHERE, real, digest):
        for ending in ("sig", "att", "sbom"):
            tag = about.replace(":", "-") + f".{ending}"
            assert gated.tag(digest, tag).status_code == 201
            assert [gated.status(item) for item in ("v1", digest, tag)] == [412, 412, 412], tag
    # A program under a signature's layer type.
    tag = real.replace(":", "-") + ".sig"
    fake = gated.push(layer_type=SIMPLE, reference=tag)
    assert [gated.status(item) for item in (fake, tag)] == [412, 412]


def test_what_clients_verify_with_is_let_through(gated: Gated) -> None:
    image = gated.push(reference="v1")
    tag = image.replace(":", "-") + ".sig"
    # As cosign 2 pushes signatures: the config says image, the tag what it is about.
    gated.push(layer_type=SIMPLE, data=signing.simple_payload(image), reference=tag)
    assert gated.status(tag) == 200
    for kind, data in ((BUNDLE, b'{"a": 1}'), (SPDX, b'{"spdxVersion": "SPDX-2.3"}')):
        found = gated.push(EMPTY_CONFIG, kind, data, artifactType=kind, subject=subject(image))
        assert gated.status(found) == 200
    envelope = gated.push(NOTATION, "application/cose", b"\xd2\x84", subject=subject(image))
    assert gated.status(envelope) == 200
    # With the image they were about they lose what they were let through for.
    assert gated.api.delete(f"/projects/{gated.project}/repositories/app/artifacts/{image}").status_code in (
        200,
        412,
    )


def robot(gated: Gated, *pairs: tuple[str, str]) -> Pusher:
    """A robot account of the project with these rights."""
    access = [{"resource": resource, "action": action} for resource, action in pairs]
    body = {
        "name": unique("signer"),
        "level": "project",
        "duration": 1,
        "permissions": [{"kind": "project", "namespace": gated.project, "access": access}],
    }
    made = gated.api.post("/robots", json=body)
    assert made.status_code == 201, made.text
    return Pusher(gated.url, f"{gated.project}/app", (made.json()["name"], made.json()["secret"]))


def test_a_robot_that_signs_reads_what_it_signs(gated: Gated) -> None:
    digest = gated.push(reference="v1")
    pulls = [("repository", "pull"), ("repository", "push")]
    signer = robot(gated, *pulls, ("accessory", "create"))
    assert signer.pull(digest).status_code == 200
    # A right that is not given by name is not given; nor does a tool's name give one.
    for other in (robot(gated, *pulls), gated.developer):
        assert other.pull(digest, **{"User-Agent": "cosign/v3.0.2"}).status_code == 412
    # What it signs with, notation and cosign ask for by HEAD, which is not held back.
    assert gated.developer.client.head(f"/manifests/{digest}").status_code == 200


def test_with_trusted_keys_nothing_else_vouches(registry: Registry) -> None:
    for gate in (SIGNED, NOTATION_SIGNED):
        gated = Gated(registry, gate)
        digest = gated.push(reference="v1")
        path = f"/projects/{gated.project}/trustedkeys"
        pem = signing.public_pem(ec.generate_private_key(ec.SECP256R1()))
        gated.api.made(path, {"name": "ours", "pem": pem})
        stranger = ec.generate_private_key(ec.SECP256R1())
        payload = signing.simple_payload(digest)
        gated.developer.accessory(
            None,
            None,
            (SIMPLE, payload),
            {"dev.cosignproject.cosign/signature": b64(signing.sign(stranger, payload))},
            digest.replace(":", "-") + ".sig",
        )
        authority = signing.Authority.make()
        envelope = signing.notation_jws(stranger, [authority.signer(stranger)], digest)
        gated.developer.accessory(digest, NOTATION, ("application/jose+json", envelope))
        assert gated.status("v1") == 412


def test_a_signature_is_found_behind_many_referrers(registry: Registry) -> None:
    gated = Gated(registry, SIGNED)
    digest = gated.push(reference="v1")
    key = ec.generate_private_key(ec.SECP256R1())
    path = f"/projects/{gated.project}/trustedkeys"
    gated.api.made(path, {"name": "ours", "pem": signing.public_pem(key)})
    noise = ec.generate_private_key(ec.SECP256R1())
    config = {"mediaType": EMPTY_CONFIG, **gated.developer.blob(b"{}")}
    data = signing.bundle(noise, digest, "https://sigstore.dev/cosign/sign/v1")
    false = {"mediaType": BUNDLE, **gated.developer.blob(data)}
    for number in range(101):
        gated.developer.manifest(
            {
                "schemaVersion": 2,
                "mediaType": signing.OCI,
                "artifactType": BUNDLE,
                "config": config,
                "layers": [false],
                "subject": subject(digest),
                "annotations": {"n": str(number)},
            }
        )
    assert gated.status("v1") == 412
    real = signing.bundle(key, digest, "https://sigstore.dev/cosign/sign/v1")
    gated.developer.accessory(digest, BUNDLE, (BUNDLE, real))
    assert gated.status("v1") == 200
    assert digest_of(gated.reader.pull("v1").content) == digest


def test_charts_are_no_images(registry: Registry) -> None:
    gated = Gated(registry, SEVERE)
    config = "application/vnd.cncf.helm.config.v1+json"
    chart = gated.push(config, "application/vnd.cncf.helm.chart.content.v1.tar+gzip")
    assert gated.status(chart) == 200
    assert gated.status(gated.push(config)) == 412
