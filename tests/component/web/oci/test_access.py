"""Tokens, Basic, roles, anonymous pulls, throttling, on a server with authentication."""

from __future__ import annotations

import base64
import hashlib
import json
import os

import httpx
import pytest

from tests.support.processes import PASSWORD
from tests.support.registry import Registry

ROLES = {
    "projectAdmin": {"pull", "push", "delete"},
    "maintainer": {"pull", "push", "delete"},
    "developer": {"pull", "push"},
    "guest": {"pull"},
    "limitedGuest": {"pull"},
}


@pytest.fixture
def project(registry: Registry) -> str:
    """A private project with one blob in `app`."""
    name = f"access-{os.urandom(4).hex()}"
    registry.create_project(name)
    data = name.encode()
    digest = "sha256:" + hashlib.sha256(data).hexdigest()
    answer = httpx.post(
        f"{registry.url}/v2/{name}/app/blobs/uploads/",
        params={"digest": digest},
        content=data,
        auth=registry.admin,
    )
    assert answer.status_code == 201
    return name


def token(registry: Registry, auth: tuple[str, str] | None, *scopes: str) -> dict[str, frozenset[str]]:
    """What a token grants: repository -> actions."""
    answer = httpx.get(
        f"{registry.url}/service/token", params={"service": "seawall", "scope": list(scopes)}, auth=auth
    )
    assert answer.status_code == 200, answer.text
    claims = answer.json()["token"].split(".")[1]
    access = json.loads(base64.urlsafe_b64decode(claims + "==="))["access"]
    return {item["name"]: frozenset(item["actions"]) for item in access}


@pytest.mark.parametrize("role", ROLES)
def test_a_role_gets_its_actions_and_no_more(registry: Registry, project: str, role: str) -> None:
    user = f"{role.lower()}-{os.urandom(3).hex()}"
    registry.create_user(user, PASSWORD)
    registry.add_member(project, user, role)
    name = f"{project}/app"
    granted = token(registry, (user, PASSWORD), f"repository:{name}:pull,push,delete")
    assert granted[name] == ROLES[role]
    # The same by Basic, and by using the registry.
    answer = httpx.post(f"{registry.url}/v2/{name}/blobs/uploads/", auth=(user, PASSWORD))
    assert answer.status_code == (202 if "push" in ROLES[role] else 403)
    digest = "sha256:" + hashlib.sha256(project.encode()).hexdigest()
    answer = httpx.delete(f"{registry.url}/v2/{name}/blobs/{digest}", auth=(user, PASSWORD))
    assert answer.status_code == (202 if "delete" in ROLES[role] else 403)


def test_strangers_see_public_projects_only(registry: Registry, project: str) -> None:
    user = f"stranger-{os.urandom(3).hex()}"
    registry.create_user(user, PASSWORD)
    public = f"open-{os.urandom(4).hex()}"
    registry.create_project(public, public=True)
    wanted = [f"repository:{project}/app:pull,push", f"repository:{public}/app:pull,push,delete"]
    for auth in (None, (user, PASSWORD)):
        granted = token(registry, auth, *wanted)
        assert granted == {f"{project}/app": frozenset(), f"{public}/app": frozenset({"pull"})}
    answer = httpx.get(f"{registry.url}/v2/{project}/app/tags/list")
    assert answer.status_code == 401
    assert f'scope="repository:{project}/app:pull"' in answer.headers["WWW-Authenticate"]


def test_oauth2_form(registry: Registry, project: str) -> None:
    form = {
        "grant_type": "password",
        "service": "seawall",
        "client_id": "test",
        "username": "admin",
        "password": PASSWORD,
        "scope": f"repository:{project}/app:pull repository:{project}/other:push",
    }
    answer = httpx.post(f"{registry.url}/service/token", data=form)
    assert answer.status_code == 200, answer.text
    body = answer.json()
    assert body["access_token"]
    assert body["expires_in"] >= 60
    assert set(body["scope"].split()) == set(form["scope"].split())
    headers = {"Authorization": f"Bearer {body['access_token']}"}
    digest = "sha256:" + hashlib.sha256(project.encode()).hexdigest()
    blob = httpx.get(f"{registry.url}/v2/{project}/app/blobs/{digest}", headers=headers)
    assert blob.content == project.encode()
    refused = httpx.post(f"{registry.url}/v2/{project}/app/blobs/uploads/", headers=headers)
    assert refused.status_code == 401
    challenge = refused.headers["WWW-Authenticate"]
    assert 'error="insufficient_scope"' in challenge
    # What docker shows, in Harbor's words.
    words = f"unauthorized to access repository: {project}/app, action: push"
    assert f'error_description="{words}: {words}"' in challenge


def test_a_mount_needs_pull_on_its_source(registry: Registry, project: str) -> None:
    user = f"mount-{os.urandom(3).hex()}"
    registry.create_user(user, PASSWORD)
    own = f"own-{os.urandom(4).hex()}"
    registry.create_project(own)
    registry.add_member(own, user, "developer")
    digest = "sha256:" + hashlib.sha256(project.encode()).hexdigest()
    answer = httpx.post(
        f"{registry.url}/v2/{own}/app/blobs/uploads/",
        params={"mount": digest, "from": f"{project}/app"},
        auth=(user, PASSWORD),
    )
    assert answer.status_code == 202, "an upload session instead of somebody else's blob"


def test_a_challenge_names_the_source_of_a_mount(registry: Registry, project: str) -> None:
    own = f"own-{os.urandom(4).hex()}"
    registry.create_project(own)
    digest = "sha256:" + hashlib.sha256(project.encode()).hexdigest()
    url, parameters = f"{registry.url}/v2/{own}/app/blobs/uploads/", {"mount": digest}
    asked = httpx.post(url, params={**parameters, "from": f"{project}/app"})
    scope = f"repository:{own}/app:pull,push repository:{project}/app:pull"
    assert (asked.status_code, f'scope="{scope}"' in asked.headers["WWW-Authenticate"]) == (401, True)
    # A client that goes by the challenge need not upload.
    answer = httpx.get(
        f"{registry.url}/service/token", params={"service": "seawall", "scope": scope}, auth=registry.admin
    )
    bearer = {"Authorization": f"Bearer {answer.json()['token']}"}
    mounted = httpx.post(url, params={**parameters, "from": f"{project}/app"}, headers=bearer)
    assert mounted.status_code == 201
    for source in ('x"y/z', f"{own}/app", "no slash"):
        asked = httpx.post(url, params={**parameters, "from": source})
        assert f'scope="repository:{own}/app:pull,push"' in asked.headers["WWW-Authenticate"]


def test_who_lacks_the_right_is_told_so(registry: Registry, project: str) -> None:
    user = f"guest-{os.urandom(3).hex()}"
    registry.create_user(user, PASSWORD)
    registry.add_member(project, user, "guest")
    name = f"{project}/app"
    url = f"{registry.url}/v2/{name}/blobs/uploads/"
    answer = httpx.get(
        f"{registry.url}/service/token",
        params={"service": "seawall", "scope": f"repository:{name}:pull,push"},
        auth=(user, PASSWORD),
    )
    by_token = httpx.post(url, headers={"Authorization": f"Bearer {answer.json()['token']}"})
    by_password = httpx.post(url, auth=(user, PASSWORD))
    message = f"unauthorized to access repository: {name}, action: push"
    errors = [(item.status_code, item.json()["errors"][0]) for item in (by_token, by_password)]
    assert errors == [
        (401, {"code": "UNAUTHORIZED", "message": message}),
        (403, {"code": "DENIED", "message": message}),
    ]
    assert httpx.post(url).json()["errors"][0]["message"] == "authentication required"


def test_failed_logins_are_slowed(registry: Registry) -> None:
    user = f"slow-{os.urandom(3).hex()}"
    registry.create_user(user, PASSWORD)
    url = f"{registry.url}/service/token"
    # The same wrong password again would be no new guess.
    statuses = [httpx.get(url, auth=(user, f"wrong-{n}")).status_code for n in range(7)]
    assert statuses[:5] == [401] * 5
    assert statuses[-1] == 429
    answer = httpx.get(url, auth=(user, PASSWORD))
    assert answer.status_code == 429, "the right password has to wait too"
    assert int(answer.headers["Retry-After"]) > 0
    assert httpx.get(url, auth=registry.admin).status_code == 200, "others are not affected"


def test_passwords_are_argon2_and_change_at_once(registry: Registry) -> None:
    user = f"change-{os.urandom(3).hex()}"
    registry.create_user(user, PASSWORD)
    url = f"{registry.url}/service/token"
    assert httpx.get(url, auth=(user, PASSWORD)).status_code == 200
    done = registry.cli("user", "passwd", user, stdin="Another-9876\n")
    assert done.returncode == 0, done.stderr
    assert httpx.get(url, auth=(user, PASSWORD)).status_code == 401
    assert httpx.get(url, auth=(user, "Another-9876")).status_code == 200
    weak = registry.cli("user", "passwd", user, stdin="short\n")
    assert weak.returncode == 1
    assert weak.stderr.startswith("seawall: ")
    assert "Traceback" not in weak.stderr
