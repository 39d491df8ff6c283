"""Faults that were published of other registries, tried here; see docs/security.md."""

from __future__ import annotations

import base64
import json
import secrets
import socket
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


def test_a_private_project_is_pulled_by_its_readers(
    registry: Registry, admin: Api, as_user: Callable[..., Api]
) -> None:
    """CVE-2026-27771 (Gitea, Forgejo): nor with a token that anybody gets, nor through a virtual project."""
    private, public = admin.project(public="false"), admin.project(public="true")
    virtual = admin.project(public="true", virtual_members=f"{private},{public}")
    _, stranger = admin.user()
    owner = Pusher(registry.url, f"{private}/app", registry.admin)
    digest = owner.image("v1")
    layer = owner.blob(secrets.token_bytes(64))["digest"]
    config = {"mediaType": "application/vnd.oci.image.config.v1+json", **owner.blob(EMPTY)}
    subject = {"mediaType": OCI, "digest": digest, "size": 1}
    attached = {"schemaVersion": 2, "mediaType": OCI, "config": config, "layers": [], "subject": subject}
    owner.manifest(attached)
    # Other processes may know the virtual projects of five seconds ago.
    time.sleep(5.5)
    for auth in (None, (stranger, PASSWORD)):
        with httpx.Client(base_url=registry.url, auth=auth, timeout=60) as client:
            for project in (private, virtual):
                challenge = client.get(f"/v2/{project}/app/manifests/v1", auth=None).headers[
                    "www-authenticate"
                ]
                service = challenge.partition('service="')[2].partition('"')[0]
                scopes = [("scope", f"repository:{name}/app:pull,*") for name in (private, virtual, public)]
                asked = client.get("/service/token", params=[("service", service), *scopes])
                headers: list[dict[str, str]] = [{}]
                if asked.is_success:
                    headers.append({"Authorization": f"Bearer {asked.json()['token']}"})
                for path in (
                    "manifests/v1",
                    f"manifests/{digest}",
                    f"blobs/{layer}",
                    f"referrers/{digest}",
                    "tags/list",
                ):
                    for method in ("GET", "HEAD"):
                        for header in headers:
                            answer = client.request(
                                method,
                                f"/v2/{project}/app/{path}",
                                headers=header,
                                auth=None if header else auth,
                            )
                            if path.startswith("referrers") and project == virtual and answer.is_success:
                                # As of a name that is nowhere.
                                assert method == "HEAD" or answer.json()["manifests"] == []
                                continue
                            assert answer.status_code in (401, 403, 404), (method, path, answer.text)


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


def test_nobody_gets_at_anothers_account(admin: Api, as_user: Callable[..., Api]) -> None:
    """CVE-2019-19023: a user became an administrator."""
    number, name = admin.user()
    _, other = admin.user()
    profile = {"email": f"{name}@example.com", "realname": "x", "comment": ""}
    client = as_user(other)
    for path, body in (
        ("", profile),
        ("/password", {"new_password": "Stolen-12345"}),
        ("/sysadmin", {"sysadmin_flag": True}),
        ("/cli_secret", {"secret": "Stolen-12345"}),
    ):
        for user_id in (1, number):
            assert client.put(f"/users/{user_id}{path}", json=body).status_code in (403, 412), path
    assert as_user(name).get("/users/current").status_code == 200


def test_secrets_stay_out_of_audit_and_logs(registry: Registry, admin: Api) -> None:
    """GHSA-prh4-vhfh-24mj, CVE-2025-48374 (zot)."""
    secret = f"Hidden-{secrets.token_hex(8)}"
    kept = {"ldap_search_password": secret, "oidc_client_secret": secret}
    try:
        assert admin.put("/configurations", json=kept).status_code == 200
        shown = admin.get("/configurations").text
        trails = [
            admin.get(path, params={"page_size": 100}).text for path in ("/audit-logs", "/auditlog-exts")
        ]
    finally:
        admin.put("/configurations", json=dict.fromkeys(kept, ""))
    assert secret not in shown
    assert all(secret not in trail for trail in trails)
    assert secret not in registry.log.read_text()


def test_filters_tell_nothing_of_secrets(admin: Api) -> None:
    """CVE-2026-92770 (GHSA-vwvv-675v-p6rr): a scanner's credential was guessed letter by letter."""
    for path in ("/scanners", "/registries", "/robots", "/p2p/preheat/instances", "/usergroups", "/projects"):
        everything = admin.get(path, params={"page_size": 100})
        assert everything.status_code == 200, path
        for column in (
            "access_cred",
            "access_credential",
            "access_secret",
            "auth",
            "auth_data",
            "auth_info",
            "secret",
            "secret_hash",
            "password_hash",
        ):
            for query in ({"q": f"{column}=~a"}, {"q": f"{column}=[a~b]"}, {"sort": column}):
                answer = admin.get(path, params={"page_size": 100, **query})
                told = answer.headers.get("X-Total-Count"), answer.json()
                plain = everything.headers.get("X-Total-Count"), everything.json()
                assert answer.status_code == 400 or told == plain, (path, query)


def raw(registry: Registry, method: str, target: str, auth: tuple[str, str] | None, *headers: str) -> int:
    """The status of a request whose target goes out exactly as it is; 0: closed without an answer."""
    lines = [f"{method} {target} HTTP/1.1", f"Host: {registry.host}", "Connection: close", *headers]
    if auth is not None:
        lines.append("Authorization: Basic " + base64.b64encode(":".join(auth).encode()).decode())
    with socket.create_connection(("127.0.0.1", registry.port), timeout=60) as connection:
        connection.sendall(("\r\n".join(lines) + "\r\n\r\n").encode("latin-1"))
        answer = connection.recv(64)
    return int(answer.split(b" ", 2)[1]) if answer.startswith(b"HTTP/") else 0


def test_a_path_means_one_thing(registry: Registry, admin: Api) -> None:
    """GHSA-qj39-pjf2-wmrc: the check read one path, and the handler another."""
    private, public = admin.project(public="false"), admin.project(public="true")
    for project in (private, public):
        Pusher(registry.url, f"{project}/app", registry.admin).image("v1")
    _, name = admin.user()
    admin.member(public, name, 2)
    developer = (name, PASSWORD)
    assert raw(registry, "GET", f"/v2/{public}/app/manifests/v1", developer) == 200
    assert raw(registry, "GET", f"/v2/{private}/app/manifests/v1", developer) in (401, 403, 404)
    spellings = [
        f"/v2/{public}/app/../../{private}/app/manifests/v1",
        f"/v2/{public}/../{private}/app/manifests/v1",
        f"/v2/{public}/%2e%2e/{private}/app/manifests/v1",
        f"/v2/{public}/..%2f{private}/app/manifests/v1",
        f"/v2/{public}%2f..%2f{private}/app/manifests/v1",
        f"/v2/{public}/%252e%252e/{private}/app/manifests/v1",
        f"/v2//{private}/app/manifests/v1",
        f"/v2/;/{private}/app/manifests/v1",
        f"/v2/{public};/../{private}/app/manifests/v1",
        f"/v2/{public}/app/manifests/v1/../../../../{private}/app/manifests/v1",
        f"/v2/{public}/app/manifests/..%2f..%2f..%2f{private}%2fapp%2fmanifests%2fv1",
        f"/v2/./{private}/app/manifests/v1",
        f"/v2/{public}\\..\\{private}/app/manifests/v1",
        f"/v2/{private.upper()}/app/manifests/v1",
        f"/healthz/../v2/{private}/app/manifests/v1",
        f"/metrics/..;/v2/{private}/app/manifests/v1",
        f"http://{registry.host}/v2/{private}/app/manifests/v1",
    ]
    for target in spellings:
        for method in ("GET", "HEAD", "DELETE"):
            assert raw(registry, method, target, developer) not in (200, 202), (method, target)
    api = [
        f"/api/v2.0/projects/{public}/../{private}",
        f"/api/v2.0/projects/{public}/%2e%2e/{private}",
        f"/api/v2.0//projects/{private}",
        f"/api/v2.0/projects/{public}%2f..%2f{private}",
        f"/api/v2.0/projects/{public};/../{private}",
        f"/api/v2.0/projects/{public}/repositories/..%252f..%252f{private}%252fapp/artifacts/v1",
        f"/api/v2.0/projects/{public}/repositories/%2e%2e%252f{private}%252fapp/artifacts/v1",
        "/api/v2.0/ping/../users",
        "/api/v2.0/health/%2e%2e/users",
        "/portal/../api/v2.0/users",
    ]
    for target in api:
        assert raw(registry, "GET", target, developer) != 200, target
    # Names of other methods and of the path in headers, which some proxies and frameworks take up.
    for header in (
        "X-HTTP-Method-Override: GET",
        f"X-Original-URL: /v2/{public}/app/manifests/v1",
        f"X-Rewrite-URL: /v2/{public}/app/manifests/v1",
        f"X-Forwarded-Prefix: /v2/{public}",
        "X-Forwarded-User: admin",
        "X-Remote-User: admin",
        "X-Harbor-Username: admin",
    ):
        assert raw(registry, "GET", f"/v2/{private}/app/manifests/v1", developer, header) != 200, header
        assert raw(registry, "GET", "/api/v2.0/users", None, header) == 401, header
    assert Pusher(registry.url, f"{private}/app", registry.admin).pull("v1").status_code == 200


def test_a_robot_of_all_projects_keeps_to_its_rights(admin: Api, as_user: Callable[..., Api]) -> None:
    """GHSA-xq2m-cj8w-56v5: a right on every project became every right on each."""
    project = admin.project()
    access = [{"resource": "repository", "action": "pull"}]
    mine = {
        "name": f"r{secrets.token_hex(4)}",
        "level": "project",
        "duration": 1,
        "permissions": [{"kind": "project", "namespace": project, "access": access}],
    }
    victim = admin.post("/robots", json=mine).json()["id"]
    access = [{"resource": "project", "action": action} for action in ("read", "update", "delete")]
    body = {
        "name": f"r{secrets.token_hex(4)}",
        "level": "system",
        "duration": 1,
        "permissions": [{"kind": "project", "namespace": "*", "access": access}],
    }
    made = admin.post("/robots", json=body)
    assert made.status_code == 201, made.text
    robot = as_user(made.json()["name"], made.json()["secret"])
    assert robot.get(f"/projects/{project}").status_code == 200
    assert robot.put(f"/robots/{victim}", json={**mine, "disable": True}).status_code == 403
    assert robot.patch(f"/robots/{victim}", json={"secret": "Stolen-12345"}).status_code == 403
    assert robot.delete(f"/robots/{victim}").status_code == 403
    for path in ("members", "repositories", "webhook/policies", "immutabletagrules"):
        assert robot.get(f"/projects/{project}/{path}").status_code == 403, path
    member = {"role_id": 1, "member_user": {"username": admin.user()[1]}}
    assert robot.post(f"/projects/{project}/members", json=member).status_code == 403
    # To give robots new rights is nobody's to give.
    body["permissions"] = [
        {"kind": "project", "namespace": "*", "access": [{"resource": "robot", "action": "update"}]}
    ]
    body["name"] = f"r{secrets.token_hex(4)}"
    assert admin.post("/robots", json=body).status_code == 400


def test_a_deleted_blob_stays_deleted(registry: Registry, admin: Api) -> None:
    """CVE-2026-35172 (Distribution): it came back once another repository had been asked for it."""
    project = admin.project()
    data = secrets.token_bytes(64)
    digest = digest_of(data)
    one, two = (Pusher(registry.url, f"{project}/{name}", registry.admin) for name in ("one", "two"))
    for pusher in (one, two):
        pusher.blob(data)
    assert one.client.get(f"/blobs/{digest}").status_code == 200
    assert one.client.delete(f"/blobs/{digest}").status_code == 202
    for _ in range(3):
        assert two.client.get(f"/blobs/{digest}").status_code == 200
        assert two.client.head(f"/blobs/{digest}").status_code == 200
        assert one.client.get(f"/blobs/{digest}").status_code == 404
        assert one.client.head(f"/blobs/{digest}").status_code == 404


def test_to_delete_needs_the_right_to(registry: Registry, admin: Api) -> None:
    """CVE-2026-41888 (Distribution), CVE-2026-61833 (zot)."""
    project = admin.project()
    _, name = admin.user()
    admin.member(project, name, 2)
    pusher = Pusher(registry.url, f"{project}/app", (name, PASSWORD))
    digest = pusher.image("v1")
    for actions in ("pull,push", "pull,push,delete", "*"):
        scope = {"service": "seawall", "scope": f"repository:{project}/app:{actions}"}
        answer = httpx.get(f"{registry.url}/service/token", params=scope, auth=(name, PASSWORD), timeout=60)
        headers = {"Authorization": f"Bearer {answer.json()['token']}"}
        for reference in ("v1", digest):
            url = f"{registry.url}/v2/{project}/app/manifests/{reference}"
            assert httpx.delete(url, headers=headers, timeout=60).status_code in (401, 403), (
                actions,
                reference,
            )
            assert pusher.client.delete(f"/manifests/{reference}").status_code in (401, 403)
    assert pusher.pull("v1").status_code == 200


def test_an_upload_is_of_its_repository(registry: Registry, admin: Api) -> None:
    """CVE-2026-32589 (Quay): whoever might push anywhere took part in everybody's uploads."""
    theirs, mine = admin.project(), admin.project()
    _, name = admin.user()
    admin.member(mine, name, 1)
    thief = Pusher(registry.url, f"{mine}/app", (name, PASSWORD))
    owner = Pusher(registry.url, f"{theirs}/app", registry.admin)
    location = owner.client.post("/blobs/uploads/").headers["Location"]
    session = location.rpartition("/")[2]
    assert owner.client.patch(f"/blobs/uploads/{session}", content=b"secret").status_code == 202
    digest = digest_of(b"secret")
    for base in (f"{registry.url}/v2/{mine}/app", f"{registry.url}/v2/{theirs}/app"):
        url = f"{base}/blobs/uploads/{session}"
        for method, query in (("GET", ""), ("PATCH", ""), ("PUT", f"?digest={digest}"), ("DELETE", "")):
            answer = thief.client.request(method, url + query, content=b"x" if method == "PATCH" else None)
            assert answer.status_code in (401, 403, 404), (method, base)
    assert owner.client.put(f"/blobs/uploads/{session}", params={"digest": digest}).status_code == 201
    assert owner.client.get(f"/blobs/{digest}").content == b"secret"


def test_a_robots_secret_is_shown_once(admin: Api) -> None:
    """CVE-2026-18255, CVE-2026-105447 (Quay)."""
    project = admin.project()
    access = [{"resource": "repository", "action": "pull"}]
    body = {
        "name": f"r{secrets.token_hex(4)}",
        "level": "project",
        "duration": 1,
        "permissions": [{"kind": "project", "namespace": project, "access": access}],
    }
    made = admin.post("/robots", json=body).json()
    number = admin.get(f"/projects/{project}").json()["project_id"]
    for path in (f"/robots/{made['id']}", f"/robots?q=Level=project,ProjectID={number}"):
        answer = admin.get(path)
        assert answer.status_code == 200, answer.text
        assert made["secret"] not in answer.text
        assert not any(item.get("secret") for item in ([answer.json()] if "?" not in path else answer.json()))


def test_what_a_provider_sends_back_is_no_page(registry: Registry) -> None:
    """CVE-2026-102295 (Quay): the callback of the sign-in showed what stood in its address."""
    script = "<script>alert(1)</script>"
    for path in ("/c/oidc/callback", "/c/oidc/login", "/c/login"):
        for query in ({"error": script, "error_description": script}, {"code": script, "state": script}):
            answer = httpx.get(registry.url + path, params=query, timeout=60, follow_redirects=False)
            assert script not in answer.text, path
            assert answer.headers.get("X-Content-Type-Options") == "nosniff"


def test_an_immutable_latest_is_not_overwritten(registry: Registry, admin: Api) -> None:
    """CVE-2026-31801 (zot): the tag `latest` was left out of the check."""
    project = admin.project()
    pusher = Pusher(registry.url, f"{project}/app", registry.admin)
    digest = pusher.image("latest", b"first")
    selector = {"kind": "doublestar", "decoration": "matches", "pattern": "**"}
    rule = {
        "action": "immutable",
        "template": "immutable_template",
        "tag_selectors": [selector],
        "scope_selectors": {"repository": [{**selector, "decoration": "repoMatches"}]},
    }
    admin.made(f"/projects/{project}/immutabletagrules", rule)
    with pytest.raises(AssertionError):
        pusher.image("latest", b"second")
    assert pusher.pull("latest").headers["Docker-Content-Digest"] == digest
