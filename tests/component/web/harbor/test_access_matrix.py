"""Every operation of the OpenAPI document, called as every kind of caller: let in or refused by the table.

What an operation needs is declared in the document (`x-seawall-access`); what a role has is
`seawall.access.rbac`, which `test_rbac_table.py` holds against Harbor's published table. Here the running
server is asked. Refused is 401 (anonymous) or 403; let in is anything else: the calls name things that do
not exist and carry empty bodies, so 404 and 422 are what an allowed caller mostly gets.
"""

from __future__ import annotations

import hashlib
import json
import time
from collections.abc import Iterator
from typing import Any

import httpx
import pytest

from seawall.access.rbac import PUBLIC, ROBOT_PROJECT, ROBOT_SYSTEM, ROLE_IDS, ROLES
from tests.support import openapi
from tests.support.api import Api
from tests.support.processes import PASSWORD
from tests.support.registry import Registry
from tests.support.servers.issuer import AUDIENCE, Issuer, open_issuer

METHODS = ("get", "head", "post", "put", "patch", "delete")
NO_ID = 2**52
NO_DIGEST = "sha256:" + "0" * 64
DOCUMENT = openapi.document()
# Robots: one of the project with these permissions, one of the system with those.
ROBOT_PAIRS = {("repository", "pull"), ("repository", "push"), ("tag", "list"), ("label", "list")}
SYSTEM_PAIRS = {("registry", "list"), ("user", "list"), ("audit-log", "list"), ("system-volumes", "read")}
# Operations whose handler asks for more than the declaration, and is right to: who may be refused though
# the declaration lets in.
STRICTER = {
    # A token for some projects has no part in what is of no project, nor in its user's own credentials.
    "getScanDataExportExecutionList": {"token"},
    "getScanDataExportExecution": {"token"},
    "downloadScanData": {"token"},
    "getSecondFactor": {"token"},
    "beginSecondFactor": {"token"},
    "confirmSecondFactor": {"token"},
    "removeOwnSecondFactor": {"token"},
    "createProject": {"robot", "system robot", "token"},
    "headProject": {"anonymous"},
    "getPermissions": {
        "stranger",
        "guest",
        "limitedGuest",
        "developer",
        "maintainer",
        "robot",
        "system robot",
    },
}


def operations() -> list[tuple[str, str, dict[str, Any]]]:
    """(method, path, operation) of every operation in the document."""
    return [
        (method.upper(), path, item[method])
        for path, item in DOCUMENT["paths"].items()
        for method in METHODS
        if method in item
    ]


OPERATIONS = operations()


def _push(registry: Registry, repository: str) -> None:
    config = b"{}"
    digest = f"sha256:{hashlib.sha256(config).hexdigest()}"
    base = f"{registry.url}/v2/{repository}"
    upload = httpx.post(
        f"{base}/blobs/uploads/?digest={digest}", content=config, auth=registry.admin, timeout=60
    )
    assert upload.status_code == 201
    kind = "application/vnd.oci.image.manifest.v1+json"
    about = {"mediaType": "application/vnd.oci.image.config.v1+json", "digest": digest, "size": len(config)}
    manifest = {"schemaVersion": 2, "mediaType": kind, "config": about, "layers": []}
    put = httpx.put(
        f"{base}/manifests/1",
        content=json.dumps(manifest),
        headers={"Content-Type": kind},
        auth=registry.admin,
        timeout=60,
    )
    assert put.status_code == 201


class Callers:
    """One client for each kind of caller, on a private and on a public project."""

    def __init__(self, registry: Registry, issuer: Issuer) -> None:
        self.admin = Api(registry, registry.admin)
        self.private, self.public = self.admin.project(), self.admin.project(public="true")
        self.virtual = self.admin.project(virtual_members=self.private)
        self.clients: dict[str, Api] = {"anonymous": Api(registry), "sysadmin": self.admin}
        for role, number in ROLE_IDS.items():
            _, name = self.admin.user()
            for project in (self.private, self.public, self.virtual):
                self.admin.member(project, name, number)
            self.clients[role] = Api(registry, (name, PASSWORD))
        self.numbers: dict[str, tuple[int, str]] = {}
        self.clients["stranger"] = Api(registry, (self.admin.user()[1], PASSWORD))
        self.clients["robot"] = self._robot(registry, "project", self.private, ROBOT_PAIRS)
        self.clients["system robot"] = self._robot(registry, "system", "/", SYSTEM_PAIRS)
        owner = self.clients["projectAdmin"]
        one = [self.private]
        self.clients["token"] = self._token(registry, owner, ["api-read"], one)
        self.clients["writing token"] = self._token(registry, owner, ["api-read", "api-write"], one)
        self.clients["pulling token"] = self._token(registry, owner, ["pull", "push"], None)
        self.clients["admin's token"] = self._token(registry, self.admin, ["api-read"], one)
        # The same robot by a token of an issuer that it trusts, as its password and exchanged.
        self._by_issuer(registry, issuer)
        # A project with a repository cannot be deleted, so an allowed DELETE leaves it there.
        for project in (self.private, self.public):
            _push(registry, f"{project}/kept")

    def _token(self, registry: Registry, owner: Api, scopes: list[str], projects: list[str] | None) -> Api:
        """A personal access token of a user."""
        wanted = {"name": "-".join(scopes), "scopes": scopes, "projects": projects}
        made = owner.post("/users/current/tokens", json=wanted)
        assert made.status_code == 201, made.text
        return Api(registry, (owner.get("/users/current").json()["username"], made.json()["token"]))

    def _by_issuer(self, registry: Registry, issuer: Issuer) -> None:
        number, robot = self.numbers["project"]
        trust = {
            "issuer": issuer.url,
            "audience": AUDIENCE,
            "claims": {"repository": "acme/app"},
            "jwks": issuer.jwks,
        }
        stored = self.admin.get(f"/robots/{number}").json()
        put = self.admin.put(f"/robots/{number}", json={**stored, "trusted_issuers": [trust]})
        assert put.status_code == 200, put.text
        # For as long as these tests take.
        end = int(time.time()) + 3 * 3600
        self.clients["issuer's token"] = Api(registry, (robot, issuer.token(exp=end)))
        form = {
            "grant_type": "urn:ietf:params:oauth:grant-type:token-exchange",
            "client_id": robot,
            "subject_token_type": "urn:ietf:params:oauth:token-type:jwt",
            "subject_token": issuer.token(exp=end),
            "scope": f"repository:{self.private}/kept:pull,push",
        }
        given = httpx.post(f"{registry.url}/service/token", data=form, timeout=60)
        assert given.status_code == 200, given.text
        self.clients["exchanged token"] = Api(registry)
        self.clients["exchanged token"].headers["Authorization"] = f"Bearer {given.json()['access_token']}"

    def _robot(self, registry: Registry, level: str, namespace: str, pairs: set[tuple[str, str]]) -> Api:
        access = [{"resource": r, "action": a} for r, a in sorted(pairs)]
        permission = {"kind": level, "namespace": namespace, "access": access}
        body = {"name": level, "level": level, "duration": 1, "permissions": [permission]}
        robot = self.admin.post("/robots", json=body).json()
        self.numbers[level] = robot["id"], robot["name"]
        return Api(registry, (robot["name"], robot["secret"]))


@pytest.fixture(scope="module")
def callers(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Callers]:
    """Callers on a server of these tests' own: allowed calls may change it."""
    registry = Registry(tmp_path_factory.mktemp("matrix") / "data")
    registry.start()
    try:
        with open_issuer() as issuer:
            yield Callers(registry, issuer)
    finally:
        registry.close()


def _in_project(operation: dict[str, Any]) -> bool:
    need = operation["x-seawall-access"]
    return need["scope"] == "project" and "checked" not in need


def kind_of(caller: str) -> str:
    """What the caller is to a handler: a robot by an issuer's token is a robot."""
    if caller == "issuer's token":
        return "robot"
    return "token" if caller.endswith("token") else caller


def may(caller: str, need: dict[str, str], public: bool, method: str) -> bool | None:
    """Whether the table lets the caller in; None when the handler decides by what it finds."""
    pair = (need["resource"], need["action"])
    if caller in ("pulling token", "exchanged token"):
        # For the registry API only.
        return False
    if caller == "issuer's token":
        caller = "robot"
    if kind_of(caller) == "token":
        # Of its project what its user may, who administers that or (the administrator) everything.
        reading = method in ("GET", "HEAD")
        if (not reading and caller != "writing token") or need["scope"] == "system":
            return False
        if need["scope"] == "project":
            if not public and caller == "admin's token":
                return True
            return pair in (PUBLIC if public else ROLES["projectAdmin"])
        return True
    if need["scope"] == "anyone" or caller == "sysadmin":
        return True
    if need["scope"] == "signed-in":
        return caller != "anonymous"
    if need["scope"] == "project":
        if public and pair in PUBLIC:
            return True
        if caller == "robot":
            return not public and pair in ROBOT_PAIRS
        return pair in ROLES.get(caller, frozenset())
    if need["scope"] == "system":
        return caller == "system robot" and pair in SYSTEM_PAIRS
    return None


def call(client: Api, method: str, path: str, operation: dict[str, Any], project: str) -> httpx.Response:
    """The operation on the project, with ids that do not exist and an empty body."""
    query: dict[str, str] = {}
    headers: dict[str, str] = {}
    for parameter in operation.get("parameters", []):
        name, where = parameter["name"], parameter["in"]
        kind = parameter.get("schema", {}).get("type")
        if where == "path":
            value = str(NO_ID) if kind == "integer" else "nothing"
            value = project if name in ("project_name_or_id", "project_name") else value
            value = NO_DIGEST if name in ("reference", "digest") else value
            path = path.replace("{" + name + "}", value)
        elif where == "query" and parameter.get("required"):
            query[name] = "1" if kind == "integer" else "x"
        elif where == "header" and parameter.get("required"):
            headers[name] = "x"
    assert "{" not in path
    body: Any = None
    if "requestBody" in operation:
        content = operation["requestBody"]["content"]
        schema = content.get("application/json", {}).get("schema", {})
        body = [] if schema.get("type") == "array" else {}
    path = path.removeprefix("/api/v2.0")
    request = client.build_request(method, path, params=query, headers=headers, json=body)
    answer = client.send(request, stream=True)
    # A stream that is let in has no end.
    endless = answer.headers.get("Content-Type", "").startswith("text/event-stream")
    content = b"" if endless else answer.read()
    answer.close()
    return httpx.Response(answer.status_code, headers=answer.headers, content=content, request=request)


@pytest.mark.parametrize(
    ("method", "path", "operation"),
    # Who may delete it would: there is nothing in it that keeps it.
    [item for item in OPERATIONS if _in_project(item[2]) and item[2]["operationId"] != "deleteProject"],
)
def test_virtual_project(callers: Callers, method: str, path: str, operation: dict[str, Any]) -> None:
    """A virtual project has members of its own: rights in the projects that it shows give none in it."""
    need = operation["x-seawall-access"]
    for caller, client in callers.clients.items():
        response = call(client, method, path, operation, callers.virtual)
        at = f"{method} {path} as {caller} (virtual): {response.text[:200]}"
        assert response.status_code < 500 or response.status_code == 501, at
        # Robots and tokens here are for the private project.
        mine = kind_of(caller) not in ("robot", "token")
        if mine and may(caller, need, False, method):
            if caller not in STRICTER.get(operation["operationId"], set()):
                assert response.status_code not in (401, 403), at
        else:
            unknown = caller in ("anonymous", "exchanged token")
            assert response.status_code == (401 if unknown else 403), at


@pytest.mark.parametrize(
    ("method", "path", "operation"), OPERATIONS, ids=[f"{method} {path}" for method, path, _ in OPERATIONS]
)
def test_operation(callers: Callers, method: str, path: str, operation: dict[str, Any]) -> None:
    need = operation["x-seawall-access"]
    by_handler = "checked" in need
    for public in (False, True):
        project = callers.public if public else callers.private
        for caller, client in callers.clients.items():
            response = call(client, method, path, operation, project)
            told = f"{method} {path} as {caller} ({'public' if public else 'private'}): {response.text[:200]}"
            assert response.status_code < 500 or response.status_code == 501, told
            expected = None if by_handler else may(caller, need, public, method)
            if expected is None:
                # Things that do not exist: whoever could not see them is told nothing, or that they are not.
                if caller in ("anonymous", "stranger"):
                    assert response.status_code in (400, 401, 403, 404, 412, 422), told
            elif expected:
                if kind_of(caller) not in STRICTER.get(operation["operationId"], set()):
                    assert response.status_code not in (401, 403), told
            else:
                unknown = caller in ("anonymous", "exchanged token")
                assert response.status_code == (401 if unknown else 403), told


def test_every_declared_permission_is_in_a_table() -> None:
    """A (resource, action) that no role, no robot and no list has would be a typing mistake."""
    known = set().union(*ROLES.values(), PUBLIC, ROBOT_PROJECT, ROBOT_SYSTEM)
    # Only system administrators have these.
    known |= {(name, action) for name in ("configuration", "ha", "dr") for action in ("read", "update")}
    for method, path, operation in OPERATIONS:
        need = operation["x-seawall-access"]
        if need["resource"] and need["scope"] in ("project", "system"):
            pair = (need["resource"], need["action"])
            assert pair in known, f"{method} {path} needs {pair}"


def test_operation_ids_are_unique() -> None:
    """The portal's client is generated from them."""
    names = [operation["operationId"] for _, _, operation in OPERATIONS]
    assert len(names) == len(set(names)), sorted(n for n in names if names.count(n) > 1)
