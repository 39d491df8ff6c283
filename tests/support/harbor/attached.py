"""What the cases of Harbor's API tests attach to images."""

from __future__ import annotations

from cryptography.hazmat.primitives.asymmetric import ec

from tests.support import signing
from tests.support.harbor.caller import Caller

SIMPLE = "application/vnd.dev.cosign.simplesigning.v1+json"
SBOM = "application/vnd.dev.cosign.artifact.sbom.v1+json"


def cosigned(caller: Caller, repository: str, digest: str, *, referrer: bool = False) -> str:
    """Sign as cosign does, under its tag or (as later versions) by reference; the signature's digest."""
    key = ec.generate_private_key(ec.SECP256R1())
    payload = signing.simple_payload(digest)
    note = {"dev.cosignproject.cosign/signature": signing.b64(signing.sign(key, payload))}
    tag = None if referrer else digest.replace(":", "-") + ".sig"
    subject = digest if referrer else None
    pusher = caller.pusher(repository)
    kind = "application/vnd.dev.cosign.artifact.sig.v1+json" if referrer else None
    return pusher.accessory(subject, kind, (SIMPLE, payload), note, tag)


def sbom(caller: Caller, repository: str, digest: str) -> str:
    """Attach an SBOM by reference, as cosign's OCI 1.1 mode does; its digest."""
    return caller.pusher(repository).accessory(
        digest, SBOM, ("text/spdx+json", b'{"spdxVersion":"SPDX-2.3"}')
    )
