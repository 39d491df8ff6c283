"""CNCF Distribution 3 as a partner: replicated to, replicated from, and behind a proxy-cache project."""

from __future__ import annotations

import secrets
from collections.abc import Iterator

import pytest

from tests.support.foreign import PROGRAMS, build
from tests.support.oci.remote import Remote
from tests.support.registry import Registry
from tests.support.replication import Api
from tests.support.servers.docker_registry import DockerRegistry
from tests.support.setups import ADMIN


@pytest.fixture(scope="module")
def distribution(tmp_path_factory: pytest.TempPathFactory) -> Iterator[DockerRegistry]:
    program = PROGRAMS["distribution"]
    build(program)
    server = DockerRegistry(tmp_path_factory.mktemp("distribution"), program=str(program.path))
    try:
        server.start()
        yield server
    finally:
        server.stop()


@pytest.fixture(scope="module")
def seawall(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Registry]:
    server = Registry(tmp_path_factory.mktemp("seawall") / "data")
    try:
        server.start()
        yield server
    finally:
        server.close()


def test_replication_both_ways(seawall: Registry, distribution: DockerRegistry) -> None:
    here, there, api = Remote(seawall.url, ADMIN), Remote(distribution.url), Api(seawall)
    seawall.create_project("team", public=False)
    endpoint = {"id": api.endpoint("distribution", distribution.url, "docker-registry")}
    image = here.push_image("team/app", "v1", [secrets.token_bytes(1_000_000)])
    signature = here.push_image("team/app", None, subject=image, artifact_type="application/x.signature")
    children = [here.push_image("team/app", None) for _ in range(2)]
    index = here.push_index("team/app", "multi", children)
    common = {"trigger": {"type": "manual"}, "enabled": True, "override": True}
    name = {"type": "name", "value": "team/**"}
    out = api.make(
        "/replication/policies",
        {"name": "out", "dest_registry": endpoint, "dest_namespace": "copied", "filters": [name], **common},
    )
    done = api.run(out)
    assert done["status"] == "Succeed", api.logs(done["id"])
    assert there.digest("copied/app", "v1") == image["digest"]
    assert there.digest("copied/app", "multi") == index["digest"]
    assert there.digest("copied/app", signature["digest"]) == signature["digest"]
    there.check("copied/app", "v1")
    there.check("copied/app", "multi")
    # And back, into another project.
    name = {"type": "name", "value": "copied/app"}
    back = api.make(
        "/replication/policies",
        {"name": "back", "src_registry": endpoint, "dest_namespace": "back", "filters": [name], **common},
    )
    done = api.run(back)
    assert done["status"] == "Succeed", api.logs(done["id"])
    assert here.digest("back/app", "multi") == index["digest"]
    here.check("back/app", "v1")
    here.check("back/app", "multi")


def test_proxy_project(seawall: Registry, distribution: DockerRegistry) -> None:
    here, there, api = Remote(seawall.url, ADMIN), Remote(distribution.url), Api(seawall)
    image = there.push_image("up/app", "v1", [secrets.token_bytes(500_000)])
    index = there.push_index("up/app", "multi", [there.push_image("up/app", None)])
    endpoint = api.endpoint("distribution", distribution.url, "docker-registry")
    made = api.http.post("/projects", json={"project_name": "cache", "registry_id": endpoint})
    assert made.status_code == 201, made.text
    assert here.digest("cache/up/app", "v1") == image["digest"]
    assert here.digest("cache/up/app", "multi") == index["digest"]
    here.check("cache/up/app", "v1")
    here.check("cache/up/app", "multi")
    assert here.tags("cache/up/app") == ["multi", "v1"]
    assert here.digest("cache/up/app", "missing") is None
