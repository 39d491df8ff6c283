"""A small registry client for tests: httpx plus the Bearer token dance, nothing hidden.

Every call returns the raw response, so a test asserts on what the server really said.
"""

from __future__ import annotations

import os
import re
from collections.abc import Iterator
from types import TracebackType
from typing import Any, Protocol
from urllib.parse import parse_qs, urlencode, urljoin, urlsplit, urlunsplit

import httpx

from tests.support.digests import digest_of

OCI_MANIFEST = "application/vnd.oci.image.manifest.v1+json"
OCI_INDEX = "application/vnd.oci.image.index.v1+json"
DOCKER_MANIFEST = "application/vnd.docker.distribution.manifest.v2+json"
DOCKER_LIST = "application/vnd.docker.distribution.manifest.list.v2+json"
OCTETS = "application/octet-stream"
ACCEPT = ", ".join((OCI_INDEX, OCI_MANIFEST, DOCKER_LIST, DOCKER_MANIFEST))

# The spec's error code table.
ERROR_CODES = frozenset(
    {
        "BLOB_UNKNOWN",
        "BLOB_UPLOAD_INVALID",
        "BLOB_UPLOAD_UNKNOWN",
        "DIGEST_INVALID",
        "MANIFEST_BLOB_UNKNOWN",
        "MANIFEST_INVALID",
        "MANIFEST_UNKNOWN",
        "NAME_INVALID",
        "NAME_UNKNOWN",
        "SIZE_INVALID",
        "UNAUTHORIZED",
        "DENIED",
        "UNSUPPORTED",
        "TOOMANYREQUESTS",
    }
)


class Registry(Protocol):
    """What the `registry` fixture gives."""

    url: str
    host: str
    admin: tuple[str, str]

    def create_project(self, name: str, public: bool = False) -> None:
        """Make a project; repositories are named project/repo."""

    def create_user(self, username: str, password: str) -> None:
        """Make an ordinary user."""

    def add_member(self, project: str, username: str, role: str) -> None:
        """Give a user a role in a project."""


class Stream:
    """A body of unknown length: httpx sends it with chunked transfer coding; can be sent twice."""

    def __init__(self, data: bytes, piece: int = 1000) -> None:
        self.data = data
        self.piece = piece

    def __iter__(self) -> Iterator[bytes]:
        for at in range(0, len(self.data), self.piece):
            yield self.data[at : at + self.piece]


def unique(prefix: str) -> str:
    """A name no other test uses."""
    return f"{prefix}-{os.urandom(5).hex()}"


def assert_error(response: httpx.Response, status: int | tuple[int, ...], *codes: str) -> None:
    """Check a 4xx answer: its status, and the spec's JSON error body (a HEAD answer has none)."""
    wanted = status if isinstance(status, tuple) else (status,)
    assert response.status_code in wanted, (response.status_code, response.text)
    if response.request.method == "HEAD":
        assert response.content == b""
        return
    errors = response.json()["errors"]
    assert errors, response.text
    for error in errors:
        assert error["code"] in ERROR_CODES, error
    if codes:
        assert {error["code"] for error in errors} & set(codes), errors


class Client:
    """One user's (or nobody's) view of a registry."""

    def __init__(self, url: str, auth: tuple[str, str] | None = None) -> None:
        self.url = url
        self.auth = auth
        self.http = httpx.Client(timeout=60, follow_redirects=True)
        self._authorization: dict[str, str] = {}

    def __enter__(self) -> Client:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, tb: TracebackType | None
    ) -> None:
        self.http.close()

    def follow(self, response: httpx.Response) -> httpx.Response:
        """GET the Location that a 201 answer names."""
        return self.request("GET", response.headers["Location"], headers={"Accept": ACCEPT})

    def repo(self, name: str) -> Repo:
        """A repository by its full name."""
        return Repo(self, name)

    def token(self, challenge: str, extra_scopes: tuple[str, ...] = ()) -> str:
        """Answer a WWW-Authenticate challenge; returns the Authorization value to send."""
        scheme, _, rest = challenge.partition(" ")
        if scheme.lower() == "basic":
            assert self.auth, "server wants Basic, test has no user"
            return httpx.BasicAuth(*self.auth)._auth_header
        assert scheme.lower() == "bearer", challenge
        fields = dict(re.findall(r'(\w+)="([^"]*)"', rest))
        # Docker's token form: `scope` may be repeated, and one value may list several scopes.
        scopes = fields.get("scope", "").split() + list(extra_scopes)
        params = [("service", fields["service"])] + [("scope", scope) for scope in scopes]
        answer = self.http.get(fields["realm"], params=params, auth=self.auth)
        answer.raise_for_status()
        body = answer.json()
        return "Bearer " + str(body.get("token") or body["access_token"])

    def request(
        self,
        method: str,
        url: str,
        *,
        params: dict[str, str] | None = None,
        headers: dict[str, str] | None = None,
        content: bytes | Stream | None = None,
        scopes: tuple[str, ...] = (),
    ) -> httpx.Response:
        """Send a request; on 401 with a challenge get a token and send it once more."""
        target = urljoin(self.url, url)
        if params:
            # A Location may carry query parameters of its own, which must be kept.
            parts = urlsplit(target)
            query = parse_qs(parts.query, keep_blank_values=True) | {k: [v] for k, v in params.items()}
            target = urlunsplit(parts._replace(query=urlencode(query, doseq=True)))
        key = re.sub(r"/(blobs|manifests|tags|referrers)/.*", "", urlsplit(target).path) + repr(scopes)
        sent = dict(headers or {})
        if key in self._authorization:
            sent["Authorization"] = self._authorization[key]
        response = self.http.request(method, target, headers=sent, content=content)
        challenge = response.headers.get("WWW-Authenticate")
        if (
            response.status_code == 401
            and challenge
            and (self.auth or challenge.lower().startswith("bearer"))
        ):
            sent["Authorization"] = self._authorization[key] = self.token(challenge, scopes)
            response = self.http.request(method, target, headers=sent, content=content)
        return response


class Repo:
    """The spec's endpoints for one repository."""

    def __init__(self, client: Client, name: str) -> None:
        self.client = client
        self.name = name
        self.base = f"/v2/{name}"

    # Blobs

    def head_blob(self, digest: str) -> httpx.Response:
        return self.client.request("HEAD", f"{self.base}/blobs/{digest}")

    def get_blob(self, digest: str, byte_range: str | None = None) -> httpx.Response:
        headers = {"Range": byte_range} if byte_range else None
        return self.client.request("GET", f"{self.base}/blobs/{digest}", headers=headers)

    def delete_blob(self, digest: str) -> httpx.Response:
        return self.client.request("DELETE", f"{self.base}/blobs/{digest}")

    def start(self, **params: str) -> httpx.Response:
        """POST for an upload session; parameters as `mount`, `digest_algorithm` go to the query."""
        query = {name.replace("_", "-"): value for name, value in params.items()}
        scopes: tuple[str, ...] = ()
        if "from" in query:
            scopes = (f"repository:{query['from']}:pull", f"repository:{self.name}:pull,push")
        return self.client.request(
            "POST",
            f"{self.base}/blobs/uploads/",
            params=query,
            headers={"Content-Length": "0"},
            scopes=scopes,
        )

    def mount(self, digest: str, source: str | None = None) -> httpx.Response:
        return self.start(mount=digest, **({"from": source} if source else {}))

    def post_blob(self, data: bytes, digest: str) -> httpx.Response:
        return self.client.request(
            "POST",
            f"{self.base}/blobs/uploads/",
            params={"digest": digest},
            headers={"Content-Type": OCTETS},
            content=data,
        )

    def patch(self, location: str, data: bytes | Stream, content_range: str | None = None) -> httpx.Response:
        headers = {"Content-Type": OCTETS}
        if content_range:
            headers["Content-Range"] = content_range
        return self.client.request("PATCH", location, headers=headers, content=data)

    def finish(
        self, location: str, digest: str, data: bytes = b"", content_range: str | None = None
    ) -> httpx.Response:
        headers = {"Content-Type": OCTETS, "Content-Length": str(len(data))}
        if content_range:
            headers["Content-Range"] = content_range
        return self.client.request("PUT", location, params={"digest": digest}, headers=headers, content=data)

    def push_blob(self, data: bytes, digest: str | None = None) -> httpx.Response:
        """POST then PUT; returns the PUT's answer."""
        started = self.start()
        assert started.status_code == 202, (started.status_code, started.text)
        return self.finish(started.headers["Location"], digest or digest_of(data), data)

    # Manifests

    def head_manifest(self, reference: str, accept: str = ACCEPT) -> httpx.Response:
        return self.client.request("HEAD", f"{self.base}/manifests/{reference}", headers={"Accept": accept})

    def get_manifest(self, reference: str, accept: str = ACCEPT) -> httpx.Response:
        return self.client.request("GET", f"{self.base}/manifests/{reference}", headers={"Accept": accept})

    def put_manifest(
        self, reference: str, data: bytes, media_type: str, tags: tuple[str, ...] = ()
    ) -> httpx.Response:
        url = f"{self.base}/manifests/{reference}"
        if tags:
            url += "?" + urlencode([("tag", tag) for tag in tags])
        return self.client.request("PUT", url, headers={"Content-Type": media_type}, content=data)

    def delete_manifest(self, reference: str) -> httpx.Response:
        return self.client.request("DELETE", f"{self.base}/manifests/{reference}")

    # Discovery

    def tags(self, **params: str) -> httpx.Response:
        return self.client.request("GET", f"{self.base}/tags/list", params=params)

    def tag_names(self, **params: str) -> list[str]:
        answer = self.tags(**params)
        assert answer.status_code == 200, answer.text
        body: dict[str, Any] = answer.json()
        assert body["name"] == self.name
        return list(body["tags"] or [])

    def referrers(self, digest: str, artifact_type: str | None = None) -> httpx.Response:
        params = {"artifactType": artifact_type} if artifact_type else None
        return self.client.request("GET", f"{self.base}/referrers/{digest}", params=params)
