"""A signature counts from when it was first pushed, whoever pushes it once more."""

from __future__ import annotations

import datetime
import json
import time
from typing import Any

from cryptography.hazmat.primitives.asymmetric import ec
from sqlalchemy import select

from seawall.registry.manifest import OCI_MANIFEST
from seawall.registry.tables import manifests
from tests.support import signing
from tests.support.digests import digest_of
from tests.support.lab import Lab, Run, descriptor
from tests.support.signing import Authority, b64

SIMPLE = "application/vnd.dev.cosign.simplesigning.v1+json"
BUNDLE = "application/vnd.dev.sigstore.bundle.v0.3+json"
DAY = 86400.0


async def accessory(lab: Lab, document: dict[str, Any], tag: str | None, at: float | None) -> str:
    """Push a manifest as of a time (Unix seconds), now when None."""
    payload = json.dumps({"schemaVersion": 2, "mediaType": OCI_MANIFEST, **document}).encode()
    reference = tag or digest_of(payload)
    digest, _ = await lab.content.manifests.put("p/app", reference, payload, OCI_MANIFEST, at=at)
    return digest


def test_pushing_it_again_takes_no_signature_away(run: Run) -> None:
    async def check(lab: Lab) -> None:
        project = await lab.project()
        digest = await lab.image("p/app", "v1")
        authority, key = Authority.make(), ec.generate_private_key(ec.SECP256R1())
        # Like those of keyless signing: over when others look at it.
        certificate = authority.signer(key, days=-1)
        assert certificate.not_valid_after_utc < datetime.datetime.now(datetime.UTC)
        trust = lab.services.trust
        await trust.add_key(project, "authority", signing.certificate_pem(authority.certificate))
        payload = signing.simple_payload(digest)
        bundle = signing.bundle(key, digest, "https://sigstore.dev/cosign/sign/v1", certificate)
        for data in (payload, bundle, b"{}"):
            await lab.blob("p/app", data)
        layer = descriptor(payload, SIMPLE) | {
            "annotations": {
                "dev.cosignproject.cosign/signature": b64(signing.sign(key, payload)),
                "dev.sigstore.cosign/certificate": signing.certificate_pem(certificate),
            }
        }
        config = descriptor(b"{}", "application/vnd.oci.image.config.v1+json")
        empty = descriptor(b"{}", "application/vnd.oci.empty.v1+json")
        subject = {"mediaType": OCI_MANIFEST, "digest": digest, "size": 1}
        signatures = [
            ({"config": config, "layers": [layer]}, digest.replace(":", "-") + ".sig"),
            (
                {
                    "artifactType": BUNDLE,
                    "config": empty,
                    "layers": [descriptor(bundle, BUNDLE)],
                    "subject": subject,
                },
                None,
            ),
        ]
        # Two days ago the certificate was good; now it is not; and then somebody pushes the very same.
        for at in (time.time() - 2 * DAY, None, None):
            for document, tag in signatures:
                await accessory(lab, document, tag, at)
            found = await trust.verify("p/app", digest)
            assert [item.verdict.valid for item in found] == [True, True], found

    run(check)


def test_a_second_signature_takes_nothing_from_the_first(run: Run) -> None:
    """Two keyless signatures under one tag of cosign's scheme, each by a certificate of its own day."""

    async def check(lab: Lab) -> None:
        project = await lab.project()
        digest = await lab.image("p/app", "v1")
        authority, key = Authority.make(), ec.generate_private_key(ec.SECP256R1())
        trust = lab.services.trust
        await trust.add_key(project, "authority", signing.certificate_pem(authority.certificate))
        payload = signing.simple_payload(digest)
        for data in (payload, b"{}"):
            await lab.blob("p/app", data)

        def layer(days: int) -> dict[str, Any]:
            certificate = authority.signer(key, days=days)
            return descriptor(payload, SIMPLE) | {
                "annotations": {
                    "dev.cosignproject.cosign/signature": b64(signing.sign(key, payload)),
                    "dev.sigstore.cosign/certificate": signing.certificate_pem(certificate),
                }
            }

        config = descriptor(b"{}", "application/vnd.oci.image.config.v1+json")
        tag = digest.replace(":", "-") + ".sig"
        first, second, late = layer(-1), layer(1), layer(-1)
        await accessory(lab, {"config": config, "layers": [first]}, tag, time.time() - 2 * DAY)
        await accessory(lab, {"config": config, "layers": [first, second]}, tag, None)
        found = await trust.verify("p/app", digest)
        assert [item.verdict.valid for item in found] == [True, True], found
        # One whose certificate had ended before it came stays what it is.
        await accessory(lab, {"config": config, "layers": [late, first]}, tag, None)
        found = await trust.verify("p/app", digest)
        assert [item.verdict.valid for item in found] == [False, True], found
        # The tag is what says that the image is signed: without it no signature counts, though all are here.
        await lab.content.delete_manifest("p/app", tag)
        assert await trust.verify("p/app", digest) == []

    run(check)


def test_what_no_subject_keeps_is_new_when_it_is_pushed_again(run: Run) -> None:
    """Or collection would take what a client has just pushed, before the subject comes."""

    async def check(lab: Lab) -> None:
        await lab.project()
        empty = descriptor(b"{}", "application/vnd.oci.empty.v1+json")
        await lab.blob("p/app", b"{}")
        subject = {"mediaType": OCI_MANIFEST, "digest": digest_of(b"to come"), "size": 7}
        document = {"artifactType": BUNDLE, "config": empty, "layers": [empty], "subject": subject}
        pushed = []
        for at in (time.time() - 2 * DAY, None):
            digest = await accessory(lab, document, None, at)
            query = select(manifests.c.pushed_at).where(manifests.c.digest == digest)
            pushed.append(await lab.db.read(lambda c, query=query: c.execute(query).scalar_one()))  # type: ignore[misc]
        assert pushed[1] - pushed[0] > DAY

    run(check)
