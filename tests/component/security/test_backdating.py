"""When a tag was pushed is said by this registry, and by who replicates here; not by every pusher."""

from __future__ import annotations

import secrets

import httpx

from tests.support.api import Api
from tests.support.processes import PASSWORD
from tests.support.registry import Registry
from tests.support.signing import EMPTY, OCI, Pusher

OLD = {"Seawall-Replication": "path=0123456789abcdef; at=1000000000"}


def push(registry: Registry, repository: str, auth: tuple[str, str], *, token: bool) -> None:
    """Push an image that claims to be of the year 2001."""
    pusher = Pusher(registry.url, repository, auth)
    if token:
        scope = {"service": "seawall", "scope": f"repository:{repository}:pull,push"}
        answer = httpx.get(f"{registry.url}/service/token", params=scope, auth=auth, timeout=60)
        pusher.client = httpx.Client(
            base_url=pusher.client.base_url,
            headers={"Authorization": f"Bearer {answer.json()['token']}"},
            timeout=60,
        )
    pusher.client.headers.update(OLD)
    pusher.manifest(
        {
            "schemaVersion": 2,
            "mediaType": OCI,
            "config": {"mediaType": "application/vnd.oci.image.config.v1+json", **pusher.blob(EMPTY)},
            "layers": [],
        },
        "v1",
    )


def robot(admin: Api, project: str, *system: tuple[str, str]) -> tuple[str, str]:
    """A system robot that pushes to the project, with rights on the system."""
    pairs = [{"resource": resource, "action": action} for resource, action in system]
    push_pull = [{"resource": "repository", "action": action} for action in ("push", "pull")]
    permissions = [{"kind": "project", "namespace": project, "access": push_pull}]
    if pairs:
        permissions.append({"kind": "system", "namespace": "/", "access": pairs})
    body = {
        "name": f"r{secrets.token_hex(4)}",
        "level": "system",
        "duration": 1,
        "permissions": permissions,
    }
    made = admin.post("/robots", json=body)
    assert made.status_code == 201, made.text
    return made.json()["name"], made.json()["secret"]


def test_only_who_replicates_dates_a_tag(registry: Registry, admin: Api) -> None:
    project = admin.project()
    _, developer = admin.user()
    admin.member(project, developer, 2)
    replicates = ("replication", "create")
    cases = {
        "developer": ((developer, PASSWORD), False),
        "robot": (robot(admin, project), False),
        "reader": (robot(admin, project, ("replication", "list")), False),
        "replicator": (robot(admin, project, replicates), True),
        "admin": (registry.admin, True),
    }
    for name, (auth, believed) in cases.items():
        for token in (False, True):
            repository = f"{name}-{token}".lower()
            push(registry, f"{project}/{repository}", auth, token=token)
            [found] = admin.get(f"/projects/{project}/repositories/{repository}/artifacts").json()
            dated = found["tags"][0]["push_time"].startswith("2001-09-09")
            assert dated is believed, (name, token)
