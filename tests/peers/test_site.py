"""Two instances with everything of their own behind one balancer."""

from __future__ import annotations

import httpx

from tests.conftest import PASSWORD
from tests.peers.conftest import Site
from tests.trust.signing import Pusher


def test_made_on_one_used_on_the_other(site: Site) -> None:
    a, b = site.api(site.a), site.api(site.b)
    project = a.project()
    # At once: the answer came after B had taken it.
    assert b.get(f"/projects/{project}").status_code == 200
    _, name = b.user()
    a.member(project, name, 2)
    member = Pusher(site.b.url, f"{project}/app", (name, PASSWORD))
    digest = member.image("v1")
    assert Pusher(site.a.url, f"{project}/app", (name, PASSWORD)).pull("v1").status_code == 200
    robot = b.post(
        "/robots",
        json={
            "name": "ci",
            "level": "project",
            "duration": -1,
            "permissions": [
                {
                    "kind": "project",
                    "namespace": project,
                    "access": [{"resource": "repository", "action": "pull"}],
                }
            ],
        },
    )
    assert robot.status_code == 201, robot.text
    token = httpx.get(
        f"{site.a.url}/service/token",
        params={"service": "seawall", "scope": f"repository:{project}/app:pull"},
        auth=(robot.json()["name"], robot.json()["secret"]),
    ).json()["token"]
    pulled = httpx.get(
        f"{site.b.url}/v2/{project}/app/manifests/v1", headers={"Authorization": f"Bearer {token}"}
    )
    assert pulled.headers["docker-content-digest"] == digest
    site.settle()
