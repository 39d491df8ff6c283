"""Malformed, truncated, oversized and forged requests: 4xx in the spec's form, and nothing left behind."""

from __future__ import annotations

import asyncio
import base64
import contextlib
import hashlib
import hmac
import json
import socket
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import httpx
import pytest
from joserfc import jwt
from joserfc.jwk import OctKey, RSAKey
from sqlalchemy import func, select

from seawall.infra.db import open_database
from seawall.registry.tables import blobs, manifests, repositories, tags, uploads
from tests.support.digests import digest_of
from tests.support.oci.client import Client, unique
from tests.support.registry import Registry

CODES = {
    "BLOB_UNKNOWN", "BLOB_UPLOAD_INVALID", "BLOB_UPLOAD_UNKNOWN", "DIGEST_INVALID", "MANIFEST_BLOB_UNKNOWN",
    "MANIFEST_INVALID", "MANIFEST_UNKNOWN", "NAME_INVALID", "NAME_UNKNOWN", "SIZE_INVALID", "UNAUTHORIZED",
    "DENIED", "UNSUPPORTED", "TOOMANYREQUESTS",
}  # fmt: skip
ZEROS = "sha256:" + "0" * 64
MANIFEST = "application/vnd.oci.image.manifest.v1+json"


@dataclass
class Reply:
    """What a raw exchange gave: the status (0: closed without an answer) and the body."""

    status: int
    body: bytes


@dataclass
class Target:
    """A registry, an admin's Basic header, and a repository that holds one blob."""

    registry: Registry
    authorization: str
    repository: str
    blob: str

    def raw(self, message: bytes, *, half_close: bool = True) -> Reply:
        """Send bytes as they are; what a well-behaved client library would never let out."""
        with socket.create_connection(("127.0.0.1", self.registry.port), timeout=15) as connection:
            # The server may answer and hang up before it has read all of it.
            with contextlib.suppress(OSError):
                connection.sendall(message)
            if half_close:
                with contextlib.suppress(OSError):
                    connection.shutdown(socket.SHUT_WR)
            answer = b""
            with contextlib.suppress(OSError):
                while piece := connection.recv(65536):
                    answer += piece
                    if _complete(answer, head_only=message.startswith(b"HEAD ")):
                        break
        head, _, body = answer.partition(b"\r\n\r\n")
        return Reply(int(head.split(b" ")[1]) if head else 0, body)

    def send(
        self, method: str, path: str, *headers: str, body: bytes = b"", length: int | None = None
    ) -> Reply:
        """A raw request with the admin's credentials, a Content-Length, and `headers` as lines."""
        lines = [f"{method} {path} HTTP/1.1", f"Host: {self.registry.host}", *headers]
        if not any(line.lower().startswith("authorization") for line in headers):
            lines.append(f"Authorization: {self.authorization}")
        if not any(line.lower().startswith(("content-length", "transfer-encoding")) for line in headers):
            lines.append(f"Content-Length: {len(body) if length is None else length}")
        message = "\r\n".join(lines).encode("latin-1") + b"\r\n\r\n" + body
        # The server takes the end of our side for a client that left, so only a request that is cut short
        # on purpose closes it; a whole one waits for its answer.
        return self.raw(message, half_close=length is not None and length > len(body))

    def upload(self) -> str:
        """The path of a new upload session."""
        with Client(self.registry.url, self.registry.admin) as client:
            location = client.repo(self.repository).start().headers["Location"]
        return "/" + location.split("/", 3)[3] if location.startswith("http") else location

    def contents(self) -> tuple[dict[str, int], dict[str, int]]:
        """Rows of each table, and stored files with sizes."""
        rows: dict[str, int] = {}
        url = self.registry.environment.get("SEAWALL_DATABASE__URL") or (
            f"sqlite:///{self.registry.data_dir}/seawall.db"
        )
        db = open_database(url, pool_size=1)
        for table in (blobs, manifests, repositories, tags, uploads):
            rows[table.name] = db.sync_read(
                lambda c, table=table: c.execute(select(func.count()).select_from(table)).scalar_one()  # type: ignore[misc]
            )

        asyncio.run(db.close())
        files = {
            str(path): path.stat().st_size
            for path in (self.registry.data_dir / "blobs").rglob("*")
            if path.is_file() and not path.name.startswith(".probe-")
        }
        return rows, files


def _complete(answer: bytes, *, head_only: bool) -> bool:
    head, separator, body = answer.partition(b"\r\n\r\n")
    if separator and (head_only or head[9:12] in (b"204", b"304")):
        return True
    if not separator:
        return False
    for line in head.lower().split(b"\r\n"):
        if line.startswith(b"content-length:"):
            return len(body) >= int(line.split(b":")[1])
    return False


@pytest.fixture(scope="module")
def target(registry: Registry) -> Target:
    project = unique("hostile")
    registry.create_project(project)
    repository = f"{project}/repo"
    data = unique("blob").encode()
    digest = "sha256:" + hashlib.sha256(data).hexdigest()
    with Client(registry.url, registry.admin) as client:
        assert client.repo(repository).push_blob(data, digest).status_code == 201
    token = base64.b64encode(":".join(registry.admin).encode()).decode()
    return Target(registry, f"Basic {token}", repository, digest)


@pytest.fixture(autouse=True)
def nothing_left_behind(target: Target) -> Iterator[None]:
    before = target.contents()
    mark = target.registry.log.stat().st_size
    yield
    deadline = time.monotonic() + 5
    while target.contents() != before and time.monotonic() < deadline:
        time.sleep(0.05)  # the server may still be cleaning up after a connection that was cut
    assert target.contents() == before
    with target.registry.log.open("rb") as log:
        log.seek(mark)
        said = log.read()
    assert b"Traceback" not in said, said[-3000:]
    assert b"panicked" not in said, said[-3000:]
    assert httpx.get(f"{target.registry.url}/readyz").status_code == 200


def refused(reply: Reply, *statuses: int) -> None:
    """A 4xx; with a body, the spec's error document."""
    assert 400 <= reply.status < 500, reply
    if statuses:
        assert reply.status in statuses, reply
    errors = json.loads(reply.body)["errors"]
    assert errors
    for error in errors:
        assert error["code"] in CODES, reply
        assert isinstance(error["message"], str)


def refused_by_server(reply: Reply) -> None:
    """Not HTTP at all: the server answers a bare 400 or hangs up, before the application."""
    assert reply.status == 0 or 400 <= reply.status < 500, reply


TRAVERSALS = {
    "dots": "../../etc",
    "encoded-dots": "%2e%2e/%2e%2e/etc",
    "encoded-slash": "..%2f..%2fetc",
    "twice-encoded": "%252e%252e%252fetc",
    "backslash": "..\\..\\etc",
    "nul": "a%00b",
    "newline": "a%0ab",
    "absolute": "/etc/passwd",
    "overlong": "%c0%ae%c0%ae/etc",
    "invalid-utf8": "%ff%fe",
    "wide-dots": "%ef%bc%8e%ef%bc%8e/etc",
    "upper": "ABC",
    "percent": "%",
    "tilde": "~root",
}


@pytest.mark.parametrize("text", TRAVERSALS.values(), ids=TRAVERSALS.keys())
class TestTraversal:
    def test_in_the_name(self, target: Target, text: str) -> None:
        project = target.repository.split("/")[0]
        for method, end in (
            ("GET", "manifests/v1"), ("PUT", "manifests/v1"), ("POST", "blobs/uploads/"),
            ("GET", f"blobs/{ZEROS}"), ("GET", "tags/list"), ("GET", f"referrers/{ZEROS}"),
            ("DELETE", "manifests/v1"),
        ):  # fmt: skip
            refused(target.send(method, f"/v2/{project}/{text}/{end}"), 400, 404, 405)

    def test_in_the_reference(self, target: Target, text: str) -> None:
        for method in ("GET", "HEAD", "DELETE", "PUT"):
            reply = target.send(
                method, f"/v2/{target.repository}/manifests/{text}", f"Content-Type: {MANIFEST}", body=b"{}"
            )
            assert 400 <= reply.status < 500, reply

    def test_in_the_digest(self, target: Target, text: str) -> None:
        for path in (f"blobs/{text}", f"blobs/sha256:{text}", f"referrers/{text}"):
            refused(target.send("GET", f"/v2/{target.repository}/{path}"), 400, 404, 405)

    def test_in_the_session(self, target: Target, text: str) -> None:
        for method in ("GET", "PATCH", "PUT", "DELETE"):
            path = f"/v2/{target.repository}/blobs/uploads/{text}?digest={ZEROS}"
            refused(target.send(method, path, body=b"x"), 400, 404, 405)

    def test_in_mount_parameters(self, target: Target, text: str) -> None:
        value = text.replace("\\", "%5c").replace("%%", "%25%")
        path = f"/v2/{target.repository}/blobs/uploads/"
        refused(target.send("POST", f"{path}?mount={value}&from={target.repository}"), 400, 404)
        refused(target.send("POST", f"{path}?digest={value}", body=b"x"), 400, 404)


def test_two_of_a_header(target: Target) -> None:
    path = f"/v2/{target.repository}/blobs/{target.blob}"
    for one, two in (
        ("Range: bytes=0-0", "Range: bytes=1-1"),
        (f"Authorization: {target.authorization}", "Authorization: Basic eDp5"),
        ("Content-Type: a/b", "Content-Type: c/d"),
        ("Content-Range: 0-1", "Content-Range: 1-2"),
    ):
        refused(target.send("GET", path, one, two), 400)


@pytest.mark.parametrize("name", ["digest", "mount", "from", "n", "last", "artifactType"])
def test_two_of_a_parameter(target: Target, name: str) -> None:
    """A proxy that lets a request in may read one, and the registry the other."""
    uploads_path = f"/v2/{target.repository}/blobs/uploads/"
    more = "" if name in ("digest", "mount") else f"&digest={digest_of(b'x')}"
    refused(
        target.send("POST", f"{uploads_path}?{name}={digest_of(b'x')}&{name}={ZEROS}{more}", body=b"x"), 400
    )
    for path in (f"/v2/{target.repository}/tags/list", "/v2/_catalog"):
        refused(target.send("GET", f"{path}?{name}=1&{name}=2"), 400)


def test_two_content_lengths(target: Target) -> None:
    path = f"/v2/{target.repository}/blobs/uploads/?digest={ZEROS}"
    refused_by_server(target.send("POST", path, "Content-Length: 3", "Content-Length: 5", body=b"abcde"))


def test_content_length_and_chunked(target: Target) -> None:
    """Request smuggling: both framings at once must not leave a second request in the pipe."""
    inner = f"DELETE /v2/{target.repository}/blobs/{target.blob} HTTP/1.1\r\nHost: x\r\n\r\n".encode()
    reply = target.send(
        "POST", f"/v2/{target.repository}/blobs/uploads/?digest={ZEROS}",
        "Content-Length: 5", "Transfer-Encoding: chunked", body=b"0\r\n\r\n" + inner,
    )  # fmt: skip
    refused_by_server(reply)


@pytest.mark.parametrize(
    "message",
    [
        b"\x00\x01\x02\x03\r\n\r\n",
        b"GET\r\n\r\n",
        b"GET / HTTP/9.9\r\nHost: x\r\n\r\n",
        b"GET /v2/ HTTP/1.1\r\nHost : x\r\n\r\n",
        b"GET /v2/ HTTP/1.1\r\n" + b"X: " + b"a" * 1_000_000 + b"\r\n\r\n",
        b"GET /v2/ HTTP/1.1\r\n" + b"".join(b"X%d: y\r\n" % i for i in range(2000)) + b"\r\n",
        b"GET /v2/" + b"a" * 300_000 + b" HTTP/1.1\r\nHost: x\r\n\r\n",
        b"POST /v2/ HTTP/1.1\r\nHost: x\r\nContent-Length: -1\r\n\r\n",
        b"POST /v2/ HTTP/1.1\r\nHost: x\r\nContent-Length: 99999999999999999999999\r\n\r\n",
        b"POST /v2/a/b/blobs/uploads/ HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\nzz\r\n",
    ],
    ids=["bytes", "no-path", "version", "space-colon", "huge-header", "many-headers", "long-path",
         "negative-length", "endless-length", "bad-chunk"],
)  # fmt: skip
def test_not_http(target: Target, message: bytes) -> None:
    refused_by_server(target.raw(message))


class TestTruncated:
    def test_single_request_upload(self, target: Target) -> None:
        path = f"/v2/{target.repository}/blobs/uploads/?digest={ZEROS}"
        reply = target.send("POST", path, body=b"a" * 100_000, length=5_000_000)
        assert reply.status == 0 or 400 <= reply.status < 500

    def test_manifest(self, target: Target) -> None:
        path = f"/v2/{target.repository}/manifests/cut"
        reply = target.send("PUT", path, f"Content-Type: {MANIFEST}", body=b'{"schemaVersion"', length=500)
        assert reply.status == 0 or 400 <= reply.status < 500

    def test_session_is_kept_until_cancelled(self, target: Target) -> None:
        path = target.upload()
        target.send("PATCH", path, body=b"b" * 70_000, length=900_000)
        deadline = time.monotonic() + 10
        while True:
            # What arrived counts; the client may ask for the offset and go on, or cancel.
            reply = target.send("DELETE", path)
            if reply.status != 409 or time.monotonic() > deadline:
                break
            time.sleep(0.05)
        assert reply.status == 204, reply


class TestBlobs:
    @pytest.mark.parametrize(
        "digest",
        [ZEROS, "sha512:" + "0" * 128, "md5:" + "0" * 32, "sha256:" + "A" * 64, "sha256:", "sha256", ":", "",
         "sha256:" + "0" * 63, "sha512:" + "0" * 64, "sha256:" + "0" * 100_00, "sha256:" + "g" * 64],
    )  # fmt: skip
    def test_wrong_digest(self, target: Target, digest: str) -> None:
        base = f"/v2/{target.repository}/blobs/uploads/"
        refused(target.send("POST", f"{base}?digest={digest}", body=b"data"), 400)
        path = target.upload()
        refused(target.send("PUT", f"{path}?digest={digest}", body=b"data"), 400)
        # A mismatch ends the session; a digest that is no digest leaves it to the client to try again.
        assert target.send("DELETE", path).status in (204, 404)

    def test_no_digest(self, target: Target) -> None:
        path = target.upload()
        refused(target.send("PUT", path, body=b"data"), 400)
        assert target.send("DELETE", path).status == 204

    @pytest.mark.parametrize(
        "value",
        ["5-9", "0-", "-1", "a-b", "9-5", "0-3, 4-5", "bytes 0-3/2x", "0-99999999999999999999999", ""],
    )
    def test_content_range(self, target: Target, value: str) -> None:
        path = target.upload()
        refused(target.send("PATCH", path, f"Content-Range: {value}", body=b"data"), 416)
        assert target.send("DELETE", path).status == 204

    def test_content_range_and_length_differ(self, target: Target) -> None:
        path = target.upload()
        refused(target.send("PATCH", path, "Content-Range: 0-99", body=b"data"), 416)
        assert target.send("DELETE", path).status == 204

    @pytest.mark.parametrize("value", ["0-99", "0-2"])
    @pytest.mark.parametrize("verb", ["PATCH", "PUT"])
    def test_content_range_and_bytes_differ(self, target: Target, verb: str, value: str) -> None:
        """A body in chunks has no length that could be compared before."""
        path = target.upload()
        query = f"?digest={digest_of(b'data')}" if verb == "PUT" else ""
        chunked = ("Transfer-Encoding: chunked", f"Content-Range: {value}")
        reply = target.send(verb, path + query, *chunked, body=b"4\r\ndata\r\n0\r\n\r\n")
        refused(reply, 400)
        assert b"SIZE_INVALID" in reply.body
        # What came within the range is kept; the client asks how much it was.
        kept = target.send("GET", path)
        assert kept.status == 204
        assert target.send("DELETE", path).status == 204

    def test_range_outside(self, target: Target) -> None:
        path = f"/v2/{target.repository}/blobs/{target.blob}"
        refused(target.send("GET", path, "Range: bytes=999999-"), 416)
        refused(target.send("GET", path, "Range: bytes=5-2"), 416)

    def test_session_of_another_repository(self, target: Target) -> None:
        path = target.upload()
        other = path.replace(target.repository, target.repository + "2")
        refused(target.send("PATCH", other, body=b"data"), 404)
        refused(target.send("PUT", f"{other}?digest={ZEROS}"), 404)
        refused(target.send("DELETE", other), 404)
        assert target.send("DELETE", path).status == 204


MANIFESTS = {
    "empty": b"",
    "no-json": b"hello",
    "open": b'{"schemaVersion": 2',
    "array": b"[]",
    "null": b"null",
    "deep": b"[" * 200_000,
    "deep-object": b'{"annotations":' * 100_000,
    "nan": b'{"schemaVersion": NaN}',
    "infinite": b'{"schemaVersion": 1e999}',
    "utf8": b'{"mediaType": "\xff\xfe"}',
    "surrogate": b'{"schemaVersion":2,"mediaType":"\\ud800"}',
    "zip": b"PK\x03\x04" + b"\0" * 100,
    "schema1": b'{"schemaVersion":1,"name":"x","tag":"y","fsLayers":[],"history":[]}',
    "both": json.dumps({"schemaVersion": 2, "config": {"digest": ZEROS, "size": 1}, "layers": [],
                        "manifests": []}).encode(),
    "no-layers": json.dumps({"schemaVersion": 2, "config": {"digest": ZEROS, "size": 1}}).encode(),
    "negative": json.dumps({"schemaVersion": 2, "config": {"digest": ZEROS, "size": -1},
                            "layers": []}).encode(),
    "missing-blob": json.dumps({"schemaVersion": 2, "layers": [],
                                "config": {"digest": ZEROS, "size": 1, "mediaType": "a/b"}}).encode(),
    "digest": json.dumps({"schemaVersion": 2, "config": {"digest": "sha256:../..", "size": 1},
                          "layers": []}).encode(),
    "subject": json.dumps({"schemaVersion": 2, "config": {"digest": ZEROS, "size": 1}, "layers": [],
                           "subject": {"digest": "x", "size": 1}}).encode(),
}  # fmt: skip


class TestManifests:
    @pytest.mark.parametrize("payload", MANIFESTS.values(), ids=MANIFESTS.keys())
    def test_invalid(self, target: Target, payload: bytes) -> None:
        path = f"/v2/{target.repository}/manifests/bad"
        refused(target.send("PUT", path, f"Content-Type: {MANIFEST}", body=payload), 400, 404)

    @pytest.mark.parametrize(
        "kind", ["", "text/html", "application/json", "x" * 5000, MANIFEST + "x", ";", "*/*"]
    )
    def test_media_type(self, target: Target, kind: str) -> None:
        path = f"/v2/{target.repository}/manifests/bad"
        refused(target.send("PUT", path, f"Content-Type: {kind}", body=b'{"schemaVersion":2}'), 400)

    def test_too_large(self, target: Target) -> None:
        path = f"/v2/{target.repository}/manifests/big"
        refused(target.send("PUT", path, f"Content-Type: {MANIFEST}", length=40_000_000), 413)
        body = b"".join(b"100000\r\n" + b" " * 0x100000 + b"\r\n" for _ in range(6))
        headers = (f"Content-Type: {MANIFEST}", "Transfer-Encoding: chunked")
        reply = target.send("PUT", path, *headers, body=body + b"0\r\n\r\n")
        assert reply.status in (0, 413), reply

    def test_other_digest(self, target: Target) -> None:
        empty = json.dumps({"schemaVersion": 2, "mediaType": "application/vnd.oci.image.index.v1+json",
                            "manifests": []}).encode()  # fmt: skip
        kind = "Content-Type: application/vnd.oci.image.index.v1+json"
        refused(target.send("PUT", f"/v2/{target.repository}/manifests/{ZEROS}", kind, body=empty), 400)

    @pytest.mark.parametrize("count", [65, 3000])
    def test_many_tags(self, target: Target, count: int) -> None:
        query = "&".join(f"tag=t{i}" for i in range(count))
        path = f"/v2/{target.repository}/manifests/{ZEROS}?{query}"
        refused(target.send("PUT", path, f"Content-Type: {MANIFEST}", body=b"{}"), 400, 414)


@pytest.mark.parametrize("n", ["-1", "x", "1e3", "9" * 400, "%00", "0x10", "1.5", "٣"])
def test_page_size(target: Target, n: str) -> None:
    from urllib.parse import quote

    value = n if n.startswith("%") else quote(n)
    refused(target.send("GET", f"/v2/{target.repository}/tags/list?n={value}"), 400)
    refused(target.send("GET", f"/v2/_catalog?n={value}"), 400)


@pytest.mark.parametrize("n", ["", "2147483647", "9223372036854775807"])
def test_a_page_that_has_everything(target: Target, n: str) -> None:
    for path in (f"/v2/{target.repository}/tags/list", "/v2/_catalog"):
        assert target.send("GET", f"{path}?n={n}").status == 200


@pytest.mark.parametrize("method", ["TRACE", "OPTIONS", "POST", "BREW", "PROPFIND"])
def test_method(target: Target, method: str) -> None:
    reply = target.send(method, f"/v2/{target.repository}/manifests/v1")
    if reply.body:
        refused(reply, 400, 405)
    else:
        refused_by_server(reply)


class TestForgedTokens:
    def forge(self, target: Target, kind: str) -> str:
        now = int(time.time())
        claims = {
            "iss": "seawall", "aud": "seawall", "sub": "admin", "exp": now + 600, "nbf": now - 5, "iat": now,
            "access": [{"type": "repository", "name": target.repository, "actions": ["pull", "push"]}],
        }  # fmt: skip
        real = httpx.get(
            f"{target.registry.url}/service/token",
            params={"service": "seawall", "scope": f"repository:{target.repository}:pull"},
            headers={"Authorization": target.authorization},
        ).json()["token"]
        head, body, signature = real.split(".")

        def part(value: object) -> str:
            return base64.urlsafe_b64encode(json.dumps(value).encode()).rstrip(b"=").decode()

        if kind == "none":
            return f"{part({'alg': 'none', 'typ': 'JWT'})}.{part(claims)}."
        if kind == "hmac":
            signed = f"{part({'alg': 'HS256'})}.{part(claims)}"
            mac = hmac.digest(b"seawall", signed.encode(), "sha256")
            return f"{signed}.{base64.urlsafe_b64encode(mac).rstrip(b'=').decode()}"
        if kind == "other-key":
            return jwt.encode({"alg": "RS256"}, claims, RSAKey.generate_key(2048))
        if kind == "embedded-key":
            key = RSAKey.generate_key(2048)
            return jwt.encode({"alg": "RS256", "jwk": key.as_dict(private=False)}, claims, key)
        if kind == "symmetric":
            return jwt.encode({"alg": "HS256"}, claims, OctKey.generate_key(256))
        if kind == "wider":
            return f"{head}.{part({**claims, 'sub': 'admin'})}.{signature}"
        if kind == "cut":
            return f"{head}.{body}.{signature[:-10]}"
        if kind == "no-signature":
            return f"{head}.{body}."
        return {"empty": "", "dots": "..", "long": "a" * 20_000, "json": "{}", "unicode": "\xff\xfe"}[kind]

    @pytest.mark.parametrize(
        "kind",
        ["none", "hmac", "other-key", "embedded-key", "symmetric", "wider", "cut", "no-signature", "empty",
         "dots", "long", "json", "unicode"],
    )  # fmt: skip
    def test_refused(self, target: Target, kind: str) -> None:
        token = self.forge(target, kind)
        for path in ("/v2/", f"/v2/{target.repository}/blobs/{target.blob}"):
            refused(target.send("GET", path, f"Authorization: Bearer {token}"), 401)

    def test_the_real_one_is_taken(self, target: Target) -> None:
        """The other cases would pass against a server that refuses everything."""
        answer = httpx.get(
            f"{target.registry.url}/service/token",
            params={"service": "seawall", "scope": f"repository:{target.repository}:pull"},
            headers={"Authorization": target.authorization},
        )
        token = answer.json()["token"]
        path = f"/v2/{target.repository}/blobs/{target.blob}"
        assert target.send("GET", path, f"Authorization: Bearer {token}").status == 200
        refused(target.send("DELETE", path, f"Authorization: Bearer {token}"), 401)

    @pytest.mark.parametrize(
        "header",
        [
            "Basic",
            "Basic !!!",
            "Basic eA==",
            "Basic AAA=",
            "Digest x",
            "Bearer",
            "basic",
            "\xff",
            "Basic /w==",
        ],
    )
    def test_malformed_header(self, target: Target, header: str) -> None:
        path = f"/v2/{target.repository}/blobs/{target.blob}"
        refused(target.send("GET", path, f"Authorization: {header}"), 401)


@pytest.mark.parametrize(
    ("method", "path"),
    [("GET", "tags/list"), ("GET", "manifests/v1"), ("PUT", "manifests/v1"), ("DELETE", "manifests/v1"),
     ("GET", f"blobs/{ZEROS}"), ("DELETE", f"blobs/{ZEROS}"), ("POST", "blobs/uploads/"),
     ("PATCH", "blobs/uploads/00000000-0000-0000-0000-000000000000"), ("GET", f"referrers/{ZEROS}")],
)  # fmt: skip
def test_nothing_without_a_login(target: Target, method: str, path: str) -> None:
    for repository in (target.repository, "no-such-project/repo"):
        message = f"{method} /v2/{repository}/{path} HTTP/1.1\r\nHost: x\r\nContent-Length: 1\r\n\r\nx"
        reply = target.raw(message.encode(), half_close=False)
        refused(reply, 401)


@pytest.mark.parametrize(
    "path",
    ["tags/list?last=%00", f"referrers/{ZEROS}?artifactType=%00", "manifests/%00", "../_catalog?last=a%00"],
)
def test_nul_in_parameters(target: Target, path: str) -> None:
    url = "/v2/_catalog?last=a%00" if path.startswith("..") else f"/v2/{target.repository}/{path}"
    refused(target.send("GET", url), 400, 401, 404)
    refused(target.send("DELETE", url), 400, 401, 404, 405)


def test_nul_in_scope(target: Target) -> None:
    url = "/service/token?service=seawall&scope=repository:a%00b/c:pull"
    assert target.send("GET", url).status == 200


@pytest.mark.parametrize(
    ("form", "status"),
    [(b"", 400), (b"grant_type=client_credentials", 400), (b"grant_type=password&username=admin", 401),
     (b"grant_type=password&username=%ff&password=%00", 401),
     (b"grant_type=password&username=%00", 401), (b"\xff\xfe\x00", 400), (b"a=b&" * 1000, 400),
     (b"grant_type=password&service=other", 400)],
)  # fmt: skip
def test_token_form(target: Target, form: bytes, status: int) -> None:
    kind = "Content-Type: application/x-www-form-urlencoded"
    refused(target.send("POST", "/service/token", kind, "Authorization: x", body=form), status)


def test_token_scopes_that_are_none(target: Target) -> None:
    for scope in (
        "repository",
        "repository:",
        "a:b:c:d:e",
        "%00",
        "repository:../..:pull",
        "*:*:*",
        "x" * 3000,
    ):
        answer = httpx.get(
            f"{target.registry.url}/service/token",
            params={"scope": scope},
            headers={"Authorization": target.authorization},
        )
        assert answer.status_code == 200
        claims = answer.json()["token"].split(".")[1]
        access = json.loads(base64.urlsafe_b64decode(claims + "=="))["access"]
        for item in access:
            assert item["type"] == "repository" or not item["actions"], access


def test_storage_paths_stay_below_the_root(target: Target) -> None:
    root = (target.registry.data_dir / "blobs").resolve()
    for path in root.rglob("*"):
        assert path.resolve().is_relative_to(root)
    assert not (Path(target.registry.data_dir) / "etc").exists()
