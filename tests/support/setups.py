"""The ways to set Seawall up that clients and suites of others are run against, and a registry of others."""

from __future__ import annotations

import secrets
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path

import httpx

from seawall.availability.cluster.balancer import Balancer, haproxy
from tests.support.cluster import Cluster
from tests.support.digests import digest_of
from tests.support.oci.client import unique
from tests.support.oci.remote import Remote
from tests.support.peer_site import two_peers
from tests.support.processes import PASSWORD, free_port
from tests.support.registry import Registry
from tests.support.replication import Api
from tests.support.servers.balancers import BalancerServer
from tests.support.servers.docker_registry import DockerRegistry
from tests.support.servers.postgres import running_postgres
from tests.support.servers.zot import Zot

ADMIN = ("admin", PASSWORD)


@dataclass
class Setup:
    """A registry that runs, with its administrator; a registry of others knows no users (`auth` is None)."""

    url: str
    auth: tuple[str, str] | None

    @property
    def host(self) -> str:
        """host:port, as image clients write it."""
        return self.url.partition("://")[2]

    def post(self, path: str, body: object) -> None:
        """A POST of the management API, as the administrator, at the address that clients use."""
        made = httpx.post(f"{self.url}/api/v2.0{path}", json=body, auth=ADMIN, timeout=60)
        assert made.status_code == 201, made.text

    def project(self, storage: int = -1) -> str:
        """A new private project's name; `storage` is its quota in bytes."""
        name = unique("p")
        self.post("/projects", {"project_name": name, "storage_limit": storage})
        return name

    def member(self, project: str, role: int) -> tuple[str, str]:
        """A new member of `project` (2 is a developer, 3 a guest): name and password."""
        name = unique("u")
        self.post(
            "/users",
            {"username": name, "password": PASSWORD, "email": f"{name}@example.test", "realname": name},
        )
        self.post(f"/projects/{project}/members", {"role_id": role, "member_user": {"username": name}})
        return name, PASSWORD


@contextmanager
def _one(folder: Path, auth: tuple[str, str] | None, **settings: str) -> Iterator[Setup]:
    server = Registry(folder / "data", {"SEAWALL_HTTP__WORKERS": "2", **settings})
    try:
        server.start()
        yield Setup(server.url, auth)
    finally:
        server.close()


def sqlite(folder: Path) -> AbstractContextManager[Setup]:
    """One instance with two server processes on SQLite and a folder."""
    return _one(folder, ADMIN)


def without_authentication(folder: Path) -> AbstractContextManager[Setup]:
    """One instance that asks nobody who they are: everybody may push everywhere."""
    return _one(folder, None, SEAWALL_AUTH__MODE="none")


@contextmanager
def three_instances(folder: Path) -> Iterator[Setup]:
    """Three instances on one PostgreSQL and one folder behind HAProxy, which takes them in turn."""
    port = free_port()
    url = f"http://127.0.0.1:{port}"
    with running_postgres() as postgres:
        settings = {"SEAWALL_EXTERNAL_URL": url, "SEAWALL_HTTP__TRUSTED_PROXIES": "127.0.0.1"}
        cluster = Cluster(folder, postgres.migrated(), settings=settings)
        balancer = BalancerServer("haproxy", port)
        try:
            cluster.start()
            text = haproxy(Balancer(url, [instance.url for instance in cluster.instances]))
            balancer.start(text.replace("balance leastconn", "balance roundrobin"))
            yield Setup(url, ADMIN)
        finally:
            balancer.close()
            cluster.close()


@contextmanager
def peers(folder: Path) -> Iterator[Setup]:
    """Two peers, each with everything of its own, behind HAProxy, which takes them in turn."""
    with running_postgres() as postgres, two_peers(folder, postgres, balance="roundrobin") as site:
        yield Setup(site.url, ADMIN)


@dataclass
class Cached:
    """A proxy project and what its upstream has: a repository, its tags, manifests, blobs and a subject."""

    setup: Setup
    repository: str
    tags: list[str]
    manifests: list[str]
    blobs: list[str]
    subjects: list[str]


@contextmanager
def proxy_project(folder: Path) -> Iterator[Cached]:
    """One instance with a private proxy project over another one; nothing has been pulled yet."""
    with ExitStack() as stack:
        servers = [Registry(folder / name) for name in ("upstream", "cache")]
        for server in servers:
            stack.callback(server.close)
            server.start()
        upstream, cache = servers
        upstream.create_project("team", public=True)
        remote = Remote(upstream.url, ADMIN)
        layer = secrets.token_bytes(3000)
        image = remote.push_image("team/app", "v1", [layer])
        children = [remote.push_image("team/app", None) for _ in range(2)]
        index = remote.push_index("team/app", "multi", children)
        signature = remote.push_image(
            "team/app", None, subject=image, artifact_type="application/x.signature"
        )
        api = Api(cache)
        body = {"project_name": "cache", "registry_id": api.endpoint("up", upstream.url, "harbor", ADMIN)}
        made = api.http.post("/projects", json=body)
        assert made.status_code == 201, made.text
        yield Cached(
            Setup(cache.url, ADMIN),
            "cache/team/app",
            ["v1", "multi"],
            [item["digest"] for item in (image, index, *children, signature)],
            [digest_of(layer)],
            [image["digest"]],
        )


@contextmanager
def _of_others(server: DockerRegistry | Zot) -> Iterator[Setup]:
    try:
        server.start()
        yield Setup(server.url, None)
    finally:
        server.stop()


def docker_registry(folder: Path, program: str | None = None) -> AbstractContextManager[Setup]:
    """Debian's docker-registry (CNCF Distribution 2), or another `program` of theirs, without users."""
    return _of_others(DockerRegistry(folder, program=program))


def zot_registry(folder: Path, program: str) -> AbstractContextManager[Setup]:
    """A zot on a folder, without users."""
    return _of_others(Zot(folder, program))


SETUPS: dict[str, Callable[[Path], AbstractContextManager[Setup]]] = {
    "one instance on SQLite": sqlite,
    "three instances on PostgreSQL": three_instances,
    "two peers": peers,
}
