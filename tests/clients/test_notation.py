"""notation's library against one instance: signatures in both envelopes, found by the referrers API."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import httpx
import pytest
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import ec

from tests.support.foreign import PROGRAMS, build
from tests.support.oci.clients import Shell
from tests.support.oci.remote import Remote
from tests.support.setups import ADMIN, Setup
from tests.support.signing import Authority, certificate_pem


@dataclass
class Notary:
    """The program, signed in, with a key, and an image in a private project; `envelope` is jws or cose."""

    setup: Setup
    shell: Shell
    project: str
    envelope: str

    def __post_init__(self) -> None:
        self.remote = Remote(self.setup.url, ADMIN)
        self.digest = self.remote.push_image(f"{self.project}/app", "v1")["digest"]
        self.image = f"{self.setup.host}/{self.project}/app@{self.digest}"
        self.login(ADMIN)
        home, key = self.shell.home, ec.generate_private_key(ec.SECP256R1())
        authority = Authority.make("charts")
        chain = [authority.signer(key), authority.certificate]
        (home / "chain.pem").write_text("".join(certificate_pem(item) for item in chain))
        (home / "root.pem").write_text(certificate_pem(authority.certificate))
        (home / "other.pem").write_text(certificate_pem(Authority.make("others").certificate))
        pkcs8 = key.private_bytes(
            serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
        )
        (home / "key.pem").write_bytes(pkcs8)

    def login(self, user: tuple[str, str]) -> None:
        self.shell.env |= {"NOTATION_USERNAME": user[0], "NOTATION_PASSWORD": user[1]}

    @property
    def signing(self) -> list[str]:
        return ["notation", "sign", self.image, "key.pem", "chain.pem", self.envelope]

    def verifying(self, root: str = "root.pem") -> list[str]:
        return ["notation", "verify", self.image, root]


@pytest.fixture(params=["jws", "cose"])
def notary(
    request: pytest.FixtureRequest,
    single: Setup,
    shell: Shell,
    record_property: Callable[[str, object], None],
) -> Notary:
    build(PROGRAMS["notation"])
    record_property("client", "notation")
    record_property("way", f"as {str(request.param).upper()}")
    return Notary(single, shell, single.project(), request.param)


def test_sign_verify_and_list(notary: Notary) -> None:
    notary.shell.failed(*notary.verifying())
    notary.shell(*notary.signing)
    notary.shell(*notary.signing)
    notary.shell(*notary.verifying())
    notary.shell.failed(*notary.verifying("other.pem"))
    listed = notary.shell("notation", "list", notary.image).split()
    assert set(listed) == set(notary.remote.referrers(f"{notary.project}/app", notary.digest))
    assert len(listed) == 2
    assert notary.remote.tags(f"{notary.project}/app") == ["v1"]


def test_content_trust(notary: Notary) -> None:
    """A project that asks for signatures refuses the image until notation has signed it."""
    policy = {"metadata": {"enable_content_trust": "true"}}
    url = f"{notary.setup.url}/api/v2.0/projects/{notary.project}"
    assert httpx.put(url, json=policy, auth=ADMIN).status_code == 200
    manifest = f"{notary.setup.url}/v2/{notary.project}/app/manifests/v1"
    accept = {"Accept": "application/vnd.oci.image.manifest.v1+json"}
    assert httpx.get(manifest, headers=accept, auth=ADMIN).status_code == 412
    notary.shell(*notary.signing)
    assert httpx.get(manifest, headers=accept, auth=ADMIN).status_code == 200


def test_guest_is_refused(notary: Notary) -> None:
    notary.login(notary.setup.member(notary.project, 3))
    assert "push" in notary.shell.refused(*notary.signing)
    assert notary.remote.referrers(f"{notary.project}/app", notary.digest) == []
