"""cosign 2 and 3 against one instance: signatures and attestations in each way that they can be attached."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import httpx
import pytest

from tests.support.foreign import PROGRAMS, build
from tests.support.oci.clients import Shell
from tests.support.oci.remote import Remote
from tests.support.setups import ADMIN, Setup

# (what signing takes, what verifying takes, whether the referrers API alone has it)
Way = tuple[str, str, bool]
EXPERIMENTAL = "COSIGN_EXPERIMENTAL"
WAYS: dict[str, dict[str, Way]] = {
    "cosign2": {
        "by tag": ("", "", False),
        "by referrers": ("--registry-referrers-mode=oci-1-1", "--experimental-oci11", True),
        # It wants to know of transparency logs and authorities, also where there is none.
        "as a bundle": ("--new-bundle-format", "--new-bundle-format --trusted-root=nobody.json", True),
    },
    "cosign3": {
        "by tag": (
            "--use-signing-config=false --new-bundle-format=false",
            "--new-bundle-format=false",
            False,
        ),
        "by referrers": (
            "--use-signing-config=false --new-bundle-format=false --registry-referrers-mode=oci-1-1",
            "--new-bundle-format=false --experimental-oci11",
            True,
        ),
        "as a bundle": ("--use-signing-config=false", "", True),
    },
}
PAIRS = [(client, way) for client, ways in WAYS.items() for way in ways]
# Neither cosign attaches attestations in this way: the flag is for signatures.
ATTESTED = [(client, way) for client, way in PAIRS if way != "by referrers"]


@dataclass
class Signer:
    """One cosign with a key pair, and an image in a private project that it can sign in one way."""

    client: str
    sign_flags: list[str]
    verify_flags: list[str]
    only_referrers: bool
    setup: Setup
    shell: Shell
    project: str
    image: str = ""
    digest: str = ""

    def __post_init__(self) -> None:
        self.remote = Remote(self.setup.url, ADMIN)
        made = self.remote.push_image(f"{self.project}/app", "v1")
        self.digest = made["digest"]
        self.image = f"{self.setup.host}/{self.project}/app@{self.digest}"
        self.shell.env["COSIGN_PASSWORD"] = "of-the-key"
        if self.only_referrers:
            self.shell.env[EXPERIMENTAL] = "1"
        self.shell(self.client, "login", self.setup.host, "-u", ADMIN[0], "-p", ADMIN[1])
        nobody = '{"mediaType": "application/vnd.dev.sigstore.trustedroot+json;version=0.1"}'
        (self.shell.home / "nobody.json").write_text(nobody)
        for name in ("own", "other"):
            self.shell(self.client, "generate-key-pair", "--output-key-prefix", name)

    def login_as_robot(self) -> None:
        """As a robot account that may read what it is to sign."""
        access = [("repository", "pull"), ("repository", "push"), ("accessory", "create")]
        body = {
            "name": "signer",
            "level": "project",
            "duration": -1,
            "permissions": [
                {
                    "kind": "project",
                    "namespace": self.project,
                    "access": [{"resource": resource, "action": action} for resource, action in access],
                }
            ],
        }
        made = httpx.post(f"{self.setup.url}/api/v2.0/robots", json=body, auth=ADMIN)
        assert made.status_code == 201, made.text
        robot = made.json()
        self.shell(self.client, "login", self.setup.host, "-u", robot["name"], "-p", robot["secret"])

    def sign(self, command: str = "sign", *more: str, image: str = "") -> None:
        flags = ["--key", "own.key", "--tlog-upload=false", "--allow-http-registry", "--yes"]
        self.shell(self.client, command, *flags, *self.sign_flags, *more, image or self.image)

    def verify(self, command: str = "verify", *more: str, key: str = "own.pub", image: str = "") -> list[str]:
        flags = ["--key", key, "--insecure-ignore-tlog", "--allow-http-registry"]
        return [self.client, command, *flags, *self.verify_flags, *more, image or self.image]

    def verified(self, command: str = "verify", *more: str, image: str = "") -> str:
        return self.shell(*self.verify(command, *more, image=image))

    def tags(self, repository: str = "app") -> set[str]:
        return set(self.remote.tags(f"{self.project}/{repository}"))


@pytest.fixture
def signer(
    request: pytest.FixtureRequest,
    single: Setup,
    shell: Shell,
    record_property: Callable[[str, object], None],
) -> Signer:
    client, way = request.param
    build(PROGRAMS[client])
    record_property("client", client)
    record_property("way", way)
    sign_flags, verify_flags, only_referrers = WAYS[client][way]
    return Signer(
        client, sign_flags.split(), verify_flags.split(), only_referrers, single, shell, single.project()
    )


def named(pair: tuple[str, str]) -> str:
    return " ".join(pair)


ways = pytest.mark.parametrize("signer", PAIRS, indirect=True, ids=named)
attested = pytest.mark.parametrize("signer", ATTESTED, indirect=True, ids=named)


@ways
def test_sign_and_verify(signer: Signer) -> None:
    signer.shell.failed(*signer.verify())
    signer.sign()
    assert signer.digest in signer.verified()
    signer.shell.failed(*signer.verify(key="other.pub"))
    # The way that was asked for, and no other.
    scheme = {f"{signer.digest.replace(':', '-')}.sig"}
    assert signer.tags() == {"v1"} | (set() if signer.only_referrers else scheme)
    [found] = signer.remote.referrers(f"{signer.project}/app", signer.digest)
    flags = ["--experimental-oci11"] if signer.only_referrers else []
    tree = signer.shell(signer.client, "tree", "--allow-http-registry", *flags, signer.image)
    assert (found in tree) if signer.only_referrers else (f"{signer.digest.replace(':', '-')}.sig" in tree)


@attested
def test_attest_and_verify(signer: Signer) -> None:
    (signer.shell.home / "predicate.json").write_text('{"built": "by a test"}')
    signer.sign("attest", "--predicate", "predicate.json", "--type", "custom")
    said = signer.verified("verify-attestation", "--type", "custom")
    assert "payload" in said
    signer.shell.failed(*signer.verify("verify-attestation", "--type", "slsaprovenance"))
    signer.shell.failed(*signer.verify("verify-attestation", "--type", "custom", key="other.pub"))


@ways
def test_content_trust(signer: Signer) -> None:
    """A project that asks for signatures refuses the image until a robot account has signed it."""
    policy = {"metadata": {"enable_content_trust_cosign": "true"}}
    url = f"{signer.setup.url}/api/v2.0/projects/{signer.project}"
    assert httpx.put(url, json=policy, auth=ADMIN).status_code == 200
    manifest = f"{signer.setup.url}/v2/{signer.project}/app/manifests/v1"
    accept = {"Accept": "application/vnd.oci.image.manifest.v1+json"}
    assert httpx.get(manifest, headers=accept, auth=ADMIN).status_code == 412
    signer.login_as_robot()
    signer.sign()
    assert httpx.get(manifest, headers=accept, auth=ADMIN).status_code == 200
    assert signer.digest in signer.verified()


@ways
def test_guest_is_refused(signer: Signer) -> None:
    """Refused in words, whichever request comes first."""
    user, password = signer.setup.member(signer.project, 3)
    signer.shell(signer.client, "login", signer.setup.host, "-u", user, "-p", password)
    said = signer.shell.refused(
        signer.client, "sign", "--key", "own.key", "--tlog-upload=false", "--allow-http-registry", "--yes",
        *signer.sign_flags, signer.image,
    )  # fmt: skip
    assert "push" in said
    assert signer.tags() == {"v1"}


@ways
def test_copy_takes_signatures_along(signer: Signer) -> None:
    signer.sign()
    there = f"{signer.setup.host}/{signer.project}/copy"
    signer.shell(signer.client, "copy", "--allow-http-registry", signer.image, f"{there}:v1")
    assert signer.remote.digest(f"{signer.project}/copy", "v1") == signer.digest
    copied = f"{there}@{signer.digest}"
    if signer.only_referrers:
        # cosign leaves what only the referrers API lists behind; Harbor's copy of an artifact does not.
        signer.shell.failed(*signer.verify(image=copied))
        source = f"{signer.project}/app@{signer.digest}"
        url = f"{signer.setup.url}/api/v2.0/projects/{signer.project}/repositories/copy/artifacts"
        made = httpx.post(url, params={"from": source}, auth=ADMIN)
        assert made.status_code == 201, made.text
    assert signer.digest in signer.verified(image=copied)


# Of a bundle, `cosign load` uploads the manifest without its layer, which CNCF Distribution refuses as well.
@pytest.mark.parametrize("signer", [pair for pair in PAIRS if pair[1] == "by tag"], indirect=True, ids=named)
def test_save_and_load(signer: Signer) -> None:
    """An image with its signature through a folder, as into a place without a network."""
    signer.sign()
    folder = signer.shell.home / "saved"
    signer.shell(signer.client, "save", "--allow-http-registry", "--dir", folder, signer.image)
    there = f"{signer.setup.host}/{signer.project}/loaded"
    signer.shell(signer.client, "load", "--allow-http-registry", "--dir", folder, f"{there}:v1")
    assert signer.digest in signer.verified(image=f"{there}@{signer.digest}")


@ways
def test_delete_image(signer: Signer) -> None:
    """A signature goes with its image: nothing is left in the repository."""
    signer.sign()
    assert signer.remote.referrers(f"{signer.project}/app", signer.digest)
    url = f"{signer.setup.url}/api/v2.0/projects/{signer.project}/repositories/app/artifacts/{signer.digest}"
    assert httpx.delete(url, auth=ADMIN).status_code == 200
    assert signer.remote.referrers(f"{signer.project}/app", signer.digest) == []
    assert signer.tags() == set()
    signer.shell.failed(*signer.verify())
