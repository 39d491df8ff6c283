"""Existing Harbor tooling: the PyPI client `harborapi` drives a whole life, with skopeo for the pushing.

`harborapi` reads every answer into its models of Harbor's API, so shapes are checked as well as effects;
`harbor-cli` is a command line over the same client.
"""

from __future__ import annotations

import asyncio
import secrets
import subprocess
from collections.abc import Iterator
from pathlib import Path

import httpx
import pytest
from harborapi import HarborAsyncClient
from harborapi.exceptions import Conflict, NotFound
from harborapi.models import (
    Access,
    ProjectMetadata,
    ProjectReq,
    RetentionPolicy,
    RetentionPolicyScope,
    RetentionRule,
    RetentionRuleTrigger,
    RetentionSelector,
    RobotCreate,
    RobotPermission,
    Schedule,
    ScheduleObj,
    Tag,
    Type,
    UserCreationReq,
)

from tests.support.api import Api
from tests.support.oci.layout import write_layout
from tests.support.processes import PASSWORD
from tests.support.registry import Registry
from tests.support.waiting import eventually


@pytest.fixture(scope="module")
def server(
    database_settings: dict[str, str],
    request: pytest.FixtureRequest,
    tmp_path_factory: pytest.TempPathFactory,
) -> Iterator[Registry]:
    """A server of this test's own, whose garbage collection has no grace."""
    settings = {"SEAWALL_GC__GRACE_MINUTES": "0"}
    if database_settings:
        settings["SEAWALL_DATABASE__URL"] = request.getfixturevalue("postgres").migrated()
    registry = Registry(tmp_path_factory.mktemp("harborapi") / "data", settings)
    registry.start()
    try:
        yield registry
    finally:
        registry.close()


def last(location: str) -> str:
    return location.rpartition("/")[2]


async def life(registry: Registry, root: Path) -> None:
    """From an empty project to collected garbage."""
    client = HarborAsyncClient(
        url=f"{registry.url}/api/v2.0", username="admin", secret=PASSWORD, timeout=60, retry=None
    )
    name = f"h{secrets.token_hex(4)}"
    # Project, user, member.
    request = ProjectReq(project_name=name, metadata=ProjectMetadata(public="false"), storage_limit=10**9)
    assert last(await client.create_project(request)) == name  # it asks for names in Location
    with pytest.raises(Conflict):
        await client.create_project(request)
    project = await client.get_project(name)
    project_id = project.project_id
    assert await client.project_exists(name)
    user = UserCreationReq(username=name, password=PASSWORD, email=f"{name}@x.test", realname="H")
    user_id = int(last(await client.create_user(user)))
    await client.add_project_member_user(name, user_id, 2)
    [member] = [item for item in await client.get_project_members(name) if item.entity_name == name]
    assert (member.role_id, member.entity_type) == (2, "u")
    # A robot pushes with skopeo.
    pairs = [("repository", "pull"), ("repository", "push"), ("artifact", "list")]
    permission = RobotPermission(
        kind="project", namespace=name, access=[Access(resource=r, action=a) for r, a in pairs]
    )
    robot = await client.create_robot(
        RobotCreate(name="pusher", level="project", duration=1, permissions=[permission])
    )
    assert robot.name == f"robot${name}+pusher"
    layout = write_layout(root / "image")
    for tag in ("v1", "v2"):
        target = f"docker://{registry.host}/{name}/team/app:{tag}"
        command = ["skopeo", "copy", "--insecure-policy", "--dest-tls-verify=false"]
        command += ["--dest-creds", f"{robot.name}:{robot.secret}", layout.source, target]
        done = await asyncio.to_thread(subprocess.run, command, capture_output=True, text=True, timeout=120)
        assert done.returncode == 0, done.stderr
    # List, retag.
    [repository] = await client.get_repositories(name)
    assert (repository.name, repository.artifact_count) == (f"{name}/team/app", 1)
    [artifact] = await client.get_artifacts(name, "team/app", with_tag=True)
    assert artifact.digest == layout.digest
    assert {tag.name for tag in artifact.tags or []} == {"v1", "v2"}
    await client.create_artifact_tag(name, "team/app", "v1", Tag(name="stable"))
    tags = await client.get_artifact_tags(name, "team/app", "stable")
    assert {tag.name for tag in tags} == {"v1", "v2", "stable"}
    summary = await client.get_project_summary(name)
    assert summary.quota is not None
    assert summary.quota.used is not None
    assert summary.quota.used.model_dump()["storage"] > 0
    found = await client.search("team/app")
    assert [item.repository_name for item in found.repository or []] == [f"{name}/team/app"]
    # Retention: keep `stable` only.
    rule = RetentionRule(
        disabled=False,
        action="retain",
        template="always",
        params={},
        tag_selectors=[RetentionSelector(kind="doublestar", decoration="matches", pattern="stable")],
        scope_selectors={
            "repository": [RetentionSelector(kind="doublestar", decoration="repoMatches", pattern="**")]
        },
    )
    policy = RetentionPolicy(
        algorithm="or",
        rules=[rule],
        trigger=RetentionRuleTrigger(kind="Schedule", settings={"cron": ""}, references={}),
        scope=RetentionPolicyScope(level="project", ref=project_id),
    )
    retention_id = int(last(await client.create_retention_policy(policy)))
    assert await client.get_project_retention_id(name) == retention_id
    await client.start_retention_execution(retention_id)

    async def retained() -> bool:
        [execution, *_] = await client.get_retention_executions(retention_id)
        assert execution.status not in ("Error", "Stopped"), execution
        return execution.status in ("Succeed", "Success")

    await eventually(retained, "retention")
    tags = await client.get_artifact_tags(name, "team/app", layout.digest)
    assert "stable" in {tag.name for tag in tags}
    # Delete, collect.
    await client.delete_artifact(name, "team/app", layout.digest)
    with pytest.raises(NotFound):
        await client.get_artifact(name, "team/app", layout.digest)
    await client.delete_repository(name, "team/app")
    location = await client.create_gc_schedule(
        Schedule(schedule=ScheduleObj(type=Type.manual), parameters={"delete_untagged": True})
    )

    async def collected() -> bool:
        job = await client.get_gc_job(int(last(location)))
        assert job.job_status not in ("Error", "Stopped"), job
        return job.job_status == "Success"

    await eventually(collected, "garbage collection")
    assert await client.get_gc_log(int(last(location)))
    # And away with it all.
    await client.delete_robot(robot.id or 0)
    await client.delete_user(user_id)
    deletable = await client.get_project_deletable(name)
    assert deletable.deletable
    await client.delete_project(name)
    with pytest.raises(NotFound):
        await client.get_project(name)
    logs = await client.get_audit_logs(limit=100)
    told = {(item.operation, item.resource_type) for item in logs if item.resource == name}
    assert {("create", "project"), ("delete", "project")} <= told

    async def healthy() -> bool:
        return (await client.health_check()).status == "healthy"

    await eventually(healthy, "healthy")
    assert (await client.get_statistics()).total_project_count is not None
    assert (await client.get_system_info()).auth_mode == "db_auth"
    assert (await client.get_config()).auth_mode is not None
    assert (await client.get_permissions()).system


def test_whole_life(server: Registry, tmp_path: Path) -> None:
    asyncio.run(life(server, tmp_path))


def test_terraform_provider(server: Registry) -> None:
    """The calls of the Terraform provider for projects, members, robots, users, groups and configuration."""
    with Api(server, server.admin) as api:
        name = f"t{secrets.token_hex(4)}"
        prefix = api.get("/configurations").json()["robot_name_prefix"]["value"]
        created = api.post(
            "/projects",
            json={
                "project_name": name,
                "metadata": {
                    "public": "false",
                    "auto_scan": "true",
                    "prevent_vul": "true",
                    "severity": "high",
                    "enable_content_trust": "false",
                    "enable_content_trust_cosign": "false",
                    "reuse_sys_cve_allowlist": "false",
                },
                "cve_allowlist": {"items": [{"cve_id": "CVE-2024-1"}]},
                "storage_limit": 5 * 2**30,
            },
        )
        assert created.status_code == 201, created.text
        # The provider keeps the path of Location as the resource's id, and reads it back.
        path = created.headers["Location"].removeprefix("/api/v2.0")
        read = api.get(path).json()
        assert read["metadata"]["severity"] == "high"
        assert read["cve_allowlist"]["items"] == [{"cve_id": "CVE-2024-1"}]
        update = {"metadata": {"public": "true", "auto_scan": "false"}}
        assert api.put(path, json=update).status_code == 200
        user = api.post(
            "/users",
            json={
                "username": name,
                "password": PASSWORD,
                "realname": "T",
                "email": f"{name}@x.test",
                "comment": "",
            },
        )
        assert user.status_code == 201, user.text
        user_path = user.headers["Location"].removeprefix("/api/v2.0")
        assert api.get(user_path).json()["email"] == f"{name}@x.test"
        assert api.put(f"{user_path}/sysadmin", json={"sysadmin_flag": False}).status_code == 200
        body = {"role_id": 4, "member_user": {"username": name}}
        member = api.post(f"{path}/members", json=body)
        assert member.status_code == 201, member.text
        member_path = member.headers["Location"].removeprefix("/api/v2.0")
        assert api.get(member_path).json()["role_id"] == 4
        assert api.put(member_path, json={"role_id": 1}).status_code == 200
        access = [{"action": "pull", "resource": "repository"}, {"action": "push", "resource": "repository"}]
        robot = api.post(
            "/robots",
            json={
                "name": "tf",
                "description": "by terraform",
                "disable": False,
                "duration": -1,
                "level": "project",
                "secret": "Terraform-12345",
                "permissions": [{"access": access, "kind": "project", "namespace": name}],
            },
        )
        assert robot.status_code == 201, robot.text
        assert robot.json()["name"] == f"{prefix}{name}+tf"
        robot_path = f"/robots/{robot.json()['id']}"
        stored = api.get(robot_path).json()
        assert stored["permissions"][0]["namespace"] == name
        stored["description"] = "changed"
        assert api.put(robot_path, json=stored).status_code == 200
        assert api.patch(robot_path, json={"secret": "Terraform-67890"}).status_code == 200
        auth = (stored["name"], "Terraform-67890")
        assert httpx.get(f"{server.url}/service/token", auth=auth).status_code == 200
        settings = {"robot_token_duration": 30, "project_creation_restriction": "everyone"}
        assert api.put("/configurations", json=settings).status_code == 200
        for thing in (robot_path, member_path, user_path, path):
            assert api.delete(thing).status_code == 200, thing
