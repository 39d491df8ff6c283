"""The envelope, paging, filters and the projects' life over HTTP, on both databases."""

from __future__ import annotations

import secrets
from collections.abc import Callable

import httpx
import pytest

from seawall.infra.db.listing import Condition
from seawall.kernel.errors import InvalidError
from seawall.web.harbor.query import parse_q
from tests.support import openapi
from tests.support.api import Api, code
from tests.support.oci.client import unique
from tests.support.processes import free_port
from tests.support.waiting import until


def test_project_life(admin: httpx.Client, anonymous: httpx.Client) -> None:
    name = f"p{secrets.token_hex(4)}"
    body = {
        "project_name": name,
        "metadata": {"public": "false", "auto_scan": "true"},
        "storage_limit": 10**9,
    }
    made = admin.post("/projects", json=body)
    assert made.status_code == 201, made.text
    project_id = made.headers["Location"].rpartition("/")[2]
    assert made.headers["X-Request-Id"]
    assert code(admin.post("/projects", json=body)) == "CONFLICT"
    found = admin.get(f"/projects/{project_id}").json()
    assert found["name"] == name
    assert found["metadata"] == {"public": "false", "auto_scan": "true"}
    assert found["owner_name"] == "admin"
    assert admin.get(f"/projects/{name}").json() == found
    assert admin.get(f"/projects/{project_id}", headers={"X-Is-Resource-Name": "true"}).status_code == 404
    assert admin.head("/projects", params={"project_name": name}).status_code == 200
    assert admin.head("/projects", params={"project_name": name + "x"}).status_code == 404
    hidden = anonymous.get(f"/projects/{name}")
    assert (hidden.status_code, code(hidden)) == (401, "UNAUTHORIZED")
    summary = admin.get(f"/projects/{name}/summary").json()
    assert summary["quota"] == {"hard": {"storage": 10**9}, "used": {"storage": 0}}
    assert summary["project_admin_count"] == 1
    change = {"metadata": {"public": "true"}, "cve_allowlist": {"items": [{"cve_id": "CVE-2020-1"}]}}
    assert admin.put(f"/projects/{name}", json=change).status_code == 200
    seen = anonymous.get(f"/projects/{name}").json()
    assert seen["metadata"]["public"] == "true"
    assert seen["cve_allowlist"]["items"] == [{"cve_id": "CVE-2020-1"}]
    assert admin.put(f"/projects/{name}/metadatas/severity", json={"severity": "high"}).status_code == 200
    assert admin.get(f"/projects/{name}/metadatas/severity").json() == {"severity": "high"}
    assert code(admin.put(f"/projects/{name}/metadatas/severity", json={"severity": "x"})) == "BAD_REQUEST"
    assert admin.delete(f"/projects/{name}/metadatas/severity").status_code == 200
    assert admin.get(f"/projects/{name}/_deletable").json() == {"deletable": True}
    assert admin.delete(f"/projects/{name}").status_code == 200
    assert code(admin.get(f"/projects/{name}")) == "NOT_FOUND"


def test_pages_filters_and_sort(admin: httpx.Client) -> None:
    prefix = f"l{secrets.token_hex(4)}"
    for number in range(5):
        admin.post("/projects", json={"project_name": f"{prefix}-{number}"})
    first = admin.get("/projects", params={"q": f"name=~{prefix}", "page_size": 2, "sort": "-name"})
    assert first.headers["X-Total-Count"] == "5"
    assert [item["name"] for item in first.json()] == [f"{prefix}-4", f"{prefix}-3"]
    assert 'rel="next"' in first.headers["Link"]
    following = first.headers["Link"].partition("<")[2].partition(">")[0].removeprefix("/api/v2.0")
    second = admin.get(following)
    assert [item["name"] for item in second.json()] == [f"{prefix}-2", f"{prefix}-1"]
    assert 'rel="prev"' in second.headers["Link"]
    assert 'rel="next"' in second.headers["Link"]
    some = admin.get("/projects", params={"q": f"name={{{prefix}-1 {prefix}-3}}"}).json()
    assert {item["name"] for item in some} == {f"{prefix}-1", f"{prefix}-3"}
    none = admin.get("/projects", params={"q": f"name=~{prefix},creation_time=[~2000-01-01 00:00:00]"})
    assert (none.json(), none.headers["X-Total-Count"]) == ([], "0")
    assert admin.get("/projects", params={"page_size": 101}).status_code == 422
    assert admin.get("/projects", params={"q": "nonsense"}).status_code == 400


def _status(api: Api, path: str, headers: dict[str, str] | None = None) -> int:
    """Without what follows: one operation's answer has no end."""
    with api.stream("GET", path, headers=headers) as answer:
        return int(answer.status_code)


def test_one_route_however_many_slashes(admin: Api, anonymous: Api) -> None:
    """Every GET without an id in its path: with a slash at its end, and with two inside, as without."""
    host = str(admin.base_url).removesuffix("/api/v2.0/")
    paths = [path for path, item in openapi.document()["paths"].items() if "get" in item and "{" not in path]
    assert len(paths) > 30
    for path in paths:
        plain = path.rstrip("/")
        wanted = _status(admin, host + plain)
        # Without a CA there is nothing to download.
        assert wanted != 404 or plain.endswith("/getcert"), plain
        way = "/" + plain.replace("/v2.0/", "/v2.0//") + "/"
        assert _status(admin, host + way) == wanted, way
    name = admin.project()
    for way in (
        f"/projects/{name}/metadatas",
        f"/projects/{name}/metadatas/",
        f"/projects//{name}///metadatas/",
    ):
        assert admin.get(way).json() == {"public": "false"}
    assert admin.post(f"/projects/{name}/metadatas", json={"auto_scan": "true"}).status_code == 200
    assert admin.put(f"/projects/{name}/metadatas/auto_scan/", json={"auto_scan": "false"}).status_code == 200
    assert anonymous.get(host + "/c//log_out/").status_code == 200
    # The Terraform provider's way to a project's quota.
    quotas = admin.get("/quotas/?page=1&page_size=100")
    assert quotas.json() == admin.get("/quotas", params={"page_size": 100}).json() != []


def test_empty_parameters_mean_the_default(admin: Api) -> None:
    """Of every list operation without an id in its path: each of its parameters given as nothing."""
    for path, item in openapi.document()["paths"].items():
        given = [one for one in item.get("get", {}).get("parameters", []) if one["in"] in ("query", "header")]
        if "{" in path or any(one.get("required") for one in given):
            continue
        query = "&".join(f"{one['name']}=" for one in given if one["in"] == "query")
        headers = {one["name"]: "" for one in given if one["in"] == "header"}
        short = path.removeprefix("/api/v2.0")
        assert _status(admin, f"{short}?{query}", headers) == _status(admin, short), path
    body = {"project_name": f"p{secrets.token_hex(4)}", "metadata": {}}
    made = admin.post("/projects", json=body, headers={"X-Resource-Name-In-Location": ""})
    assert made.status_code == 201, made.text
    twice = admin.get(f"/projects?q=name%253D{body['project_name']}&sort=&page=&page_size=").json()
    assert [item["name"] for item in twice] == [body["project_name"]]


def test_words_and_statuses_that_clients_look_for(
    admin: Api, anonymous: Api, as_user: Callable[..., Api]
) -> None:
    project = admin.project()
    missing = admin.get(f"/projects/{project}/repositories/nothing/artifacts")
    assert (missing.status_code, missing.json(), missing.headers["X-Total-Count"]) == (200, [], "0")
    assert anonymous.get(f"/projects/{project}/repositories/nothing/artifacts").status_code == 401
    # An adapter that does not answer is not registered.
    scanner = {"name": f"s-{project}", "url": f"http://127.0.0.1:{free_port()}"}
    assert admin.post("/scanners", json=scanner).status_code == 400
    assert scanner["name"] not in admin.get("/scanners").text
    # Harbor's name of the registry, and ours.
    host = str(admin.base_url).removesuffix("/api/v2.0/")
    for service, status in (("harbor-registry", 200), ("seawall", 200), ("other", 400)):
        scope = f"repository:{project}/a:pull"
        got = admin.get(f"{host}/service/token", params={"service": service, "scope": scope})
        assert got.status_code == status, service
        if status == 200:
            bearer = {"Authorization": f"Bearer {got.json()['token']}"}
            listed = httpx.get(f"{host}/v2/{project}/a/tags/list", headers=bearer)
            assert listed.json()["errors"][0]["code"] == "NAME_UNKNOWN"
    _, name = admin.user()
    assert admin.put("/configurations", json={"project_creation_restriction": "adminonly"}).status_code == 200
    try:
        person = as_user(name)

        def refusal() -> httpx.Response | None:
            # On PostgreSQL another process sees the setting within two seconds.
            answer = person.post("/projects", json={"project_name": unique("late")})
            return None if answer.status_code == 201 else answer

        refused = until(refusal)
        assert (refused.status_code, code(refused)) == (403, "FORBIDDEN")
        assert "Only system admin can create project" in refused.text
    finally:
        admin.put("/configurations", json={"project_creation_restriction": "everyone"})


@pytest.mark.parametrize(
    ("path", "body", "named"),
    [
        ("/projects", {"projekt_name": "x", "metadata": {"publik": "true"}}, "projekt_name, metadata.publik"),
        ("/projects", {"project_name": 5, "nmae": 1}, "nmae"),
        ("/replication/policies", {"filters": [{"typ": "name"}]}, "filters.0.typ"),
        ("/system/gc/schedule", {"schedule": {"typ": "Daily"}, "parameters": {"x": 1}}, "schedule.typ"),
    ],
)
def test_unknown_members_are_named_in_errors(admin: Api, path: str, body: object, named: str) -> None:
    answer = admin.post(path, json=body)
    assert answer.status_code in (400, 422)
    assert answer.json()["errors"][0]["message"].endswith(f"unknown members: {named}")


def said(answer: httpx.Response) -> str:
    """The message of an error in the envelope."""
    return str(answer.json()["errors"][0]["message"])


def test_errors_are_in_the_envelope(admin: httpx.Client, anonymous: httpx.Client) -> None:
    assert code(anonymous.get("/nothing")) == "NOT_FOUND"
    assert code(anonymous.patch("/projects")) == "METHOD_NOT_ALLOWED"
    assert code(anonymous.post("/projects", json={})) == "UNAUTHORIZED"
    broken = admin.post("/projects", content=b"{", headers={"Content-Type": "application/json"})
    assert (broken.status_code, code(broken)) == (400, "BAD_REQUEST")
    typed = admin.post("/projects", json={"project_name": 5})
    assert (typed.status_code, code(typed)) == (422, "UNPROCESSABLE_ENTITY")
    assert said(typed) == "project_name in body: must be a text"
    plain = admin.post("/projects", content=b'{"project_name": "x"}')
    assert said(plain) == "the request body must be JSON, sent with Content-Type: application/json"
    assert said(admin.get("/projects", params={"page": "x"})) == "page in query: must be a whole number"
    assert (
        said(admin.get("/projects", params={"page_size": 101})) == "page_size in query: must be 100 or less"
    )
    assert said(admin.post("/projects", json=[])) == "body: must be an object"
    assert said(admin.get("/projects/no-such")) == "project no-such not found"
    assert said(admin.get("/nothing")) == "no such endpoint: /api/v2.0/nothing"
    large = admin.post("/projects", content=b" " * (4 * 1024 * 1024 + 1))
    assert large.status_code == 413
    wrong = anonymous.get("/projects", auth=("admin", "wrong"))
    assert (wrong.status_code, code(wrong)) == (401, "UNAUTHORIZED")
    assert anonymous.get("/projects").headers["X-Content-Type-Options"] == "nosniff"


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("a=1", [Condition("a", "eq", ("1",))]),
        ("a=~x y,b='q,r'", [Condition("a", "fuzzy", ("x y",)), Condition("b", "eq", ("q,r",))]),
        ("t=[2020-04-09 02:36:00~]", [Condition("t", "range", ("2020-04-09 02:36:00", ""))]),
        ('k={"a b" c}', [Condition("k", "any", ("a b", "c"))]),
        ("k=(1 2)", [Condition("k", "all", ("1", "2"))]),
        ("", []),
        # Encoded once more, wholly or in its values, as Harbor's clients do it.
        ("name%3D~x+y", [Condition("name", "fuzzy", ("x y",))]),
        ("name=~a%2Fb%20c", [Condition("name", "fuzzy", ("a/b c",))]),
        ("email=a+b@c", [Condition("email", "eq", ("a+b@c",))]),
        ("name=100%,b=%FF", [Condition("name", "eq", ("100%",)), Condition("b", "eq", ("%FF",))]),
        # As fields of Harbor's code are written, and a value that begins like an operator.
        (
            "CreationTime=1,ProjectID=2",
            [Condition("creation_time", "eq", ("1",)), Condition("project_id", "eq", ("2",))],
        ),
        (r"name=\~x,b=\[", [Condition("name", "eq", ("~x",)), Condition("b", "eq", ("[",))]),
    ],
)
def test_q(text: str, expected: list[Condition]) -> None:
    assert parse_q(text) == expected


@pytest.mark.parametrize(
    "text", ["a", "=1", "a=[1", "a=[1]", "a={1", "a=(1", "a b=1", "a=%00", "a=", "a=~", "a=[~]", "b=1,a= "]
)
def test_malformed_q(text: str) -> None:
    with pytest.raises(InvalidError):
        parse_q(text)
