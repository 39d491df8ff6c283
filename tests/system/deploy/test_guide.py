"""Scheme 3 of Harbor's high-availability guide, with the commands of docs/install/guide.md.

Three instances from a harbor.yml of several Harbors, on PostgreSQL with the guide's four databases, Redis and
shared storage, behind HAProxy with TLS; keys copied by hand; one instance killed; `prepare` run again.
"""

from __future__ import annotations

import shutil
import ssl
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import httpx
import pytest

from seawall.install import readiness
from tests.support.deploy.guided import PREPARE, Host, block, programs, skopeo
from tests.support.folders import open_folder
from tests.support.harbor import harbor_files
from tests.support.oci.layout import top_digest, write_layout
from tests.support.processes import PASSWORD, free_port
from tests.support.servers.balancers import BalancerServer
from tests.support.servers.certificates import Authority
from tests.support.servers.postgres import Postgres
from tests.support.servers.redis import RedisNode
from tests.support.waiting import until

pytestmark = pytest.mark.timeout(900)


class Shared(Host):
    """A host of the three."""

    def __init__(self, site: Site, name: str) -> None:
        super().__init__(site.root / name, site.environment, site.authority.certificate)
        self.site = site
        self.write(self.settings())

    def settings(self) -> dict[str, Any]:
        """What the reader has: every active key of the release's template, and what the guide fills in."""
        release = self.site.release
        content = harbor_files.template(release, self.root)
        whole = harbor_files.everything(release, self.root)
        content.pop("https", None)
        content |= {
            "hostname": "127.0.0.1",
            "http": {"port": self.port},
            "external_url": self.site.url,
            "harbor_admin_password": PASSWORD,
            "external_database": whole["external_database"],
            "external_redis": whole["external_redis"],
            "storage_service": {"filesystem": {"rootdirectory": str(self.site.root / "shared")}},
            "seawall": {"http": {"host": "127.0.0.1", "workers": 1, "trusted_proxies": ["127.0.0.1"]}},
        }
        content.pop("proxy", None)
        host, port = self.site.database
        content["external_database"]["harbor"] |= {
            "host": host, "port": port, "db_name": "registry", "username": "seawall", "password": "x",
            "ssl_mode": "disable",
        }  # fmt: skip
        redis = content["external_redis"]
        for key in ("sentinel_master_set", "username", "tlsOptions", "password"):
            redis.pop(key, None)
        # Up to 2.0 host and port are two keys.
        if "port" in redis:
            redis |= {"host": "127.0.0.1", "port": self.site.redis.port}
        else:
            redis["host"] = f"127.0.0.1:{self.site.redis.port}"
        log = content["log"]
        log.get("local", log)["location"] = str(self.root / "log")
        return content

    def located(self, script: str) -> str:
        return super().located(self.site.located(script))


class Site:
    """The three hosts, and what they share."""

    def __init__(self, root: Path, release: str, postgres: Postgres, redis: RedisNode) -> None:
        self.root = root
        self.release = release
        self.redis = redis
        ((host, port),) = readiness.database_hosts(postgres.database())
        self.database = (host, port)
        self.balancer_port = free_port()
        self.url = f"https://localhost:{self.balancer_port}"
        self.authority = Authority(root / "ca")
        certificate, key = self.authority.issue("localhost")
        (root / "registry.pem").write_text(certificate.read_text() + key.read_text())
        self.environment = programs(root, postgres.bin)
        self.hosts = {name: Shared(self, name) for name in "abc"}

    def located(self, block: str) -> str:
        """The block with this site's places instead of the page's."""
        block = block.replace("-h db.example.com -p 5432", f"-h {self.database[0]} -p {self.database[1]}")
        block = block.replace("/net/a.example.com/data", str(self.hosts["a"].data))
        block = block.replace("/etc/haproxy/registry.pem", str(self.root / "registry.pem"))
        block = block.replace("--bind :443", f"--bind 127.0.0.1:{self.balancer_port}")
        for name, host in self.hosts.items():
            block = block.replace(f"http://{name}.example.com:80", host.url)
        return block


@pytest.fixture(params=["1.10", "2.4", "2.8", "2.14"])
def site(request: pytest.FixtureRequest, postgres: Postgres) -> Iterator[Site]:
    redis = RedisNode()
    redis.start()
    try:
        with open_folder() as root:
            made = Site(root, request.param, postgres, redis)
            try:
                yield made
            finally:
                for host in made.hosts.values():
                    host.kill()
                server = f"-h {made.database[0]} -p {made.database[1]} -U seawall"
                for name in ("registry", "clair", "notary_server", "notary_signer"):
                    made.hosts["a"].run(f"dropdb --force --if-exists {server} {name}", check=False)
    finally:
        redis.close()


def test_scheme_3(site: Site, tmp_path: Path) -> None:
    a, b, c = site.hosts.values()
    a.run(block("createdb"))
    for host in (a, b, c):
        said = host.run(PREPARE)
        assert said.count("key made") == 5
        if site.release in ("1.10", "2.4", "2.8"):
            assert "external_database.notary_server: has no effect" in said
    for host in (b, c):
        said = host.run(block("cp -rp"))
        assert "key made" not in said
        assert (host.data / "secret/core/private_key.pem").read_bytes() == (
            a.data / "secret/core/private_key.pem"
        ).read_bytes()
    for host in (a, b, c):
        assert "everything is ready to start" in host.run(block("--check"))
        host.start()
    for host in (a, b, c):
        host.wait_ready()
    a.run(block("lb-config", without="--sticky"))
    balancer = BalancerServer("haproxy", site.balancer_port)
    try:
        balancer.start((a.harbor / "haproxy.cfg").read_text())
        use(site, balancer, tmp_path)
    finally:
        balancer.close()


def use(site: Site, balancer: BalancerServer, tmp_path: Path) -> None:
    """The check, a push and pulls by TLS, a lost instance, and `prepare` again."""
    a, b, c = site.hosts.values()
    context = ssl.create_default_context(cafile=str(site.authority.certificate))
    with httpx.Client(verify=context, base_url=site.url) as client:
        until(lambda: client.get("/readyz").status_code == 200)
    assert "no faults" in b.run(block("ha check"))
    # The balancer's authority, from each instance.
    for host in (a, b, c):
        offered = httpx.get(f"{host.url}/api/v2.0/systeminfo/getcert").content
        assert offered == site.authority.certificate.read_bytes()
    trusted = tmp_path / "certs"
    trusted.mkdir()
    shutil.copy(site.authority.certificate, trusted / "ca.crt")
    layout = write_layout(tmp_path / "image")
    name = f"docker://localhost:{site.balancer_port}/library/app"
    creds = f"admin:{PASSWORD}"
    skopeo("copy", "-q", f"--dest-cert-dir={trusted}", f"--dest-creds={creds}", layout.source, f"{name}:1")
    a.kill()
    for number in range(4):
        target = tmp_path / f"pulled-{number}"
        skopeo("copy", "-q", "--retry-times=3", f"--src-cert-dir={trusted}", f"{name}:1", f"oci:{target}:1")
        assert top_digest(target) == layout.digest
    skopeo(
        "copy", "-q", "--retry-times=3", f"--dest-cert-dir={trusted}", f"--dest-creds={creds}",
        layout.source, f"{name}:2",
    )  # fmt: skip
    said = a.run(PREPARE)
    assert said.count("key kept") == 5
    assert "written:" not in said
    a.start()
    a.wait_ready()
    target = tmp_path / "after"
    skopeo(
        "copy", "-q", "--src-tls-verify=false", f"docker://127.0.0.1:{a.port}/library/app:2",
        f"oci:{target}:1",
    )  # fmt: skip
    assert top_digest(target) == layout.digest
