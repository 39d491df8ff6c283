"""cosign without keys: an authority (fulcio) certifies who signs, an issuer of tests says who that is.

There is no transparency log: signatures are checked offline, against the authority's own certificate.
"""

from __future__ import annotations

import json
import subprocess
from collections.abc import Callable, Iterator
from dataclasses import dataclass

import httpx
import pytest

from tests.support.foreign import PROGRAMS, build
from tests.support.oci.clients import Shell
from tests.support.oci.remote import Remote
from tests.support.processes import free_port
from tests.support.servers.issuer import Issuer, open_issuer
from tests.support.setups import ADMIN, Setup
from tests.support.waiting import until

IDENTITY = "builder@example.test"
CLASSIC = ["--new-bundle-format=false"]


@dataclass
class Authority:
    """A running fulcio and the issuer that it trusts."""

    url: str
    issuer: Issuer

    def token(self, email: str = IDENTITY) -> str:
        """What a build gets from its issuer."""
        return self.issuer.token(aud="sigstore", sub=email, email=email, email_verified=True)

    def certificates(self) -> str:
        """The authority's own, in PEM."""
        found = httpx.get(f"{self.url}/api/v2/trustBundle").json()
        return "".join(found["chains"][0]["certificates"])


@pytest.fixture(scope="module")
def authority(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Authority]:
    program = PROGRAMS["fulcio"]
    build(program)
    folder = tmp_path_factory.mktemp("fulcio")
    with open_issuer() as issuer:
        known = {"IssuerURL": issuer.url, "ClientID": "sigstore", "Type": "email"}
        (folder / "config.json").write_text(json.dumps({"OIDCIssuers": {issuer.url: known}}))
        port = free_port()
        command = [
            str(program.path), "serve", "--host=127.0.0.1", f"--port={port}", f"--grpc-port={free_port()}",
            "--ca=ephemeralca", "--ct-log-url=", f"--config-path={folder}/config.json",
            f"--metrics-port={free_port()}",
        ]  # fmt: skip
        with (folder / "log").open("ab") as log:
            process = subprocess.Popen(command, stdout=log, stderr=log)
        try:
            made = Authority(f"http://127.0.0.1:{port}", issuer)
            until(
                made.certificates,
                lambda: (folder / "log").read_text(),
                ignoring=(httpx.HTTPError, KeyError, ValueError),
            )
            yield made
        finally:
            process.terminate()
            process.wait()


@dataclass
class Signer:
    """One cosign, and an image in a private project."""

    client: str
    setup: Setup
    shell: Shell
    authority: Authority
    project: str

    def __post_init__(self) -> None:
        made = Remote(self.setup.url, ADMIN).push_image(f"{self.project}/app", "v1")
        self.image = f"{self.setup.host}/{self.project}/app@{made['digest']}"
        self.digest = made["digest"]
        self.shell(self.client, "login", self.setup.host, "-u", ADMIN[0], "-p", ADMIN[1])
        (self.shell.home / "authority.pem").write_text(self.authority.certificates())

    def sign(self, *more: str, email: str = IDENTITY) -> None:
        flags = [
            f"--fulcio-url={self.authority.url}", f"--identity-token={self.authority.token(email)}",
            "--tlog-upload=false", "--insecure-skip-verify", "--allow-http-registry", "--yes",
        ]  # fmt: skip
        self.shell(self.client, "sign", *flags, *more, self.image)

    def verify(self, *more: str, email: str = IDENTITY) -> list[str]:
        return [
            self.client, "verify", f"--certificate-identity={email}",
            f"--certificate-oidc-issuer={self.authority.issuer.url}", "--insecure-ignore-tlog",
            "--insecure-ignore-sct", "--allow-http-registry", *more, self.image,
        ]  # fmt: skip


@pytest.fixture(params=["cosign2", "cosign3"])
def signer(
    request: pytest.FixtureRequest,
    single: Setup,
    shell: Shell,
    authority: Authority,
    record_property: Callable[[str, object], None],
) -> Signer:
    build(PROGRAMS[request.param])
    record_property("client", request.param)
    return Signer(request.param, single, shell, authority, single.project())


def test_sign_without_a_key(signer: Signer, record_property: Callable[[str, object], None]) -> None:
    record_property("way", "by tag")
    more = ["--use-signing-config=false"] if signer.client == "cosign3" else []
    signer.sign(*CLASSIC, *more)
    roots = [*CLASSIC, "--ca-roots=authority.pem"]
    assert signer.digest in signer.shell(*signer.verify(*roots))
    signer.shell.failed(*signer.verify(*roots, email="another@example.test"))


def test_sign_without_a_key_as_a_bundle(
    signer: Signer, record_property: Callable[[str, object], None]
) -> None:
    """The bundle is a referrer, which the registry lists, and is checked with a file of trusted roots."""
    record_property("way", "as a bundle")
    signer.shell(
        "cosign3", "trusted-root", "create", "--out=roots.json",
        f"--fulcio=url={signer.authority.url},certificate-chain=authority.pem",
    )  # fmt: skip
    more = ["--use-signing-config=false"] if signer.client == "cosign3" else []
    signer.sign("--new-bundle-format", *more)
    roots = ["--new-bundle-format", "--trusted-root=roots.json"]
    assert signer.digest in signer.shell(*signer.verify(*roots))
    signer.shell.failed(*signer.verify(*roots, email="another@example.test"))
    assert len(Remote(signer.setup.url, ADMIN).referrers(f"{signer.project}/app", signer.digest)) == 1
