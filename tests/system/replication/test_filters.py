"""Each kind of filter, deletions, override, bandwidth limit; through the adapters of Harbor and Seawall."""

from __future__ import annotations

import secrets
import time
from typing import Any

import pytest

from tests.support.oci.remote import Remote
from tests.support.registry import Registry
from tests.support.replication import Api
from tests.support.waiting import until


@pytest.fixture(scope="module")
def project(registry: Registry) -> str:
    """Of the shared registry: app/one (v1, v2, dev; v1 labelled), app/deep/two (v1), zoo (v1, a chart)."""
    name = f"filter{secrets.token_hex(4)}"
    registry.create_project(name)
    here = Remote(registry.url, registry.admin)
    for tag in ("v1", "v2", "dev"):
        here.push_image(f"{name}/app/one", tag)
    here.push_image(f"{name}/app/deep/two", "v1")
    here.push_image(f"{name}/zoo", "v1")
    here.push_image(f"{name}/zoo", "chart", artifact_type="application/vnd.example.chart")
    api = Api(registry)
    label = api.make("/labels", {"name": f"good-{name}", "scope": "g"})
    for repository, tag in (("app%252Fone", "v1"), ("zoo", "v1")):
        path = f"/projects/{name}/repositories/{repository}/artifacts/{tag}/labels"
        answer = api.http.post(path, json={"id": label})
        assert answer.status_code == 200, answer.text
    return name


ALL = {"app/one": {"v1", "v2", "dev"}, "app/deep/two": {"v1"}, "zoo": {"v1", "chart"}}


@pytest.mark.parametrize(
    ("filters", "arrives"),
    [
        ([], ALL),
        ([("name", "{p}/*/one")], {"app/one": {"v1", "v2", "dev"}}),
        ([("name", "{p}/*")], {"zoo": {"v1", "chart"}}),
        ([("tag", "v?")], {"app/one": {"v1", "v2"}, "app/deep/two": {"v1"}, "zoo": {"v1"}}),
        ([("tag", "v*", "excludes")], {"app/one": {"dev"}, "zoo": {"chart"}}),
        ([("label", ["good-{p}"])], {"app/one": {"v1"}, "zoo": {"v1"}}),
        ([("label", ["good-{p}"], "excludes")], {**ALL, "app/one": {"v2", "dev"}, "zoo": {"chart"}}),
        ([("label", ["good-{p}", "no such label"])], {}),
        ([("resource", "image")], {**ALL, "zoo": {"v1"}}),
        ([("resource", "artifact")], ALL),
        ([("name", "{p}/app/**"), ("tag", "{{v1,dev}}")], {"app/one": {"v1", "dev"}, "app/deep/two": {"v1"}}),
    ],
)
def test_filter(
    api: Api,
    there: Remote,
    second: Registry,
    project: str,
    filters: list[tuple[Any, ...]],
    arrives: dict[str, set[str]],
) -> None:
    """What a filter selects arrives at the second Seawall, and nothing else."""
    target = f"{project}-{secrets.token_hex(3)}"
    written = [
        {"type": item[0], "value": _named(item[1], project), "decoration": (*item, "matches", "matches")[2]}
        for item in filters
    ]
    if not any(item["type"] == "name" for item in written):
        written.append({"type": "name", "value": f"{project}/**"})
    body = {
        "name": target,
        "dest_registry": {"id": api.endpoint("second-harbor", second.url, "harbor", second.admin)},
        "dest_namespace": target,
        "dest_namespace_replace_count": 1,
        "filters": written,
        "trigger": {"type": "manual"},
        "override": True,
        "enabled": True,
    }
    policy = api.make("/replication/policies", body)
    done = api.run(policy)
    assert done["status"] == "Succeed", api.logs(done["id"])
    found = {name: set(there.tags(f"{target}/{name}")) for name in ALL}
    assert {name: tags for name, tags in found.items() if tags} == arrives
    assert api.http.delete(f"/replication/policies/{policy}").status_code == 200


def _named(value: Any, project: str) -> Any:
    if isinstance(value, list):
        return [item.format(p=project) for item in value]
    return value.format(p=project)


@pytest.mark.parametrize("filters", [[("label", ["good-{p}"])], [("tag", "v?")], [("resource", "image")]])
def test_filters_of_a_pull(
    registry: Registry, second: Registry, project: str, here: Remote, filters: list[tuple[Any, ...]]
) -> None:
    """The second Seawall pulls through the management API of the first: labels are asked for there."""
    other = Api(second)
    target = f"{project}-{secrets.token_hex(3)}"
    written = [{"type": item[0], "value": _named(item[1], project)} for item in filters]
    source = other.endpoint(f"first-{registry.port}", registry.url, "harbor", registry.admin)
    policy = other.make(
        "/replication/policies",
        {
            "name": target,
            "src_registry": {"id": source},
            "dest_namespace": target,
            "dest_namespace_replace_count": 1,
            "filters": [{"type": "name", "value": f"{project}/zoo"}, *written],
            "trigger": {"type": "manual"},
            "override": True,
            "enabled": True,
        },
    )
    done = other.run(policy)
    assert done["status"] == "Succeed", other.logs(done["id"])
    assert Remote(second.url, second.admin).tags(f"{target}/zoo") == ["v1"]
    assert here.tags(f"{project}/zoo") == ["chart", "v1"]


@pytest.mark.parametrize("kind", ["seawall", "harbor"])
def test_deletions_go_over_only_when_the_policy_says_so(
    api: Api, here: Remote, there: Remote, registry: Registry, second: Registry, kind: str
) -> None:
    project = f"gone{secrets.token_hex(4)}"
    registry.create_project(project)
    target = api.endpoint(f"second-{kind}", second.url, kind, second.admin)
    policies = [
        api.make(
            "/replication/policies",
            {
                "name": f"{project}-{name}",
                "dest_registry": {"id": target},
                "dest_namespace": f"{project}-{name}",
                "filters": [
                    {"type": "name", "value": f"{project}/**"},
                    {"type": "tag", "value": "keep*", "decoration": "excludes"},
                ],
                "trigger": {"type": "event_based"},
                "replicate_deletion": name == "with",
                "override": True,
                "enabled": True,
            },
        )
        for name in ("with", "without")
    ]
    image = here.push_image(f"{project}/app", "v1")
    signature = here.push_image(
        f"{project}/app", None, subject=image, artifact_type="application/x.signature"
    )
    other = here.push_image(f"{project}/app", "v2")

    def becomes(name: str, reference: str, digest: str | None) -> None:
        until(lambda: there.digest(f"{project}-{name}/app", reference) == digest, lambda: (name, reference))

    for name in ("with", "without"):
        becomes(name, "v1", image["digest"])
        becomes(name, signature["digest"], signature["digest"])
        becomes(name, "v2", other["digest"])
    headers = here._headers(f"{project}/app")
    # A tag, and then an artifact with its tag.
    assert here.http.delete(f"/v2/{project}/app/manifests/v2", headers=headers).status_code == 202
    becomes("with", "v2", None)
    assert there.digest(f"{project}-with/app", other["digest"]) == other["digest"]
    gone = f"/v2/{project}/app/manifests/{image['digest']}"
    assert here.http.delete(gone, headers=headers).status_code == 202
    becomes("with", image["digest"], None)
    assert there.tags(f"{project}-with/app") == []
    assert there.tags(f"{project}-without/app") == ["v1", "v2"]
    for policy in policies:
        for item in api.http.get("/replication/executions", params={"policy_id": policy}).json():
            api.wait(item["id"])
        assert api.http.delete(f"/replication/policies/{policy}").status_code == 200


def test_override_replaces_and_its_absence_keeps(
    api: Api, here: Remote, there: Remote, registry: Registry, second: Registry
) -> None:
    project = f"over{secrets.token_hex(4)}"
    registry.create_project(project)
    second.create_project(project)
    mine = here.push_image(f"{project}/app", "v1")
    for override in (False, True):
        theirs = there.push_image(f"{project}/app", "v1")
        body = {
            "name": f"{project}-{override}",
            "dest_registry": {"id": api.endpoint("second-harbor", second.url, "harbor", second.admin)},
            "filters": [{"type": "name", "value": f"{project}/app"}],
            "trigger": {"type": "manual"},
            "override": override,
            "enabled": True,
        }
        done = api.run(api.make("/replication/policies", body))
        assert done["status"] == "Succeed", api.logs(done["id"])
        kept = mine if override else theirs
        assert there.digest(f"{project}/app", "v1") == kept["digest"]


def test_a_copy_is_as_slow_as_the_policy_says(
    api: Api, here: Remote, there: Remote, registry: Registry, second: Registry
) -> None:
    """A lower bound only: nothing can be faster than its limit."""
    project = f"slow{secrets.token_hex(4)}"
    registry.create_project(project)
    here.push_image(f"{project}/app", "v1", [secrets.token_bytes(600_000)])
    body = {
        "name": project,
        "dest_registry": {"id": api.endpoint("second-seawall", second.url, "seawall", second.admin)},
        "filters": [{"type": "name", "value": f"{project}/app"}],
        "trigger": {"type": "manual"},
        "override": True,
        "enabled": True,
        # 2,000 kilobits are 256,000 bytes a second; half a second's worth may go ahead.
        "speed": 2000,
    }
    started = time.monotonic()
    done = api.run(api.make("/replication/policies", body))
    assert done["status"] == "Succeed", api.logs(done["id"])
    assert time.monotonic() - started > 600_000 / 256_000 - 0.5
    there.check(f"{project}/app", "v1")
