"""What was given on a project is not given on another one that gets its name later."""

from __future__ import annotations

import secrets
from collections.abc import Callable

import httpx

from tests.support.api import Api
from tests.support.processes import PASSWORD
from tests.support.registry import Registry
from tests.support.signing import Pusher
from tests.support.waiting import until


def token(registry: Registry, repository: str, auth: tuple[str, str]) -> dict[str, str]:
    """The header with a token for pushes and pulls."""
    scope = {"service": "seawall", "scope": f"repository:{repository}:pull,push"}
    answer = httpx.get(f"{registry.url}/service/token", params=scope, auth=auth, timeout=60)
    return {"Authorization": f"Bearer {answer.json()['token']}"}


def again(registry: Registry, admin: Api, project: str) -> None:
    """Delete the project with all that is in it, and make another of its name."""
    for item in admin.get(f"/projects/{project}/repositories").json():
        name = item["name"].partition("/")[2]
        assert admin.delete(f"/projects/{project}/repositories/{name}").status_code == 200
    assert admin.delete(f"/projects/{project}").status_code == 200
    admin.made("/projects", {"project_name": project, "metadata": {"public": "false"}})
    Pusher(registry.url, f"{project}/app", registry.admin).image("v1", b"new")


def test_tokens_end_with_the_project(registry: Registry, admin: Api) -> None:
    project = admin.project()
    _, member = admin.user()
    admin.member(project, member, 2)
    repository = f"{project}/app"
    pusher = Pusher(registry.url, repository, (member, PASSWORD))
    pusher.image("v1")
    headers = token(registry, repository, (member, PASSWORD))
    url = f"{registry.url}/v2/{repository}"
    assert httpx.get(f"{url}/manifests/v1", headers=headers, timeout=60).status_code == 200
    again(registry, admin, project)
    refused = httpx.post(f"{url}/blobs/uploads/", headers=headers, timeout=60)
    assert refused.status_code == 401, refused.text
    # A pull may be decided by what was known a second ago (docs/consistency.md).
    until(lambda: httpx.get(f"{url}/manifests/v1", headers=headers, timeout=60).status_code == 401)
    assert httpx.delete(f"{url}/manifests/v1", headers=headers, timeout=60).status_code in (401, 403)
    # A token of now is good.
    fresh = token(registry, repository, registry.admin)
    assert httpx.get(f"{url}/manifests/v1", headers=fresh, timeout=60).status_code == 200


def test_grants_of_robots_end_with_the_project(
    registry: Registry, admin: Api, as_user: Callable[..., Api]
) -> None:
    project, other = admin.project(), admin.project()
    rights = [
        {"resource": resource, "action": action}
        for resource, action in (("repository", "pull"), ("repository", "list"), ("project", "read"))
    ]
    body = {
        "name": f"r{secrets.token_hex(4)}",
        "level": "system",
        "duration": 1,
        "permissions": [
            {"kind": "project", "namespace": name, "access": rights} for name in (project, other)
        ],
    }
    made = admin.post("/robots", json=body).json()
    auth = made["name"], made["secret"]
    for name in (project, other):
        Pusher(registry.url, f"{name}/app", registry.admin).image("v1")
        assert Pusher(registry.url, f"{name}/app", auth).pull("v1").status_code == 200
    again(registry, admin, project)
    robot = as_user(*auth)
    assert Pusher(registry.url, f"{project}/app", auth).pull("v1").status_code in (401, 403)
    assert robot.get(f"/projects/{project}/repositories").status_code == 403
    assert [item["name"] for item in robot.get("/projects", params={"public": "false"}).json()] == [other]
    assert Pusher(registry.url, f"{other}/app", auth).pull("v1").status_code == 200
    # It is not shown as given, and a change of something else does not give it again.
    path = f"/robots/{made['id']}"
    shown = admin.get(path).json()
    assert [item["namespace"] for item in shown["permissions"]] == [other]
    assert admin.put(path, json={**shown, "description": "d"}).status_code == 200
    assert Pusher(registry.url, f"{project}/app", auth).pull("v1").status_code in (401, 403)
    # Given by name once more, it is about the project of now.
    shown["permissions"].append({"kind": "project", "namespace": project, "access": rights})
    assert admin.put(path, json=shown).status_code == 200
    assert Pusher(registry.url, f"{project}/app", auth).pull("v1").status_code == 200
