"""notation against one instance: signatures in both envelopes, found by the referrers API and by its tag."""

from __future__ import annotations

import json
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

# Where notation keeps the signatures that it makes: by the referrers API alone, or listed under a tag too,
# which is what it does when it is not told otherwise.
WAYS = {
    "as JWS": ("jws", "--force-referrers-tag=false"),
    "as COSE": ("cose", "--force-referrers-tag=false"),
    "listed by a tag": ("jws", "--force-referrers-tag=true"),
}


@dataclass
class Notary:
    """The command, signed in, with a key, and an image in a private project."""

    setup: Setup
    shell: Shell
    project: str
    way: str

    def __post_init__(self) -> None:
        self.remote = Remote(self.setup.url, ADMIN)
        self.digest = self.remote.push_image(f"{self.project}/app", "v1")["digest"]
        self.image = f"{self.setup.host}/{self.project}/app@{self.digest}"
        self.login(ADMIN)
        key = ec.generate_private_key(ec.SECP256R1())
        authority = Authority.make("charts")
        chain = "".join(certificate_pem(item) for item in (authority.signer(key), authority.certificate))
        pkcs8 = key.private_bytes(
            serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
        )
        home = self.shell.home
        self.folder = home / "config" / "notation"
        (self.folder / "truststore" / "x509" / "ca").mkdir(parents=True)
        (home / "key.pem").write_bytes(pkcs8)
        (home / "chain.pem").write_text(chain)
        named = {"name": "mine", "keyPath": str(home / "key.pem"), "certPath": str(home / "chain.pem")}
        (self.folder / "signingkeys.json").write_text(json.dumps({"default": "mine", "keys": [named]}))
        self._trust("mine", authority)
        self._trust("others", Authority.make("others"))
        self.believe("mine")

    def _trust(self, store: str, authority: Authority) -> None:
        folder = self.folder / "truststore" / "x509" / "ca" / store
        folder.mkdir()
        (folder / "root.pem").write_text(certificate_pem(authority.certificate))

    def believe(self, store: str) -> None:
        """Trust the authorities of this store alone."""
        policy = {
            "name": "all",
            "registryScopes": ["*"],
            "signatureVerification": {"level": "strict"},
            "trustStores": [f"ca:{store}"],
            "trustedIdentities": ["*"],
        }
        (self.folder / "trustpolicy.json").write_text(
            json.dumps({"version": "1.0", "trustPolicies": [policy]})
        )

    def login(self, user: tuple[str, str]) -> None:
        self.shell.env |= {"NOTATION_USERNAME": user[0], "NOTATION_PASSWORD": user[1]}

    def command(self, verb: str, *options: str) -> list[str]:
        return ["notation", verb, "--insecure-registry", *options, self.image]

    @property
    def signing(self) -> list[str]:
        envelope, where = WAYS[self.way]
        return self.command("sign", "--signature-format", envelope, where)

    @property
    def verifying(self) -> list[str]:
        return self.command("verify")

    @property
    def list_tag(self) -> list[str]:
        """The tag of the list of signatures, where there is one."""
        return [self.digest.replace(":", "-")] if self.way == "listed by a tag" else []


@pytest.fixture(params=list(WAYS))
def notary(
    request: pytest.FixtureRequest,
    single: Setup,
    shell: Shell,
    record_property: Callable[[str, object], None],
) -> Notary:
    build(PROGRAMS["notation"])
    record_property("client", "notation")
    record_property("way", request.param)
    return Notary(single, shell, single.project(), request.param)


def test_sign_verify_and_list(notary: Notary) -> None:
    notary.shell.failed(*notary.verifying)
    notary.shell(*notary.signing)
    notary.shell(*notary.signing)
    notary.shell(*notary.verifying)
    notary.believe("others")
    notary.shell.failed(*notary.verifying)
    found = notary.remote.referrers(f"{notary.project}/app", notary.digest)
    assert len(found) == 2
    listed = notary.shell(*notary.command("list"))
    assert all(digest in listed for digest in found), listed
    assert notary.remote.tags(f"{notary.project}/app") == [*notary.list_tag, "v1"]


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


def test_deleted_with_the_image(notary: Notary) -> None:
    """Harbor's deletion of an artifact takes the signatures along, and the list of them."""
    notary.shell(*notary.signing)
    artifacts = f"{notary.setup.url}/api/v2.0/projects/{notary.project}/repositories/app/artifacts"
    assert [item["digest"] for item in httpx.get(artifacts, auth=ADMIN).json()] == [notary.digest]
    assert httpx.delete(f"{artifacts}/{notary.digest}", auth=ADMIN).status_code == 200
    assert httpx.get(artifacts, auth=ADMIN).json() == []
    assert notary.remote.referrers(f"{notary.project}/app", notary.digest) == []


def test_guest_is_refused(notary: Notary) -> None:
    notary.login(notary.setup.member(notary.project, 3))
    assert "push" in notary.shell.refused(*notary.signing)
    assert notary.remote.referrers(f"{notary.project}/app", notary.digest) == []
