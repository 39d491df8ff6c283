"""Replication through the API, between Seawall, a second Seawall and Debian's docker-registry."""

from __future__ import annotations

import secrets
from typing import Any

import pytest

from tests.support.oci.remote import Remote, Signed, push_signed
from tests.support.registry import Registry
from tests.support.replication import Api
from tests.support.servers.docker_registry import DockerRegistry
from tests.support.waiting import until


def _name(prefix: str) -> str:
    return f"{prefix}{secrets.token_hex(4)}"


def _policy(api: Api, **values: Any) -> int:
    body = {"name": _name("policy-"), "override": True, "enabled": True, "trigger": {"type": "manual"}}
    return api.make("/replication/policies", {**body, **values})


def _same(remote: Remote, repository: str, tag: str, signed: Signed) -> None:
    """The artifact, its children and everything that refers to them are there."""
    assert remote.digest(repository, tag) == signed.index
    remote.check(repository, tag)
    assert remote.digest(repository, signed.cosign_tag)
    for digest in (signed.signature, signed.sbom, signed.child_sbom):
        remote.check(repository, digest)


def test_push_to_another_seawall(
    api: Api, here: Remote, there: Remote, registry: Registry, second: Registry
) -> None:
    project = _name("push")
    registry.create_project(project)
    signed = push_signed(here, f"{project}/app/one", "v1")
    here.push_image(f"{project}/app/one", "dev")
    here.push_image(f"{project}/other", "v1")
    target = api.endpoint("second", second.url, "seawall", second.admin)
    policy = _policy(
        api,
        dest_registry={"id": target},
        dest_namespace=f"{project}-copy",
        dest_namespace_replace_count=1,
        filters=[
            {"type": "name", "value": f"{project}/{{app/**,nothing}}"},
            {"type": "tag", "value": "dev*", "decoration": "excludes"},
        ],
    )
    done = api.run(policy)
    assert done["status"] == "Succeed", api.logs(done["id"])
    assert (done["total"], done["succeed"], done["failed"]) == (1, 1, 0)
    copied = f"{project}-copy/app/one"
    _same(there, copied, "v1", signed)
    assert there.tags(copied) == sorted(["v1", signed.cosign_tag])
    # What cosign attached by a tag is a referrer too.
    attached = there.digest(copied, signed.cosign_tag)
    assert set(there.referrers(copied, signed.index)) == {signed.signature, attached}
    assert there.tags(f"{project}-copy/other") == []
    # Again: nothing is sent.
    done = api.run(policy)
    assert done["status"] == "Succeed", api.logs(done["id"])
    assert "0 blobs, 0 mounted, 0 bytes" in api.logs(done["id"])


def test_override_and_deletion_by_event(
    api: Api, here: Remote, there: Remote, registry: Registry, second: Registry
) -> None:
    project = _name("event")
    registry.create_project(project)
    target = api.endpoint("second", second.url, "seawall", second.admin)
    policy = _policy(
        api,
        dest_registry={"id": target},
        trigger={"type": "event_based"},
        replicate_deletion=True,
        filters=[{"type": "name", "value": f"{project}/**"}],
    )
    repository = f"{project}/app"

    def becomes(reference: str, digest: str | None) -> None:
        until(lambda: there.digest(repository, reference) == digest, "the event was not replicated")

    first = here.push_image(repository, "v1")
    becomes("v1", first["digest"])
    signature = here.push_image(repository, None, subject=first, artifact_type="application/x.signature")
    becomes(signature["digest"], signature["digest"])
    second_image = here.push_image(repository, "v1")
    becomes("v1", second_image["digest"])
    headers = here._headers(repository)
    assert here.http.delete(f"/v2/{repository}/manifests/v1", headers=headers).status_code == 202
    becomes("v1", None)
    gone = f"/v2/{repository}/manifests/{second_image['digest']}"
    assert here.http.delete(gone, headers=headers).status_code == 202
    becomes(second_image["digest"], None)
    assert there.digest(repository, first["digest"]) == first["digest"]
    listed = api.http.get("/replication/executions", params={"policy_id": policy, "trigger": "event_based"})
    assert len(listed.json()) >= 5
    assert {item["trigger"] for item in listed.json()} == {"event_based"}
    body = api.http.get(f"/replication/policies/{policy}").json()
    assert api.http.put(f"/replication/policies/{policy}", json={**body, "enabled": False}).status_code == 200
    assert api.http.post("/replication/executions", json={"policy_id": policy}).status_code == 412


def test_what_belongs_to_an_image_follows_it_by_event(
    api: Api, here: Remote, there: Remote, registry: Registry, second: Registry
) -> None:
    """A tag filter lets through what is attached later to an image that it let through, and nothing else."""
    project = _name("attached")
    registry.create_project(project)
    repository = f"{project}/app"
    policy = _policy(
        api,
        dest_registry={"id": api.endpoint("second", second.url, "seawall", second.admin)},
        trigger={"type": "event_based"},
        replicate_deletion=True,
        filters=[{"type": "name", "value": repository}, {"type": "tag", "value": "v*"}],
    )
    released, draft = here.push_image(repository, "v1"), here.push_image(repository, "draft")
    until(lambda: there.digest(repository, "v1") == released["digest"])

    def attach(image: dict[str, Any]) -> tuple[str, str]:
        tag = image["digest"].replace(":", "-") + ".sig"
        here.push_image(repository, tag)
        return tag, here.push_image(repository, None, subject=image, artifact_type="application/x")["digest"]

    others = attach(draft)
    tag, sbom = attach(released)
    until(lambda: there.digest(repository, tag) == here.digest(repository, tag))
    until(lambda: there.digest(repository, sbom) == sbom)
    # Events come in order, so what was pushed before these is not on its way.
    assert there.tags(repository) == sorted(["v1", tag])
    assert there.digest(repository, others[1]) is None
    gone = here.http.delete(f"/v2/{repository}/manifests/{tag}", headers=here._headers(repository))
    assert gone.status_code == 202
    until(lambda: there.digest(repository, tag) is None)
    assert there.digest(repository, sbom) == sbom
    listed = api.http.get("/replication/executions", params={"policy_id": policy}).json()
    assert {item["status"] for item in listed} <= {"Succeed", "InProgress"}


def test_a_tag_that_is_immutable_there_is_a_failure(
    api: Api, here: Remote, there: Remote, registry: Registry, second: Registry
) -> None:
    project = _name("fixed")
    repository = f"{project}/app"
    registry.create_project(project)
    second.create_project(project)
    kept = there.push_image(repository, "v1")
    glob = {"kind": "doublestar", "pattern": "**"}
    rule = {
        "tag_selectors": [{**glob, "decoration": "matches"}],
        "scope_selectors": {"repository": [{**glob, "decoration": "repoMatches"}]},
    }
    Api(second).make(f"/projects/{project}/immutabletagrules", rule)
    here.push_image(repository, "v1")
    here.push_image(repository, "v2")
    policy = _policy(
        api,
        dest_registry={"id": api.endpoint("second", second.url, "seawall", second.admin)},
        filters=[{"type": "name", "value": repository}],
    )
    done = api.run(policy)
    assert (done["status"], done["failed"]) == ("Failed", 1), api.logs(done["id"])
    assert f"{repository}:v1 is configured as immutable" in done["status_text"]
    assert "immutable" in api.logs(done["id"])
    # What is not refused is copied all the same.
    assert there.digest(repository, "v1") == kept["digest"]
    assert there.digest(repository, "v2") == here.digest(repository, "v2")


def test_no_override(api: Api, here: Remote, there: Remote, registry: Registry, second: Registry) -> None:
    project = _name("keep")
    registry.create_project(project)
    second.create_project(project)
    here.push_image(f"{project}/app", "v1")
    kept = there.push_image(f"{project}/app", "v1")
    policy = _policy(
        api,
        dest_registry={"id": api.endpoint("second", second.url, "seawall", second.admin)},
        override=False,
        filters=[{"type": "name", "value": f"{project}/app"}],
    )
    done = api.run(policy)
    assert done["status"] == "Succeed", api.logs(done["id"])
    assert "override is off" in api.logs(done["id"])
    assert there.digest(f"{project}/app", "v1") == kept["digest"]


def test_to_and_from_docker_registry(
    api: Api, here: Remote, plain: Remote, registry: Registry, docker_registry: DockerRegistry
) -> None:
    project = _name("plain")
    registry.create_project(project)
    signed = push_signed(here, f"{project}/app", "v1")
    # Shared layers are sent once and mounted in the second repository.
    layer = secrets.token_bytes(5000)
    here.push_image(f"{project}/app", "shared", [layer])
    here.push_image(f"{project}/zebra", "shared", [layer])
    target = api.endpoint("plain", docker_registry.url, "docker-registry")
    push = _policy(
        api,
        dest_registry={"id": target},
        copy_by_chunk=True,
        filters=[{"type": "name", "value": f"{project}/*"}],
    )
    done = api.run(push)
    assert done["status"] == "Succeed", api.logs(done["id"])
    for tag in ("v1", "shared"):
        plain.check(f"{project}/app", tag)
    plain.check(f"{project}/zebra", "shared")
    # docker-registry has no referrers API, but it holds what refers.
    _same(plain, f"{project}/app", "v1", signed)
    # And back, under another name.
    pull = _policy(
        api,
        src_registry={"id": target},
        dest_namespace=f"{project}-back",
        filters=[{"type": "name", "value": f"{project}/**"}, {"type": "tag", "value": "{v*,shared}"}],
    )
    done = api.run(pull)
    assert done["status"] == "Succeed", api.logs(done["id"])
    assert done["total"] == 2
    for tag in ("v1", "shared"):
        here.check(f"{project}-back/app", tag)
    # docker-registry cannot say what refers to the index; cosign's tag it can.
    assert here.tags(f"{project}-back/app") == sorted(["shared", signed.cosign_tag, "v1"])


def test_failures_are_told_and_executions_stop(
    api: Api, here: Remote, registry: Registry, second: Registry
) -> None:
    project = _name("slow")
    registry.create_project(project)
    here.push_image(f"{project}/app", "big", [secrets.token_bytes(3_000_000)])
    target = api.endpoint("second", second.url, "seawall", second.admin)
    policy = _policy(
        api,
        dest_registry={"id": target},
        speed=200,
        single_active_replication=True,
        filters=[{"type": "name", "value": f"{project}/app"}],
    )
    execution = api.make("/replication/executions", {"policy_id": policy})
    assert api.http.post("/replication/executions", json={"policy_id": policy}).status_code == 412
    assert api.http.delete(f"/replication/policies/{policy}").status_code == 412
    until(
        lambda: any(
            item["status"] == "InProgress"
            for item in api.http.get(f"/replication/executions/{execution}/tasks").json()
        )
    )
    assert api.http.put(f"/replication/executions/{execution}").status_code == 200
    assert api.wait(execution)["status"] == "Stopped"
    assert api.http.get(f"/replication/executions/{execution}/tasks/999999/log").status_code == 404
    assert api.http.get("/replication/executions/999999").status_code == 404
    assert api.http.delete(f"/replication/policies/{policy}").status_code == 200


def test_registries_keep_their_secret(api: Api, second: Registry) -> None:
    name = _name("reg-")
    wrong = {"type": "basic", "access_key": "admin", "access_secret": "wrong"}
    body = {"name": name, "url": second.url, "type": "seawall", "credential": wrong, "insecure": True}
    refused = api.http.post("/registries", json=body)
    assert refused.status_code == 400
    assert "healthy" in refused.json()["errors"][0]["message"]
    body["credential"] = {"type": "basic", "access_key": second.admin[0], "access_secret": second.admin[1]}
    made = api.make("/registries", body)
    assert api.http.post("/registries", json=body).status_code == 409
    shown = api.http.get(f"/registries/{made}")
    assert second.admin[1] not in shown.text
    assert shown.json()["credential"]["access_secret"] == "*****"
    assert shown.json()["status"] == "healthy"
    assert api.http.put(f"/registries/{made}", json={"description": "x"}).status_code == 200
    assert api.http.get(f"/registries/{made}").json()["description"] == "x"
    assert api.http.post("/registries/ping", json={"id": made}).status_code == 200
    assert api.http.put(f"/registries/{made}", json={"access_secret": "no"}).status_code == 400
    info = api.http.get(f"/registries/{made}/info").json()
    assert {item["type"] for item in info["supported_resource_filters"]} == {
        "name",
        "tag",
        "label",
        "resource",
    }
    policy = _policy(api, dest_registry={"id": made})
    assert api.http.delete(f"/registries/{made}").status_code == 412
    assert api.http.delete(f"/replication/policies/{policy}").status_code == 200
    assert api.http.delete(f"/registries/{made}").status_code == 200
    assert api.http.get(f"/registries/{made}").status_code == 404
    assert "docker-registry" in api.http.get("/replication/adapters").json()
    assert api.http.get("/replication/adapterinfos").json()["docker-hub"]


@pytest.mark.parametrize(
    "change",
    [
        {"dest_registry": None},
        {"src_registry": {"id": 1}},
        {"dest_registry": {"id": 999999}},
        {"trigger": {"type": "sometimes"}},
        {"trigger": {"type": "scheduled"}},
        {"trigger": {"type": "scheduled", "trigger_settings": {"cron": "* * *"}}},
        {"filters": [{"type": "name", "value": "a{b"}]},
        {"filters": [{"type": "colour", "value": "red"}]},
        {"filters": [{"type": "label", "value": "text"}]},
        {"filters": [{"type": "tag", "value": "x", "decoration": "perhaps"}]},
        {"dest_namespace": "UPPER"},
        {"name": ""},
    ],
)
def test_wrong_policies_are_refused(api: Api, second: Registry, change: dict[str, Any]) -> None:
    target = api.endpoint("second", second.url, "seawall", second.admin)
    body = {"name": _name("wrong-"), "dest_registry": {"id": target}, **change}
    answer = api.http.post("/replication/policies", json=body)
    assert answer.status_code == 400, answer.text
    assert answer.json()["errors"][0]["message"]


def test_scheduled(api: Api, here: Remote, there: Remote, registry: Registry, second: Registry) -> None:
    project = _name("cron")
    registry.create_project(project)
    image = here.push_image(f"{project}/app", "v1")
    policy = _policy(
        api,
        dest_registry={"id": api.endpoint("second", second.url, "seawall", second.admin)},
        trigger={"type": "scheduled", "trigger_settings": {"cron": "*/2 * * * * *"}},
        filters=[{"type": "name", "value": f"{project}/**"}],
    )
    until(lambda: there.digest(f"{project}/app", "v1") == image["digest"])
    schedules = api.http.get("/schedules", params={"page_size": 100}).json()
    assert policy in [item["vendor_id"] for item in schedules if item["vendor_type"] == "REPLICATION"]
    body = api.http.get(f"/replication/policies/{policy}").json()
    body["trigger"] = {"type": "manual"}
    assert api.http.put(f"/replication/policies/{policy}", json=body).status_code == 200
    schedules = api.http.get("/schedules", params={"page_size": 100}).json()
    assert policy not in [item["vendor_id"] for item in schedules if item["vendor_type"] == "REPLICATION"]
    runs = api.http.get("/replication/executions", params={"policy_id": policy}).json()
    assert {item["trigger"] for item in runs} == {"scheduled"}
