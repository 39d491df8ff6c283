"""Which repository a mirror's client means: by namespace, by host, and by neither."""

from __future__ import annotations

from collections.abc import Callable

import pytest
from pydantic import ValidationError
from sqlalchemy import Connection, insert, update

from seawall.access.tables import projects
from seawall.features.proxycache.mirror import Mirror
from seawall.features.replication.tables import registries
from seawall.infra.settings import MirrorSettings
from seawall.kernel.errors import RegistryError
from tests.support.lab import Lab

HOME = "registry.example.com"
SETTINGS = MirrorSettings(
    namespaces={"quay.io": "quay", "gone.example.com": "team"},
    hosts={"hub.example.com": "hub", "quay.example.com:8443": "quay", "5001": "hub", ":5002": "team"},
    paths=["copies"],
)

# Name in the path, host, ns, and what is meant.
CASES = [
    # No namespace: as ever.
    ("library/alpine", HOME, None, "library/alpine"),
    ("alpine", HOME, None, "alpine"),
    # A namespace that a proxy-cache project answers for; Docker Hub by all its names.
    ("library/alpine", HOME, "docker.io", "hub/library/alpine"),
    ("alpine", HOME, "docker.io", "hub/library/alpine"),
    ("library/alpine", HOME, "index.docker.io", "hub/library/alpine"),
    ("library/alpine", HOME, "registry-1.docker.io", "hub/library/alpine"),
    ("library/alpine", HOME, "DOCKER.IO", "hub/library/alpine"),
    ("team/app", HOME, "docker.io", "hub/team/app"),
    ("coreos/etcd", HOME, "quay.io", "quay/coreos/etcd"),
    ("pause", HOME, "quay.io", "quay/pause"),
    ("a/b/c", HOME, "quay.io", "quay/a/b/c"),
    # By the registry's own address, when nothing else is said: the oldest project before it.
    ("x/y", HOME, "k8s.example.com", "k8s/x/y"),
    ("x/y", HOME, "k8s.example.com:443", "k8s/x/y"),
    ("x/y", HOME, "127.0.0.1:5000", "plain/x/y"),
    # A project of somebody else, with the name of a namespace upstream, answers for nothing.
    ("team/app", HOME, "quay.io", "quay/team/app"),
    # The path names a proxy-cache project, whatever the namespace; or one that the settings allow.
    ("hub/library/alpine", HOME, "docker.io", "hub/library/alpine"),
    ("hub/alpine", HOME, "docker.io", "hub/alpine"),
    ("quay/coreos/etcd", HOME, "docker.io", "quay/coreos/etcd"),
    ("second/x", HOME, "docker.io", "second/x"),
    ("quay/coreos/etcd", HOME, "169.254.169.254", "quay/coreos/etcd"),
    ("copies/coreos/etcd", HOME, "quay.io", "copies/coreos/etcd"),
    # Names at Docker Hub have two parts, so a third one in front is a project.
    ("team/library/alpine", HOME, "docker.io", "team/library/alpine"),
    # A namespace that nobody answers for chooses nothing, whatever is in it.
    ("team/app", HOME, "unknown.example.com", "team/app"),
    ("team/app", HOME, "169.254.169.254", "team/app"),
    ("team/app", HOME, "hub", "team/app"),
    ("team/app", HOME, "http://127.0.0.1:5000", "team/app"),
    ("team/app", HOME, "127.0.0.1:5000/x", "team/app"),
    ("team/app", HOME, "docker.io\0", "team/app"),
    ("team/app", HOME, "quay.io/../team", "team/app"),
    ("team/app", HOME, "x" * 100_000, "team/app"),
    ("team/app", HOME, "", "team/app"),
    # A host, a host with its port, a port.
    ("library/alpine", "hub.example.com", None, "hub/library/alpine"),
    ("library/alpine", "hub.example.com:8443", None, "hub/library/alpine"),
    ("library/alpine", "HUB.example.com.", None, "hub/library/alpine"),
    ("alpine", "hub.example.com", None, "hub/library/alpine"),
    ("team/app", "hub.example.com", None, "hub/team/app"),
    ("hub/library/alpine", "hub.example.com", None, "hub/library/alpine"),
    ("alpine", "hub.example.com", "docker.io", "hub/library/alpine"),
    ("team/app", "hub.example.com", "unknown.example.com", "hub/team/app"),
    ("coreos/etcd", "quay.example.com:8443", None, "quay/coreos/etcd"),
    ("coreos/etcd", "quay.example.com:8443", "quay.io", "quay/coreos/etcd"),
    ("coreos/etcd", "quay.example.com", None, "coreos/etcd"),
    ("library/alpine", "registry.example.com:5001", None, "hub/library/alpine"),
    ("library/alpine", "[::1]:5001", None, "hub/library/alpine"),
    ("app", "registry.example.com:5002", None, "team/app"),
    ("team/app", "registry.example.com:5002", None, "team/app"),
    # Hosts that are none of them.
    ("team/app", "hub.example.com.evil.example", None, "team/app"),
    ("team/app", "hub.example.com@evil.example", None, "team/app"),
    ("team/app", "hub.example.com:", None, "team/app"),
    ("team/app", "evil.example/hub.example.com", None, "team/app"),
    ("team/app", "", None, "team/app"),
]

REFUSED = [
    # The settings name a project that is no proxy-cache project: it may be anybody's.
    ("x/y", HOME, ["gone.example.com"], 404),
    # The host is the mirror of another registry.
    ("coreos/etcd", "hub.example.com", ["quay.io"], 404),
    ("library/alpine", "quay.example.com:8443", ["docker.io"], 404),
    ("hub/library/alpine", "hub.example.com", ["quay.io"], 404),
    # Two parties could read these differently.
    ("library/alpine", HOME, ["docker.io", "quay.io"], 400),
    ("team/app", HOME, ["", "quay.io"], 400),
]

# Host header, the usual host, and the host of URLs in answers.
HOSTS = [
    ("hub.example.com", HOME, "hub.example.com"),
    ("hub.example.com:8443", HOME, "hub.example.com:8443"),
    ("evil.example:5001", HOME, "registry.example.com:5001"),
    ("evil.example:5001", "registry.example.com:8443", "registry.example.com:5001"),
]


async def _proxy(lab: Lab, name: str, kind: str, url: str, at: float) -> None:
    project = await lab.project(name)
    row: dict[str, object] = {"name": name, "url": url, "type": kind, "created_at": at, "updated_at": at}
    row |= {"description": "", "credential_type": "", "insecure": False, "status": "healthy"}

    def join(connection: Connection) -> None:
        # By hand: an upstream that is added is asked whether it answers.
        added = connection.execute(insert(registries).values(**row).returning(registries.c.id)).scalar_one()
        change = {"registry_id": added, "created_at": at}
        connection.execute(update(projects).where(projects.c.id == project).values(**change))

    await lab.db.write(join)


def test_what_a_name_means(run: Callable[..., None]) -> None:
    async def body(lab: Lab) -> None:
        for name in ("team", "copies"):
            await lab.project(name)
        # Made first, and later by its date.
        await _proxy(lab, "second", "docker-hub", "https://hub.docker.com", 20)
        await _proxy(lab, "hub", "docker-hub", "https://hub.docker.com", 10)
        await _proxy(lab, "quay", "docker-registry", "https://mirror.example.com", 10)
        await _proxy(lab, "k8s", "docker-registry", "https://k8s.example.com/", 10)
        await _proxy(lab, "plain", "docker-registry", "http://127.0.0.1:5000", 10)
        mirror = Mirror(lab.db, SETTINGS)
        for name, host, namespace, meant in CASES:
            found = await mirror.repository(name, host, [] if namespace is None else [namespace])
            assert found == meant, (name, host, namespace)
        for name, host, namespaces, status in REFUSED:
            with pytest.raises(RegistryError) as refused:
                await mirror.repository(name, host, namespaces)
            assert refused.value.status == status, (name, host, namespaces)
        for host, usual, wanted in HOSTS:
            assert mirror.alias_host(host, usual) == wanted

    run(body)


@pytest.mark.parametrize(
    "wrong",
    [
        {"hosts": {"https://hub.example.com": "hub"}},
        {"hosts": {"Hub.example.com": "hub"}},
        {"hosts": {"70000": "hub"}},
        {"hosts": {"": "hub"}},
        {"hosts": {"hub.example.com": "hub/library"}},
        {"namespaces": {"docker.io/library": "hub"}},
        {"namespaces": {"docker.io": ""}},
        {"paths": ["a/b"]},
    ],
)
def test_settings_that_are_no_mirror(wrong: dict[str, object]) -> None:
    with pytest.raises(ValidationError):
        MirrorSettings.model_validate(wrong)
