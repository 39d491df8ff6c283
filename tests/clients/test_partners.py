"""Registries of others as partners: replicated to, replicated from, and behind a proxy-cache project.

CNCF Distribution 3, and zot where somebody has built one (tests/support/servers/zot.py).
"""

from __future__ import annotations

import secrets
from collections.abc import Iterator

import pytest

from tests.support.foreign import PROGRAMS, build
from tests.support.oci.client import unique
from tests.support.oci.remote import Remote
from tests.support.registry import Registry
from tests.support.replication import Api
from tests.support.servers import zot
from tests.support.servers.docker_registry import DockerRegistry
from tests.support.setups import ADMIN

PARTNERS = ["distribution", *(["zot"] if zot.program() else [])]


@pytest.fixture(scope="module", params=PARTNERS)
def partner(
    request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[DockerRegistry | zot.Zot]:
    root = tmp_path_factory.mktemp(request.param)
    server: DockerRegistry | zot.Zot
    if request.param == "zot":
        server = zot.Zot(root, str(zot.program()))
    else:
        program = PROGRAMS["distribution"]
        build(program)
        server = DockerRegistry(root, program=str(program.path))
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


def test_replication_both_ways(seawall: Registry, partner: DockerRegistry | zot.Zot) -> None:
    here, there, api = Remote(seawall.url, ADMIN), Remote(partner.url), Api(seawall)
    team, back_here = unique("team"), unique("back")
    seawall.create_project(team, public=False)
    endpoint = {"id": api.endpoint(unique("partner"), partner.url, "docker-registry")}
    image = here.push_image(f"{team}/app", "v1", [secrets.token_bytes(1_000_000)])
    signature = here.push_image(f"{team}/app", None, subject=image, artifact_type="application/x.signature")
    children = [here.push_image(f"{team}/app", None) for _ in range(2)]
    index = here.push_index(f"{team}/app", "multi", children)
    common = {"trigger": {"type": "manual"}, "enabled": True, "override": True}
    name = {"type": "name", "value": f"{team}/**"}
    out = api.make(
        "/replication/policies",
        {
            "name": unique("out"),
            "dest_registry": endpoint,
            "dest_namespace": "copied",
            "filters": [name],
            **common,
        },
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
        {
            "name": unique("in"),
            "src_registry": endpoint,
            "dest_namespace": back_here,
            "filters": [name],
            **common,
        },
    )
    done = api.run(back)
    assert done["status"] == "Succeed", api.logs(done["id"])
    assert here.digest(f"{back_here}/app", "multi") == index["digest"]
    here.check(f"{back_here}/app", "v1")
    here.check(f"{back_here}/app", "multi")


def test_proxy_project(seawall: Registry, partner: DockerRegistry | zot.Zot) -> None:
    here, there, api = Remote(seawall.url, ADMIN), Remote(partner.url), Api(seawall)
    image = there.push_image("up/app", "v1", [secrets.token_bytes(500_000)])
    index = there.push_index("up/app", "multi", [there.push_image("up/app", None)])
    endpoint = api.endpoint(unique("partner"), partner.url, "docker-registry")
    cache = unique("cache")
    made = api.http.post("/projects", json={"project_name": cache, "registry_id": endpoint})
    assert made.status_code == 201, made.text
    assert here.digest(f"{cache}/up/app", "v1") == image["digest"]
    assert here.digest(f"{cache}/up/app", "multi") == index["digest"]
    here.check(f"{cache}/up/app", "v1")
    here.check(f"{cache}/up/app", "multi")
    assert here.tags(f"{cache}/up/app") == ["multi", "v1"]
    assert here.digest(f"{cache}/up/app", "missing") is None
