"""Schemes 1 and 2 of Harbor's guide: the rendered chart's pods as processes, with equal keys by the values.

Scheme 1 is one release with two core pods; scheme 2 two releases, each with database and storage of its own,
from `values-dc-a.yaml` and `values-dc-b.yaml`.
"""

from __future__ import annotations

import base64
import contextlib
import secrets as random
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import httpx
import pytest
import yaml
from cryptography import x509
from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import padding, rsa
from sqlalchemy.engine import make_url

from tests.support.deploy.helm import CHART, Helm
from tests.support.deploy.pods import Documents, Pod, Secrets
from tests.support.processes import PASSWORD, SEAWALL, clean_environment, free_port
from tests.support.servers.postgres import Postgres
from tests.support.servers.redis import RedisNode
from tests.support.sites import push
from tests.support.waiting import until

pytestmark = pytest.mark.timeout(900)
ADMIN = ("admin", PASSWORD)
# Each pod is reached by its own address here, so that is what it tells clients.
NAMES = {"https://registry.example.com": "{pod}"}
XSRF = "0123456789abcdef0123456789abcdef"
SECRET = "not-a-secure-key"


@pytest.fixture(scope="module")
def redis() -> Iterator[RedisNode]:
    node = RedisNode()
    node.start()
    try:
        yield node
    finally:
        node.close()


@pytest.fixture(scope="module")
def operators(tmp_path_factory: pytest.TempPathFactory) -> Secrets:
    """The secrets that docs/install tell to make, the same in each cluster."""
    folder = tmp_path_factory.mktemp("token")
    subprocess.run(
        ["openssl", "req", "-x509", "-newkey", "rsa:2048", "-nodes", "-days", "3650", "-subj", "/CN=seawall",
         "-keyout", "token.key", "-out", "token.crt"],
        check=True, capture_output=True, cwd=folder,
    )  # fmt: skip
    return {
        "seawall-token": {
            "tls.key": (folder / "token.key").read_text(),
            "tls.crt": (folder / "token.crt").read_text(),
        },
        "seawall-master": {"masterKey": base64.b64encode(random.token_bytes(32)).decode()},
        "seawall-secret": {"secretKey": SECRET},
        "seawall-admin": {"HARBOR_ADMIN_PASSWORD": PASSWORD},
        "seawall-database": {"password": "x"},
        "seawall-redis": {"REDIS_PASSWORD": ""},
        "company-ca": {"ca.crt": (folder / "token.crt").read_text()},
    }


def services(postgres: Postgres, redis: RedisNode) -> list[str]:
    """Values: a database of its own, Redis, and a volume that all pods share."""
    url = make_url(postgres.database())
    values = {
        "database.type": "external",
        "database.external.host": url.host,
        "database.external.port": url.port,
        "database.external.username": url.username,
        "database.external.coreDatabase": url.database,
        "database.external.sslmode": "disable",
        "redis.type": "external",
        "redis.external.addr": f"127.0.0.1:{redis.port}",
        "persistence.imageChartStorage.type": "filesystem",
        "persistence.persistentVolumeClaim.registry.accessMode": "ReadWriteMany",
        "core.workers": 1,
    }
    return [word for key, value in values.items() for word in ("--set", f"{key}={value}")]


def render(helm: Helm, *words: str) -> Documents:
    return [document for document in yaml.safe_load_all(helm.template(*words)) if document]


def token(pod: Pod, repository: str) -> str:
    scope = {"service": "seawall", "scope": f"repository:{repository}:pull"}
    answer = httpx.get(f"{pod.url}/service/token", params=scope, auth=ADMIN, timeout=60)
    return str(answer.raise_for_status().json()["token"])


def tags(pod: Pod, bearer: str) -> Any:
    headers = {"Authorization": f"Bearer {bearer}"}
    answer = httpx.get(f"{pod.url}/v2/library/app/tags/list", headers=headers, timeout=60)
    return answer.json().get("tags") if answer.status_code == 200 else answer.text


def signed_by(bearer: str, certificate: str) -> bool:
    """Whether the key of `core.secretName` made the token."""
    signed, _, signature = bearer.rpartition(".")
    key = x509.load_pem_x509_certificate(certificate.encode()).public_key()
    assert isinstance(key, rsa.RSAPublicKey)
    try:
        key.verify(
            base64.urlsafe_b64decode(signature + "=="), signed.encode(), padding.PKCS1v15(), hashes.SHA256()
        )
    except InvalidSignature:
        return False
    return True


def sign_in(pod: Pod) -> httpx.Client:
    """A browser's session at a pod, with its CSRF token."""
    header = "X-Harbor-CSRF-Token"
    client = httpx.Client(timeout=60)
    token = client.get(f"{pod.url}/api/v2.0/systeminfo").headers[header]
    form = {"principal": ADMIN[0], "password": ADMIN[1]}
    client.post(f"{pod.url}/c/login", data=form, headers={header: token}).raise_for_status()
    client.headers[header] = (
        client.get(f"{pod.url}/api/v2.0/users/current").raise_for_status().headers[header]
    )
    return client


def test_scheme_1(
    helm: Helm, postgres: Postgres, redis: RedisNode, operators: Secrets, tmp_path: Path
) -> None:
    """Two replicas and a job service: what one has signed, another takes, and one is enough.

    The job service says that it lives, and what `helm test` runs passes.
    """
    given = {
        "core.replicas": 2, "secretKey": SECRET, "core.xsrfKey": XSRF, "core.secretName": "seawall-token",
        "existingSecretMasterKey": "seawall-master", "harborAdminPassword": PASSWORD,
        "database.external.password": "x",
    }  # fmt: skip
    words = [word for key, value in given.items() for word in ("--set", f"{key}={value}")]
    documents = render(helm, *services(postgres, redis), *words)
    pods = [
        Pod(documents, component, tmp_path / f"{component}-{number}", secrets=operators,
            claim=tmp_path / "volume", hosts=NAMES)
        for component, number in (("core", 0), ("core", 1), ("jobservice", 0))
    ]  # fmt: skip
    try:
        for pod in pods:
            pod.start()
        one, other, jobs = pods
        one.wait_ready()
        other.wait_ready()
        push(one.url, ADMIN, "library/app", "1", b"a layer")
        bearer = token(one, "library/app")
        assert signed_by(bearer, operators["seawall-token"]["tls.crt"])
        assert tags(other, bearer) == ["1"]
        # A session and its CSRF token of one are good at the other.
        with contextlib.closing(sign_in(one)) as client:
            made = client.post(f"{other.url}/api/v2.0/projects", json={"project_name": "made-there"})
            assert made.status_code == 201, made.text
        # Background work is done by the pod of the job service.
        runner = until(
            lambda: httpx.get(f"{one.url}/api/v2.0/jobservice/pools", auth=ADMIN, timeout=60).json()
        )
        assert len(runner) == 1
        health = f"http://127.0.0.1:{jobs.health}"
        until(
            lambda: httpx.get(f"{health}/readyz", timeout=30).status_code == 200,
            jobs.log,
            ignoring=(httpx.HTTPError,),
        )
        assert httpx.get(f"{health}/healthz", timeout=30).status_code == 200
        assert "seawall_jobs_slots 10.0" in httpx.get(f"{health}/metrics", timeout=30).text
        # What the hook of an upgrade runs, and what `helm test` does.
        migrated = one.command("migrate")
        assert migrated.returncode == 0, migrated.stderr
        tried = subprocess.run(
            [sys.executable, CHART / "files" / "push_and_pull.py"],
            env=clean_environment(SEAWALL_TEST_URL=other.url, SEAWALL_TEST_PASSWORD=PASSWORD),
            capture_output=True, text=True, timeout=240, check=False,
        )  # fmt: skip
        assert tried.stdout.startswith("pushed, pulled and deleted library/helm-test@sha256:"), tried.stderr
        one.kill()
        push(other.url, ADMIN, "library/app", "2", b"another layer")
        assert sorted(tags(other, bearer)) == ["1", "2"]
    finally:
        for pod in pods:
            pod.kill()


def test_scheme_2(
    helm: Helm, postgres: Postgres, redis: RedisNode, operators: Secrets, tmp_path: Path
) -> None:
    """Two data centers: the standby follows, takes the active's tokens, and is promoted when that is lost."""
    witness_port = free_port()
    pods: list[Pod] = []
    hosts = NAMES | {"https://witness.example.com:8090": f"http://127.0.0.1:{witness_port}"}
    for center in "ab":
        folder = tmp_path / center
        words = ["-f", str(CHART.parent / f"values-dc-{center}.yaml"), *services(postgres, redis)]
        words += ["--set", f"core.xsrfKey={XSRF}"]
        words += ["--set", "redis.external.existingSecret="]
        words += ["--set", f"redis.external.coreDatabaseIndex={'ab'.index(center)}"]
        documents = render(helm, *words)
        pods.append(
            Pod(documents, "core", folder / "core", secrets=operators, claim=folder / "volume", hosts=hosts)
        )
    a, b = pods
    # What a center's ingress would be; known only once both have a port.
    for pod, name, peer in ((a, "b", b), (b, "a", a)):
        pod.relocate(f"https://{name}.example.com", peer.url)
    witness = subprocess.Popen(
        [*SEAWALL, "dr", "witness", "--port", str(witness_port), "--data-dir", str(tmp_path / "witness")],
        env=clean_environment(SEAWALL_MASTER_KEY=operators["seawall-master"]["masterKey"]),
        cwd=tmp_path,
    )
    try:
        a.start()
        a.wait_ready()
        push(a.url, ADMIN, "library/app", "1", b"a layer")
        b.start()
        b.wait_ready()
        bearer = token(a, "library/app")
        assert signed_by(bearer, operators["seawall-token"]["tls.crt"])
        until(lambda: tags(b, bearer) == ["1"], b.log)
        assert httpx.get(f"{a.url}/readyz?writes=1", timeout=30).status_code == 200
        assert httpx.get(f"{b.url}/readyz?writes=1", timeout=30).status_code == 503
        a.kill()
        promoted = b.command("dr", "promote")
        assert promoted.returncode == 0, promoted.stdout + promoted.stderr
        until(lambda: httpx.get(f"{b.url}/readyz?writes=1", timeout=30).status_code == 200, b.log)
        # A token of the lost center goes on working, and pushes go to the other.
        assert tags(b, bearer) == ["1"]
        push(b.url, ADMIN, "library/app", "2", b"another layer")
        assert sorted(tags(b, bearer)) == ["1", "2"]
    finally:
        for pod in pods:
            pod.kill()
        witness.kill()
        witness.wait()
