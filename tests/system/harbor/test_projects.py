"""Cases about projects, members, labels, quotas and logs."""

from __future__ import annotations

import time

from tests.support.harbor.caller import Caller, artifact


def private_projects(caller: Caller) -> list[int]:
    return [item["project_id"] for item in caller.call("GET", "/projects", public="false")]


def test_a_member_sees_the_private_project(admin: Caller) -> None:
    user_id, user = admin.user()
    project, _ = admin.project()
    assert private_projects(user) == []
    admin.member(project, user_id)
    assert private_projects(user) == [project]


def test_a_global_label_on_an_artifact(admin: Caller) -> None:
    user_id, user = admin.user()
    project, name = admin.project()
    admin.member(project, user_id)
    user.image(f"{name}/app", "latest")
    label = admin.made("/labels", {"name": f"global-{user_id}", "scope": "g"})
    user.call("POST", f"{artifact(f'{name}/app', 'latest')}/labels", body={"id": label})
    found = user.call("GET", artifact(f"{name}/app", "latest"), with_label=True)
    assert [item["id"] for item in found["labels"]] == [label]
    user.call("DELETE", f"{artifact(f'{name}/app', 'latest')}/labels/{label}")


def test_copy_needs_the_role_in_the_target(admin: Caller) -> None:
    _, user = admin.user()
    _, source = user.project()
    target_id, target = user.project()
    [me] = user.call("GET", f"/projects/{target_id}/members")
    admin.call("PUT", f"/projects/{target_id}/members/{me['id']}", body={"role_id": 3})
    digest = admin.image(f"{source}/app", "latest")
    assert [item["name"] for item in user.call("GET", f"/projects/{source}/repositories")] == [
        f"{source}/app"
    ]
    copies = f"/projects/{target}/repositories/copy/artifacts"
    user.api("POST", copies, 403, params={"from": f"{source}/app@{digest}"})
    admin.call("PUT", f"/projects/{target_id}/members/{me['id']}", body={"role_id": 1})
    user.api("POST", copies, 201, params={"from": f"{source}/app@{digest}"})
    assert user.call("GET", artifact(f"{target}/copy", "latest"))["digest"] == digest
    assert user.pull(f"{target}/copy", "latest").headers["Docker-Content-Digest"] == digest


def test_a_deleted_repository_is_listed_no_more(admin: Caller) -> None:
    _, user = admin.user()
    project, name = user.project()
    admin.image(f"{name}/app")
    assert [item["name"] for item in user.call("GET", f"/projects/{name}/repositories")] == [f"{name}/app"]
    user.call("DELETE", f"/projects/{name}/repositories/app")
    assert user.call("GET", f"/projects/{name}/repositories") == []
    user.call("DELETE", f"/projects/{project}")


def test_only_administrators_make_projects_when_so_set(admin: Caller) -> None:
    _, user = admin.user()
    admin.call("PUT", "/configurations", body={"project_creation_restriction": "adminonly"})
    refused = user.call("POST", "/projects", 403, {"project_name": f"{user.name}-p", "metadata": {}})
    assert refused["errors"] == [{"code": "FORBIDDEN", "message": "Only system admin can create project"}]
    admin.call("PUT", "/configurations", body={"project_creation_restriction": "everyone"})
    user.project()


def test_members_come_change_and_go(admin: Caller) -> None:
    _, alice = admin.user()
    bob_id, bob = admin.user()
    carol_id, carol = admin.user()
    project, name = alice.project()
    alice.image(f"{name}/app")

    def roles() -> dict[str, int]:
        return {i["entity_name"]: i["role_id"] for i in alice.call("GET", f"/projects/{project}/members")}

    assert roles() == {alice.name: 1}
    path = alice.member(project, bob_id, 3)
    assert roles()[bob.name] == 3
    for role in (2, 1):
        alice.call("PUT", path, body={"role_id": role})
        assert roles()[bob.name] == role
    bob.member(project, carol_id, 3)
    assert roles()[carol.name] == 3
    alice.call("DELETE", path)
    assert roles() == {alice.name: 1, carol.name: 3}


def test_the_allowlist_of_a_project(admin: Caller) -> None:
    user_id, user = admin.user()
    project, _ = admin.project()
    path = admin.member(project, user_id, 3)
    shown = user.call("GET", f"/projects/{project}")
    assert not shown["metadata"].get("reuse_sys_cve_allowlist")
    assert shown["cve_allowlist"]["items"] == []
    ends = int(time.time()) + 1000
    allowed = {"cve_allowlist": {"items": [{"cve_id": "CVE-2019-12310"}], "expires_at": ends}}
    user.call("PUT", f"/projects/{project}", 403, allowed)
    admin.call("PUT", path, body={"role_id": 1})
    user.call("PUT", f"/projects/{project}", body=allowed)
    shown = user.call("GET", f"/projects/{project}")["cve_allowlist"]
    assert (shown["items"], shown["expires_at"]) == ([{"cve_id": "CVE-2019-12310"}], ends)
    user.call("PUT", f"/projects/{project}", body={"cve_allowlist": {"items": []}})
    shown = user.call("GET", f"/projects/{project}")["cve_allowlist"]
    assert (shown["items"], shown.get("expires_at")) == ([], None)
    user.call("PUT", f"/projects/{project}", body={"metadata": {"reuse_sys_cve_allowlist": "true"}})
    assert user.call("GET", f"/projects/{project}")["metadata"]["reuse_sys_cve_allowlist"] == "true"


def test_a_second_tag_or_repository_costs_no_quota(admin: Caller) -> None:
    user_id, user = admin.user()
    project, name = admin.project()
    admin.member(project, user_id)

    def used() -> int:
        [quota] = admin.call("GET", "/quotas", reference="project", reference_id=project)
        return int(quota["used"]["storage"])

    assert used() == 0
    digest = user.image(f"{name}/base/app", "3.10")
    size = used()
    assert size > 0
    copies = f"/projects/{name}/repositories/base%252Fapp_alias/artifacts"
    user.api("POST", copies, 201, params={"from": f"{name}/base/app@{digest}"})
    assert used() == size
    for repository in ("base%252Fapp", "base%252Fapp_alias"):
        admin.call("DELETE", f"/projects/{name}/repositories/{repository}")
    assert used() == 0


def test_quotas_sorted_by_what_is_used(admin: Caller) -> None:
    _, user = admin.user()
    for size in (4000, 1000):
        _, name = user.project()
        user.image(f"{name}/app", size=size)
    for sort, turn in (("used.storage", 1), ("-used.storage", -1)):
        listed = admin.call("GET", "/quotas", reference="project", sort=sort, page_size=100)
        sizes = [turn * item["used"]["storage"] for item in listed]
        assert len(sizes) > 1
        assert sizes == sorted(sizes)


def test_the_catalog_and_tags_in_pages(admin: Caller) -> None:
    _, alice = admin.user()
    _, name = alice.project()
    repositories = [f"{name}/image_{letter}" for letter in "abc"]
    for repository in repositories:
        alice.image(repository, "latest")
    for tag in ("1.0", "2.0", "3.0"):
        alice.tag(repositories[2], "latest", tag)

    def paged(caller: Caller, path: str, member: str, size: int) -> list[str]:
        found: list[str] = []
        while True:
            last = {"last": found[-1]} if found else {}
            page = caller.http.get(path, params={"n": str(size), **last}).json().get(member) or []
            if not page:
                return found
            assert len(page) <= size
            found += page

    wanted = ["1.0", "2.0", "3.0", "latest"]
    tags = f"/v2/{repositories[2]}/tags/list"
    assert alice.http.get(tags).json()["tags"] == wanted
    assert paged(alice, tags, "tags", 3) == wanted
    everything = admin.http.get("/v2/_catalog").json()["repositories"]
    assert set(repositories) <= set(everything)
    assert set(repositories) <= set(paged(admin, "/v2/_catalog", "repositories", 3))
    # Harbor's catalog is its administrator's alone. Here everybody has one, of what they may pull.
    _, stranger = admin.user()
    assert not set(repositories) & set(stranger.http.get("/v2/_catalog").json()["repositories"])


def test_a_limited_guest_reads_the_repository(admin: Caller) -> None:
    user_id, user = admin.user()
    project, name = admin.project()
    admin.member(project, user_id, 5)
    admin.image(f"{name}/base/app", "3.10")
    found = user.call("GET", f"/projects/{name}/repositories/base%252Fapp")
    assert (found["project_id"], found["name"]) == (project, f"{name}/base/app")


def test_the_log_of_a_project(admin: Caller) -> None:
    _, user = admin.user()
    _, name = user.project()

    def count(who: str, resource: str, kind: str, operation: str) -> int:
        wanted = {"username": who, "resource": resource, "resource_type": kind, "operation": operation}
        found = user.call("GET", f"/projects/{name}/auditlog-exts")
        return sum({key: item[key] for key in wanted} == wanted for item in found)

    assert count(user.name, name, "project", "create") == 1
    admin.image(f"{name}/app", "latest")
    assert count("admin", f"{name}/app:latest", "artifact", "create") == 1
    user.call("DELETE", f"/projects/{name}/repositories/app")
    assert count(user.name, f"{name}/app", "repository", "delete") == 1
