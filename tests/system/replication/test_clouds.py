"""How registries of the clouds are logged in to: against AWS's own signer, moto's ECR and docker-registry.

moto is an implementation of AWS's API that checks signatures; docker-registry checks Basic credentials, a
Seawall tokens.
"""

from __future__ import annotations

import asyncio
import contextlib
import json
import os
import secrets
import subprocess
import sys
import time
from collections.abc import AsyncIterator, Callable, Iterator
from pathlib import Path
from typing import Any

import bcrypt
import boto3
import httpx
import pytest
from botocore.auth import SigV4Auth
from botocore.awsrequest import AWSRequest
from botocore.config import Config
from botocore.credentials import Credentials
from hypothesis import given
from hypothesis import strategies as st

from seawall.features.replication.adapter import Adapter, RemoteRegistry
from seawall.features.replication.adapters import ADAPTERS, open_adapter
from seawall.features.replication.clouds import EcrAdapter
from seawall.features.replication.remote import RemoteError
from seawall.kernel.sigv4 import sign_v4
from tests.support.digests import digest_of
from tests.support.oci.remote import CONFIG, LAYER, MANIFEST
from tests.support.processes import PASSWORD, free_port
from tests.support.registry import Registry as Server
from tests.support.servers.docker_registry import DockerRegistry

REGION = "eu-west-1"
ACCOUNT = "123456789012"
SECRETS = st.text(st.characters(min_codepoint=33, max_codepoint=126), min_size=1, max_size=60)


@given(
    key=st.from_regex(r"[A-Z0-9]{16,20}", fullmatch=True),
    secret=SECRETS,
    payload=st.binary(max_size=200),
    region=st.sampled_from(["eu-west-1", "us-gov-east-1", "cn-north-1"]),
    target=st.from_regex(r"[A-Za-z_0-9.]{1,40}( {1,3}[a-z]{1,5})?", fullmatch=True),
    moment=st.datetimes(),
)
def test_signatures_are_those_of_botocore(
    key: str, secret: str, payload: bytes, region: str, target: str, moment: Any
) -> None:
    stamp = f"{moment.year:04d}{moment:%m%dT%H%M%SZ}"
    headers = {
        "content-type": "application/x-amz-json-1.1",
        "host": f"api.ecr.{region}.amazonaws.com",
        "x-amz-date": stamp,
        "x-amz-target": target,
    }
    ours = sign_v4("POST", "/", "", headers, payload, region, "ecr", key, secret)
    request = AWSRequest("POST", f"https://{headers['host']}/", headers=dict(headers), data=payload)
    request.context["timestamp"] = stamp
    signer = SigV4Auth(Credentials(key, secret), "ecr", region)
    text = signer.string_to_sign(request, signer.canonical_request(request))
    assert ours.endswith(f"Signature={signer.signature(text, request)}")
    assert f"Credential={key}/{stamp[:8]}/{region}/ecr/aws4_request" in ours


@pytest.fixture(scope="module")
def aws(tmp_path_factory: pytest.TempPathFactory) -> Iterator[dict[str, str]]:
    """A moto server that checks signatures: its url, and a user's access key `key` and `secret`."""
    port = free_port()
    log = tmp_path_factory.mktemp("moto") / "log"
    with log.open("wb") as output:
        process = subprocess.Popen(
            ["setpriv", "--pdeathsig", "TERM", sys.executable, "-m", "moto.server", "-p", str(port)],
            # Making the user takes three calls; from then on every call must be signed.
            env={**os.environ, "INITIAL_NO_AUTH_ACTION_COUNT": "3"},
            stdout=output,
            stderr=output,
        )
    url = f"http://127.0.0.1:{port}"
    try:
        deadline = time.monotonic() + 60
        while True:
            with contextlib.suppress(httpx.HTTPError):
                httpx.get(f"{url}/moto-api/data.json")
                break
            assert process.poll() is None, log.read_text()
            assert time.monotonic() < deadline, log.read_text()
            time.sleep(0.1)
        iam = boto3.client(
            "iam",
            endpoint_url=url,
            region_name=REGION,
            aws_access_key_id="x",
            aws_secret_access_key="x",
            config=Config(retries={"total_max_attempts": 1}, proxies={}),
        )
        iam.create_user(UserName="seawall")
        allow = {"Effect": "Allow", "Action": "ecr:*", "Resource": "*"}
        policy = json.dumps({"Version": "2012-10-17", "Statement": [allow]})
        iam.put_user_policy(UserName="seawall", PolicyName="ecr", PolicyDocument=policy)
        made = iam.create_access_key(UserName="seawall")["AccessKey"]
        yield {"url": url, "key": made["AccessKeyId"], "secret": made["SecretAccessKey"]}
    finally:
        process.terminate()
        process.wait(20)


@contextlib.contextmanager
def _with_password(root: Path, name: str, password: str) -> Iterator[DockerRegistry]:
    """A docker-registry that asks for one name and password."""
    hashed = bcrypt.hashpw(password.encode()[:72], bcrypt.gensalt(4)).decode()
    (root / "htpasswd").write_text(f"{name}:{hashed}\n")
    server = DockerRegistry(root)
    config = root / "config.yml"
    config.write_text(f"{config.read_text()}auth:\n  htpasswd:\n    realm: test\n    path: {root}/htpasswd\n")
    server.start(expect=401)
    try:
        yield server
    finally:
        server.stop()


async def _exchange(adapter: Adapter, repository: str) -> None:
    """Push an image to a registry and take it back, with nothing but its adapter."""

    layer, config = secrets.token_bytes(500), b'{"architecture": "amd64", "os": "linux"}'

    async def put(data: bytes) -> None:
        async def source(_offset: int) -> AsyncIterator[bytes]:
            yield data

        await adapter.client.put_blob(repository, digest_of(data), len(data), source)

    try:
        await adapter.ping()
        await adapter.prepare(repository)
        await put(layer)
        await put(config)
        document = {
            "schemaVersion": 2,
            "mediaType": MANIFEST,
            "config": {"mediaType": CONFIG, "digest": digest_of(config), "size": len(config)},
            "layers": [{"mediaType": LAYER, "digest": digest_of(layer), "size": len(layer)}],
        }
        payload = json.dumps(document).encode()
        await adapter.client.put_manifest(repository, "v1", MANIFEST, payload)
        found = await adapter.client.manifest(repository, "v1")
        assert found is not None
        assert found.payload == payload
        got = b"".join([part async for part in adapter.client.blob(repository, digest_of(layer))])
        assert got == layer
        assert await adapter.client.tags(repository) == ["v1"]
    finally:
        await adapter.close()


def _run(work: Callable[[], Any]) -> Any:
    return asyncio.run(asyncio.wait_for(work(), 60))


def test_ecr_from_access_key_to_image(
    aws: dict[str, str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The access key is exchanged at moto, the repository made there, and the password that came is used at
    a docker-registry which answers, as the HTTP proxy, for the registry's host name.
    """
    monkeypatch.setenv("AWS_ENDPOINT_URL_ECR", aws["url"])
    name, password = "AWS", f"{ACCOUNT}-auth-token"
    with _with_password(tmp_path, name, password) as server:
        monkeypatch.setenv("http_proxy", server.url)
        monkeypatch.setenv("no_proxy", "127.0.0.1")
        url = f"http://{ACCOUNT}.dkr.ecr.{REGION}.amazonaws.com"

        async def push() -> None:
            adapter = open_adapter(RemoteRegistry(1, "ecr", "aws-ecr", url, aws["key"], aws["secret"]))
            assert isinstance(adapter, EcrAdapter)
            await _exchange(adapter, "team/app")

        _run(push)
        # The repository is at moto, and making it once more is no fault.
        ecr = boto3.client(
            "ecr",
            endpoint_url=aws["url"],
            region_name=REGION,
            aws_access_key_id=aws["key"],
            aws_secret_access_key=aws["secret"],
            config=Config(proxies={}),
        )
        assert [item["repositoryName"] for item in ecr.describe_repositories()["repositories"]] == [
            "team/app"
        ]
        _run(push)


def test_ecr_refuses_a_wrong_secret(aws: dict[str, str], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("AWS_ENDPOINT_URL_ECR", aws["url"])

    async def login() -> None:
        url = f"https://{ACCOUNT}.dkr.ecr.{REGION}.amazonaws.com"
        adapter = open_adapter(RemoteRegistry(1, "ecr", "aws-ecr", url, aws["key"], "wrong"))
        try:
            with pytest.raises(RemoteError, match="GetAuthorizationToken"):
                await adapter.ping()
        finally:
            await adapter.close()

    _run(login)


@pytest.mark.parametrize(
    ("kind", "name", "secret"),
    [
        ("google-gcr", "_json_key", '{"type": "service_account", "private_key": "-----BEGIN\\nx:y\\n"}'),
        ("azure-acr", "00000000-0000-0000-0000-000000000000", "client~secret.of_a-principal"),
        ("github-ghcr", "octocat", "ghp_0123456789"),
        ("quay", "team+robot", "ABCDEF0123456789"),
        ("gitlab", "deploy-token-1", "gldt-x"),
        ("jfrog-artifactory", "someone@example.org", "cmVmdGtuOjAx"),
        ("ali-acr", "name@1234567890", "pässword"),
        ("huawei-SWR", "cn-north-1@AK", "0123456789abcdef"),
        ("tencent-tcr", "100000000001", "eyJhbGciOi"),
        ("docker-hub", "user", "dckr_pat_x"),
    ],
)
def test_a_name_and_secret_in_basic_form(tmp_path: Path, kind: str, name: str, secret: str) -> None:
    """The form each cloud documents goes to a docker-registry as it is, which knows just that."""
    assert kind in ADAPTERS
    with _with_password(tmp_path, name, secret) as server:

        async def push() -> None:
            await _exchange(open_adapter(RemoteRegistry(1, kind, kind, server.url, name, secret)), "team/app")
            wrong = open_adapter(RemoteRegistry(1, kind, kind, server.url, name, "x" + secret))
            try:
                with pytest.raises(RemoteError) as refused:
                    await wrong.ping()
                assert refused.value.status == 401
            finally:
                await wrong.close()

        _run(push)


@pytest.mark.parametrize("kind", ["docker-hub", "azure-acr", "github-ghcr", "gitlab", "quay", "ali-acr"])
def test_a_name_and_secret_exchanged_at_a_token_server(second: Server, kind: str) -> None:
    """The registry names its token server (Bearer realm), as these clouds do; both are a Seawall here."""
    project = "t" + secrets.token_hex(4)
    second.create_project(project)
    # Somebody else each time: wrong passwords of one name are soon refused unseen.
    user = (f"{project}-pusher", PASSWORD)
    second.create_user(*user)
    second.add_member(project, user[0], "developer")

    async def push() -> None:
        await _exchange(open_adapter(RemoteRegistry(1, kind, kind, second.url, *user)), f"{project}/app")
        wrong = open_adapter(RemoteRegistry(1, kind, kind, second.url, user[0], "wrong"))
        try:
            with pytest.raises(RemoteError) as refused:
                await wrong.ping()
            assert refused.value.status == 401
        finally:
            await wrong.close()

    _run(push)
