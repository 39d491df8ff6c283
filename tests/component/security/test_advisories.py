"""Faults that were published of Harbor, Distribution, zot and Quay, tried here; see docs/security.md."""

from __future__ import annotations

import json
import secrets
import time
from collections.abc import Callable

import httpx
import pytest
from joserfc import jwt
from joserfc.jwk import RSAKey

from tests.support.api import Api
from tests.support.digests import digest_of
from tests.support.processes import PASSWORD
from tests.support.registry import Registry
from tests.support.signing import EMPTY, OCI, Pusher


def test_registering_makes_no_administrator(admin: Api, anonymous: Api, as_user: Callable[..., Api]) -> None:
    """CVE-2019-16097."""
    for client in (anonymous, admin):
        name = f"u{secrets.token_hex(4)}"
        body = {
            "username": name,
            "password": PASSWORD,
            "email": f"{name}@example.com",
            "realname": name,
            "sysadmin_flag": True,
            "has_admin_role": True,
        }
        answer = client.post("/users", json=body)
        assert answer.status_code in (201, 400, 401, 403, 422)
        if answer.status_code == 201:
            assert as_user(name).get("/users").status_code == 403


def test_a_robot_is_of_its_makers_project(admin: Api, as_user: Callable[..., Api]) -> None:
    """CVE-2019-16919."""
    mine, other = admin.project(), admin.project()
    _, name = admin.user()
    admin.member(mine, name, 1)
    access = [{"resource": "repository", "action": "push"}]
    for namespaces in ([other], [mine, other], ["*"]):
        body = {
            "name": f"r{secrets.token_hex(4)}",
            "level": "project",
            "duration": 1,
            "permissions": [
                {"kind": "project", "namespace": namespace, "access": access} for namespace in namespaces
            ],
        }
        assert as_user(name).post("/robots", json=body).status_code in (400, 403, 404)


def test_users_are_not_counted_out(admin: Api, anonymous: Api, as_user: Callable[..., Api]) -> None:
    """CVE-2019-3990, CVE-2020-13794, CVE-2025-30086."""
    number, name = admin.user()
    _, other = admin.user()
    client = as_user(other)
    assert client.get("/users").status_code == 403
    assert client.get(f"/users/{number}").status_code == 403
    assert anonymous.get("/users/search", params={"username": name}).status_code == 401
    # A filter on a column that is no filter finds nothing out, for whoever may list.
    everybody = admin.get("/users", params={"page_size": 100}).headers["X-Total-Count"]
    for column in ("password", "password_hash", "salt", "Password"):
        for value in ("~%24argon2", "~zzz", "x"):
            answer = admin.get(f"/users?page_size=100&q={column}={value}")
            assert answer.status_code in (200, 400)
            if answer.status_code == 200:
                assert answer.headers["X-Total-Count"] == everybody


def test_the_catalog_is_for_who_is_signed_in(registry: Registry) -> None:
    """CVE-2020-29662, CVE-2023-2253."""
    assert httpx.get(f"{registry.url}/v2/_catalog", timeout=60).status_code == 401
    for n in ("999999999", "99999999999999999999", "-1"):
        answer = httpx.get(f"{registry.url}/v2/_catalog?n={n}", auth=registry.admin, timeout=60)
        assert answer.status_code in (200, 400)
        if answer.status_code == 200:
            assert len(answer.json()["repositories"]) <= 1000


def test_private_projects_are_not_told_from_none(
    admin: Api, anonymous: Api, as_user: Callable[..., Api]
) -> None:
    """CVE-2019-19030."""
    private, none = admin.project(public="false"), f"p{secrets.token_hex(5)}"
    _, name = admin.user()
    for client in (anonymous, as_user(name)):
        for path in ("/projects/{}", "/projects/{}/repositories", "/projects/{}/members"):
            answers = [client.get(path.format(item)).status_code for item in (private, none)]
            assert answers[0] == answers[1] in (401, 403, 404), path


def test_queries_are_no_sql(admin: Api) -> None:
    """CVE-2019-19026, CVE-2019-19029, CVE-2024-22261."""
    attacks = (
        "name;select 1",
        "name desc, (select 1)",
        "1) or (1=1",
        "name'--",
        "-case when 1=1 then id end",
    )
    for path in ("/projects", "/users", "/quotas", "/usergroups", "/audit-logs", "/robots"):
        plain = admin.get(path).headers.get("X-Total-Count")
        for attack in attacks:
            for query in ({"sort": attack}, {"q": f"name={attack}"}, {"q": f"{attack}=1"}):
                answer = admin.get(path, params=query)
                assert answer.status_code in (200, 400), (path, query, answer.text)
                total = answer.headers.get("X-Total-Count")
                assert answer.status_code == 400 or total is None or int(total) <= int(plain or 0)


def test_a_maintainer_does_not_configure(admin: Api, as_user: Callable[..., Api]) -> None:
    """CVE-2024-22278."""
    project = admin.project(public="false")
    _, name = admin.user()
    admin.member(project, name, 4)
    client = as_user(name)
    path = f"/projects/{project}/metadatas"
    assert client.post(f"{path}/", json={"auto_scan": "true"}).status_code == 403
    assert client.put(f"{path}/public", json={"public": "true"}).status_code == 403
    assert client.delete(f"{path}/public").status_code == 403


def test_a_document_is_image_or_index(registry: Registry, admin: Api) -> None:
    """CVE-2021-41190."""
    project = admin.project()
    pusher = Pusher(registry.url, f"{project}/app", registry.admin)
    config = {"mediaType": "application/vnd.oci.image.config.v1+json", **pusher.blob(EMPTY)}
    document = {"schemaVersion": 2, "config": config, "layers": [], "manifests": []}
    for kind in (OCI, "application/vnd.oci.image.index.v1+json"):
        answer = pusher.client.put(
            "/manifests/v1",
            content=json.dumps({**document, "mediaType": kind}).encode(),
            headers={"Content-Type": kind},
        )
        assert answer.status_code == 400


@pytest.mark.parametrize("header", ["jwk", "kid"])
def test_a_token_brings_no_key_of_its_own(registry: Registry, admin: Api, header: str) -> None:
    """CVE-2025-24976."""
    project = admin.project()
    Pusher(registry.url, f"{project}/app", registry.admin).image("v1")
    key = RSAKey.generate_key(2048)
    now = int(time.time())
    claims = {
        "iss": "seawall",
        "aud": "seawall",
        "sub": "admin",
        "iat": now,
        "nbf": now - 30,
        "exp": now + 300,
        "access": [{"type": "repository", "name": f"{project}/app", "actions": ["*"]}],
    }
    extra = {"jwk": key.as_dict(private=False)} if header == "jwk" else {"kid": key.thumbprint()}
    token = jwt.encode({"alg": "RS256", **extra}, claims, key)
    answer = httpx.get(
        f"{registry.url}/v2/{project}/app/manifests/v1",
        headers={"Authorization": f"Bearer {token}"},
        timeout=60,
    )
    assert answer.status_code == 401


def test_a_blob_is_seen_where_it_may_be_read(
    registry: Registry, admin: Api, as_user: Callable[..., Api]
) -> None:
    """CVE-2024-39897 (zot)."""
    private, mine = admin.project(public="false"), admin.project()
    _, name = admin.user()
    admin.member(mine, name, 2)
    data = secrets.token_bytes(64)
    Pusher(registry.url, f"{private}/app", registry.admin).blob(data)
    thief = Pusher(registry.url, f"{mine}/app", (name, PASSWORD))
    thief.image("v1")
    digest = digest_of(data)
    assert thief.client.head(f"/blobs/{digest}").status_code == 404
    assert thief.client.get(f"/blobs/{digest}").status_code == 404
    # Nor does a mount from where it may not be read bring it here.
    answer = thief.client.post("/blobs/uploads/", params={"mount": digest, "from": f"{private}/app"})
    assert answer.status_code in (202, 401, 403)
    assert thief.client.head(f"/blobs/{digest}").status_code == 404


def test_the_whole_password_counts(admin: Api, registry: Registry, as_user: Callable[..., Api]) -> None:
    """CVE-2024-9683 (Quay)."""
    name = f"u{secrets.token_hex(4)}"
    password = "Aa1" + "x" * 97
    registry.create_user(name, password)
    assert as_user(name, password).get("/users/current").status_code == 200
    for part in (password[:72], password[:99], password + "x"):
        assert as_user(name, part).get("/users/current").status_code == 401


def test_the_portal_is_in_no_frame(registry: Registry) -> None:
    """CVE-2023-4956 (Quay)."""
    headers = httpx.get(f"{registry.url}/", timeout=60, follow_redirects=True).headers
    assert "frame-ancestors 'none'" in headers.get("Content-Security-Policy", "")
