"""Scheme 4 of Harbor's high-availability guide, with the commands of docs/install/guide.md.

Two hosts, each with its own database and storage, behind one HAProxy: first as they are, then with policies
in both directions, then as peers.
"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import httpx
import pytest
import yaml

from tests.support.deploy.docs import Page
from tests.support.deploy.guided import PREPARE, Host, block, programs, skopeo
from tests.support.folders import open_folder
from tests.support.oci.layout import top_digest, write_layout
from tests.support.processes import PASSWORD, free_port
from tests.support.servers.balancers import BalancerServer
from tests.support.servers.certificates import Authority
from tests.support.waiting import until

pytestmark = pytest.mark.timeout(900)
ADMIN = ("admin", PASSWORD)
OTHER_KEY = "the token was signed by a key that this registry does not know"


class Site:
    """The two hosts and their balancer, which is started by the test."""

    def __init__(self, root: Path) -> None:
        self.root = root
        self.balancer_port = free_port()
        self.url = f"https://localhost:{self.balancer_port}"
        self.authority = Authority(root / "ca")
        certificate, key = self.authority.issue("localhost")
        (root / "registry.pem").write_text(certificate.read_text() + key.read_text())
        environment = programs(root)
        self.hosts = {name: Host(root / name, environment, self.authority.certificate) for name in "ab"}
        for host in self.hosts.values():
            host.write(self.settings(host))
        self.balancer = BalancerServer("haproxy", self.balancer_port)

    def settings(self, host: Host) -> dict[str, Any]:
        return {
            "hostname": "127.0.0.1",
            "http": {"port": host.port},
            "external_url": self.url,
            "harbor_admin_password": PASSWORD,
            "data_volume": str(host.data),
            "log": {"local": {"location": str(host.root / "log")}},
            "_version": "2.14.0",
            "seawall": {"http": {"host": "127.0.0.1", "workers": 1, "trusted_proxies": ["127.0.0.1"]}},
        }

    def located(self, script: str) -> str:
        """The block with this site's places instead of the page's."""
        script = script.replace("/net/a.example.com/data", str(self.hosts["a"].data))
        script = script.replace("/etc/haproxy/registry.pem", str(self.root / "registry.pem"))
        script = script.replace("--bind :443", f"--bind 127.0.0.1:{self.balancer_port}")
        for name, host in self.hosts.items():
            script = script.replace(f"http://{name}.example.com:80", host.url)
        return script

    def balance(self, script: str) -> None:
        """Run the page's command on host a, and the balancer with what it printed."""
        self.hosts["a"].run(self.located(script))
        self.balancer.close()
        self.balancer = BalancerServer("haproxy", self.balancer_port)
        self.balancer.start((self.hosts["a"].harbor / "haproxy.cfg").read_text())
        until(
            lambda: httpx.get(f"{self.url}/readyz", verify=False, timeout=10).status_code == 200,
            ignoring=(httpx.HTTPError,),
        )

    def start(self) -> None:
        for host in self.hosts.values():
            host.start()
        for host in self.hosts.values():
            host.wait_ready()


@pytest.fixture(scope="module")
def site() -> Iterator[Site]:
    with open_folder() as root:
        made = Site(root)
        try:
            yield made
        finally:
            made.balancer.close()
            for host in made.hosts.values():
                host.kill()


def api(host: Host, method: str, path: str, **more: Any) -> httpx.Response:
    return httpx.request(method, f"{host.url}/api/v2.0{path}", auth=ADMIN, timeout=60, **more)


def names(host: Host, what: str, key: str) -> set[str]:
    return {item[key] for item in api(host, "GET", f"/{what}?page_size=100").raise_for_status().json()}


def pulled(host: Host, tag: str) -> str | None:
    """The digest of a tag of library/app on a host; None when it is not there."""
    answer = api(host, "GET", f"/projects/library/repositories/app/artifacts/{tag}")
    return str(answer.json()["digest"]) if answer.status_code == 200 else None


def copying(host: Host) -> bool:
    """Whether an execution of a replication policy is under way."""
    found = api(host, "GET", "/replication/executions?page_size=100").raise_for_status().json()
    return any(item["status"] == "InProgress" for item in found)


def token(host: Host) -> str:
    scope = {"service": "seawall", "scope": "repository:library/app:pull"}
    answer = httpx.get(f"{host.url}/service/token", params=scope, auth=ADMIN, timeout=60)
    return str(answer.raise_for_status().json()["token"])


def asked(host: Host, bearer: str) -> httpx.Response:
    return httpx.get(
        f"{host.url}/v2/library/app/tags/list", headers={"Authorization": f"Bearer {bearer}"}, timeout=60
    )


def test_scheme_4(site: Site, tmp_path: Path) -> None:
    a, b = site.hosts.values()
    for host in (a, b):
        assert host.run(PREPARE).count("key made") == 5
        host.run(block("--check"))
    site.start()
    apart(site, a, b)
    policies(site, a, b, tmp_path)
    peers(site, a, b)


def apart(site: Site, a: Host, b: Host) -> None:
    """Before any replication: two registries, which say so."""
    sticky = block("--sticky")
    site.balance(sticky.replace(" --sticky", ""))
    refused = asked(b, token(a))
    assert refused.status_code == 401
    assert refused.json()["errors"][0]["message"] == OTHER_KEY
    assert OTHER_KEY in "".join(
        file.read_text() for file in b.root.rglob("*") if file.suffix in (".out", ".log")
    )
    for host in (a, b):
        said = until(
            lambda host=host: (
                said  # type: ignore[misc]
                if "these are two clusters" in (said := host.run(block("ha check"), check=False))
                else None
            )
        )
        assert "peers.urls" in said
        assert "balance source" in said
    # What is made by one request is not there for the next one.
    assert api(a, "POST", "/projects", json={"project_name": "early"}).status_code == 201
    assert "early" not in names(b, "projects", "name")
    site.balance(sticky)


def policies(site: Site, a: Host, b: Host, tmp_path: Path) -> None:
    """Policies in both directions: what is equal, what is late, what is neither."""
    a.run(site.located(block("replicate()")))
    layout = write_layout(tmp_path / "image")
    certificates = tmp_path / "certs"
    certificates.mkdir()
    (certificates / "ca.crt").write_bytes(site.authority.certificate.read_bytes())
    creds = f"admin:{PASSWORD}"
    image = f"docker://localhost:{site.balancer_port}/library/app"
    skopeo(
        "copy", "-q", f"--dest-cert-dir={certificates}", f"--dest-creds={creds}", layout.source, f"{image}:1"
    )
    for host in (a, b):
        until(lambda host=host: pulled(host, "1") == layout.digest)  # type: ignore[misc]
    # In the other direction too, whichever host the balancer had chosen.
    for number, (here, there) in enumerate(((a, b), (b, a))):
        tag = f"from-{number}"
        target = f"docker://127.0.0.1:{here.port}/library/app:{tag}"
        skopeo("copy", "-q", "--dest-tls-verify=false", f"--dest-creds={creds}", layout.source, target)
        until(lambda there=there, tag=tag: pulled(there, tag) == layout.digest)  # type: ignore[misc]
    # Deletions follow.
    path = "/projects/library/repositories/app/artifacts/from-0/tags/from-0"
    assert api(b, "DELETE", path).status_code == 200
    until(lambda: pulled(a, "from-0") is None)
    assert pulled(b, "1") == pulled(a, "1") == layout.digest
    # Users and what they may do are of each host by itself.
    user = {"username": "alice", "password": PASSWORD, "email": "a@example.com", "realname": "Alice"}
    assert api(a, "POST", "/users", json=user).status_code == 201
    member = {"role_id": 2, "member_user": {"username": "alice"}}
    assert api(a, "POST", "/projects/early/members", json=member).status_code == 201
    # Late: what is pushed while the other is away comes when it is back.
    b.kill()
    target = f"docker://127.0.0.1:{a.port}/library/app:late"
    skopeo("copy", "-q", "--dest-tls-verify=false", f"--dest-creds={creds}", layout.source, target)
    folder = tmp_path / "pulled"
    skopeo("copy", "-q", "--retry-times=3", f"--src-cert-dir={certificates}", f"{image}:1", f"oci:{folder}:1")
    assert top_digest(folder) == layout.digest
    b.start()
    b.wait_ready()
    assert "alice" not in names(b, "users", "username")
    assert "early" not in names(b, "projects", "name")
    # It was away for long, as far as the policy knows: an execution brings what is missing.
    a.run(site.located(block("a.example.com:80/api/v2.0/replication/executions")))
    until(lambda: pulled(b, "late") == layout.digest)


def peers(site: Site, a: Host, b: Host) -> None:
    """The two joined as peers: users, projects and members are equal too, and tokens good at both."""
    for host in (a, b):  # a policy at work is not removed
        until(lambda host=host: not copying(host))  # type: ignore[misc]
    a.run(site.located(block("-X DELETE")))
    section = Page("guide.md").one("yaml", "peers:")
    for host in (a, b):
        host.stop()
    for host in (a, b):
        text = site.located(section)
        if host is b:
            text = text.replace("name: a", "name: b").replace(b.url, a.url)
        settings = site.settings(host)
        settings["seawall"] |= yaml.safe_load(text)["seawall"]
        host.write(settings)
    b.run(site.located(block("keys import")))
    for host in (a, b):
        assert "key made" not in host.run(PREPARE)
    site.start()
    until(lambda: "early" in names(b, "projects", "name") and "alice" in names(b, "users", "username"))
    until(lambda: "alice" in names(b, "projects/early/members", "entity_name"))
    until(lambda: asked(b, token(a)).status_code == asked(a, token(b)).status_code == 200)
    site.balance(block("--sticky").replace(" --sticky", ""))
    # A change is at both before its answer is sent.
    with httpx.Client(verify=False, base_url=f"{site.url}/api/v2.0", auth=ADMIN, timeout=60) as client:
        for number in range(4):
            made = client.post("/projects", json={"project_name": f"late-{number}"})
            assert made.status_code == 201, made.text
            for host in (a, b):
                assert f"late-{number}" in names(host, "projects", "name")
    for host in (a, b):
        until(lambda host=host: "no faults" in host.run(block("ha check"), check=False))  # type: ignore[misc]
