"""Scheme 4 of Harbor's high-availability guide, with the commands of docs/install/guide.md.

Two hosts, each with its own database and storage, behind one HAProxy: first as they are, then with policies
in both directions, then joined as peers.
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
from tests.support.oci.layout import write_layout
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
    away(site, a, b, tmp_path)
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
    """Policies in both directions: an image comes to both, whichever host the balancer had chosen."""
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


def away(site: Site, a: Host, b: Host, tmp_path: Path) -> None:
    """What was pushed to a while b was away for long comes with the page's execution."""
    layout = write_layout(tmp_path / "later")
    image = f"docker://127.0.0.1:{a.port}/library/app:2"
    b.stop()
    skopeo("copy", "-q", "--dest-tls-verify=false", f"--dest-creds=admin:{PASSWORD}", layout.source, image)

    def given_up() -> bool:
        newest = api(a, "GET", "/replication/executions?policy_id=1&page_size=1").json()[0]
        return bool(newest["trigger"] == "event_based" and newest["status"] == "Failed")

    until(given_up, seconds=240)
    b.start()
    b.wait_ready()
    assert pulled(b, "2") is None
    a.run(site.located(block('{"policy_id": 1}', without="replicate()")))
    until(lambda: pulled(b, "2") == layout.digest)


def underway(host: Host) -> bool:
    """Whether an execution of replication is under way on a host."""
    found = api(host, "GET", "/replication/executions?policy_id=1&page_size=100").json()
    return any(item["status"] in ("InProgress", "Pending") for item in found)


def peers(site: Site, a: Host, b: Host) -> None:
    """Both become one registry: what each had is on both, and any request may go to either."""
    user = {"realname": "x", "password": PASSWORD}
    for host, name in ((a, "anna"), (b, "boris")):
        made = user | {"username": name, "email": f"{name}@example.com"}
        assert api(host, "POST", "/users", json=made).status_code == 201
    # A policy is not deleted under an execution.
    for host in (a, b):
        until(lambda host=host: not underway(host))  # type: ignore[misc]
    a.run(site.located(block("-X DELETE")))
    (section,) = [text for text in Page("guide.md").all("yaml") if "peers:" in text]
    for host, name, other in ((a, "a", "b"), (b, "b", "a")):
        urls = [site.located(f"http://{other}.example.com:80")]
        named = yaml.safe_load(section)["seawall"]["peers"]
        assert named == {"name": "a", "urls": ["http://b.example.com:80"], "allow_http": True}
        settings = site.settings(host)
        settings["seawall"]["peers"] = named | {"name": name, "urls": urls}
        host.write(settings)
        host.stop()
    b.run(site.located(block("keys import --config")))
    for host in (a, b):
        host.run(PREPARE)
    site.start()
    for host in (a, b):
        until(lambda host=host: host.succeeds(block("peers status")))  # type: ignore[misc]
    for host in (a, b):
        assert {"early", "library"} <= names(host, "projects", "name")
        assert {"anna", "boris"} <= names(host, "users", "username")
        assert pulled(host, "2") == pulled(a, "2")
    site.balance(block("--sticky").replace(" --sticky", ""))
    assert asked(b, token(a)).status_code == asked(a, token(b)).status_code == 200
    for host in (a, b):
        assert "no faults" in host.run(block("ha check"))
    # A change is at both before its answer is sent.
    assert api(a, "POST", "/projects", json={"project_name": "together"}).status_code == 201
    assert "together" in names(b, "projects", "name")
