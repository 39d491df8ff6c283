"""Blob uploads by every road of the spec, in sha256 and sha512, then reads, ranges and deletes."""

from __future__ import annotations

import base64
import email
import email.policy
import os
import socket
from collections.abc import Callable

import httpx
import pytest

from tests.support.digests import digest_of
from tests.support.oci.client import Client, Repo, Stream, assert_error, unique
from tests.support.registry import Registry

ALGORITHMS = ["sha256", "sha512"]
algorithms = pytest.mark.parametrize("algorithm", ALGORITHMS)


@pytest.fixture(scope="module")
def repo(client: Client, project: str) -> Repo:
    return client.repo(f"{project}/repo1")


@pytest.fixture(scope="module")
def other(client: Client, project: str) -> Repo:
    return client.repo(f"{project}/repo2")


def begin(repo: Repo) -> httpx.Response:
    started = repo.start()
    assert started.status_code == 202, started.text
    assert started.headers["Location"]
    return started


def chunk_size(started: httpx.Response) -> int:
    return max(1024, int(started.headers.get("OCI-Chunk-Min-Length", "0")))


def chunked(
    repo: Repo, data: bytes, digest: str, last_in_put: bool, size: int | None = None
) -> httpx.Response:
    """In-order chunks with Content-Range; the last goes in a PATCH or in the closing PUT."""
    started = begin(repo)
    location = started.headers["Location"]
    size = size or chunk_size(started)
    starts = range(0, len(data), size)
    for start in starts:
        piece = data[start : start + size]
        span = f"{start}-{start + len(piece) - 1}"
        if last_in_put and start == starts[-1]:
            return repo.finish(location, digest, piece, span)
        patched = repo.patch(location, piece, span)
        assert patched.status_code == 202, patched.text
        assert patched.headers["Range"] == f"0-{start + len(piece) - 1}"
        location = patched.headers["Location"]
    return repo.finish(location, digest)


def post_only(repo: Repo, data: bytes, digest: str) -> httpx.Response:
    return repo.post_blob(data, digest)


def post_put(repo: Repo, data: bytes, digest: str) -> httpx.Response:
    return repo.push_blob(data, digest)


def chunked_single(repo: Repo, data: bytes, digest: str) -> httpx.Response:
    return chunked(repo, data, digest, last_in_put=False, size=len(data))


def stream(repo: Repo, data: bytes, digest: str) -> httpx.Response:
    patched = repo.patch(begin(repo).headers["Location"], Stream(data))
    assert patched.status_code == 202, patched.text
    return repo.finish(patched.headers["Location"], digest)


def chunked_multi(repo: Repo, data: bytes, digest: str) -> httpx.Response:
    return chunked(repo, data, digest, last_in_put=False)


def chunked_multi_put(repo: Repo, data: bytes, digest: str) -> httpx.Response:
    return chunked(repo, data, digest, last_in_put=True)


Push = Callable[[Repo, bytes, str], httpx.Response]
PUSHES: dict[str, Push] = {
    "post only": post_only,
    "post+put": post_put,
    "chunked single": chunked_single,
    "stream": stream,
    "chunked multi": chunked_multi,
    "chunked multi and put chunk": chunked_multi_put,
}


def check_stored(repo: Repo, created: httpx.Response, data: bytes, digest: str) -> None:
    """A blob that was answered 201 can be read by its Location and by its digest, then deleted."""
    assert created.status_code == 201, (created.status_code, created.text)
    assert created.headers["Docker-Content-Digest"] == digest
    assert repo.client.follow(created).content == data
    head = repo.head_blob(digest)
    assert head.status_code == 200
    assert head.headers["Content-Length"] == str(len(data))
    assert head.headers["Docker-Content-Digest"] == digest
    got = repo.get_blob(digest)
    assert got.status_code == 200
    assert got.content == data
    assert got.headers["Content-Length"] == str(len(data))
    check_delete(repo, digest)


def check_delete(repo: Repo, digest: str) -> None:
    assert repo.delete_blob(digest).status_code == 202
    assert repo.head_blob(digest).status_code == 404
    assert_error(repo.get_blob(digest), 404, "BLOB_UNKNOWN")


@algorithms
def test_get_missing(repo: Repo, algorithm: str) -> None:
    assert_error(repo.get_blob(digest_of(os.urandom(16), algorithm)), 404, "BLOB_UNKNOWN", "NAME_UNKNOWN")


@algorithms
@pytest.mark.parametrize("push", PUSHES)
def test_push(repo: Repo, algorithm: str, push: str) -> None:
    data = os.urandom(3 * 1024 - 5 if "multi" in push else 512)
    digest = digest_of(data, algorithm)
    check_stored(repo, PUSHES[push](repo, data, digest), data, digest)


def test_push_with_digest_algorithm_parameter(repo: Repo) -> None:
    data = os.urandom(700)
    digest = digest_of(data, "sha512")
    started = repo.start(digest_algorithm="sha512")
    assert started.status_code == 202, started.text
    patched = repo.patch(started.headers["Location"], data)
    assert patched.status_code == 202
    check_stored(repo, repo.finish(patched.headers["Location"], digest), data, digest)


def test_push_with_unknown_digest_algorithm(repo: Repo) -> None:
    assert_error(repo.finish(begin(repo).headers["Location"], "md5:" + "0" * 32, b"x"), 400, "DIGEST_INVALID")
    assert_error(repo.start(digest_algorithm="md5"), 400)


@algorithms
@pytest.mark.parametrize("last_in_put", [False, True], ids=["patch", "put"])
def test_chunks_out_of_order(repo: Repo, algorithm: str, last_in_put: bool) -> None:
    started = begin(repo)
    size = chunk_size(started)
    data = os.urandom(size * 3 - 5)
    digest = digest_of(data, algorithm)
    location = started.headers["Location"]
    for start in range(0, len(data), size):
        piece = data[start : start + size]
        # First a chunk that skips ahead (or, at the end, goes back), then the right one.
        wrong = start + size if start + size < len(data) else 0
        bad = data[wrong : wrong + size]
        span = f"{wrong}-{wrong + len(bad) - 1}"
        closing = last_in_put and wrong + len(bad) == len(data)
        refused = repo.finish(location, digest, bad, span) if closing else repo.patch(location, bad, span)
        assert_error(refused, 416)
        status = repo.client.request("GET", location)
        assert status.status_code == 204, status.text
        if start:
            assert status.headers["Range"] == f"0-{start - 1}"
        else:
            assert status.headers["Range"].startswith("0-")
        location = status.headers["Location"]
        span = f"{start}-{start + len(piece) - 1}"
        if last_in_put and start + size >= len(data):
            check_stored(repo, repo.finish(location, digest, piece, span), data, digest)
            return
        patched = repo.patch(location, piece, span)
        assert patched.status_code == 202, patched.text
        location = patched.headers["Location"]
    check_stored(repo, repo.finish(location, digest), data, digest)


@algorithms
def test_mount(repo: Repo, other: Repo, algorithm: str) -> None:
    data = os.urandom(512)
    digest = digest_of(data, algorithm)
    assert other.push_blob(data, digest).status_code == 201
    check_stored(repo, repo.mount(digest, other.name), data, digest)
    # The source keeps its own copy.
    assert other.get_blob(digest).content == data
    check_delete(other, digest)


@algorithms
def test_mount_anonymous(repo: Repo, other: Repo, algorithm: str) -> None:
    data = os.urandom(512)
    digest = digest_of(data, algorithm)
    assert other.push_blob(data, digest).status_code == 201
    answer = repo.mount(digest)
    # The spec lets a registry look for the blob itself (201) or open a session (202).
    assert answer.status_code in (201, 202), answer.text
    if answer.status_code == 202:
        answer = repo.finish(answer.headers["Location"], digest, data)
    check_stored(repo, answer, data, digest)
    check_delete(other, digest)


@algorithms
def test_mount_missing(repo: Repo, other: Repo, algorithm: str) -> None:
    data = os.urandom(512)
    digest = digest_of(data, algorithm)
    answer = repo.mount(digest, other.name)
    assert answer.status_code == 202, answer.text
    check_stored(repo, repo.finish(answer.headers["Location"], digest, data), data, digest)


@algorithms
def test_cancel(repo: Repo, algorithm: str) -> None:
    data = os.urandom(512)
    digest = digest_of(data, algorithm)
    patched = repo.patch(begin(repo).headers["Location"], data)
    location = patched.headers["Location"]
    assert repo.client.request("DELETE", location).status_code == 204
    assert_error(repo.client.request("GET", location), 404, "BLOB_UPLOAD_UNKNOWN")
    assert_error(repo.finish(location, digest), 404, "BLOB_UPLOAD_UNKNOWN")
    assert repo.head_blob(digest).status_code == 404


@pytest.fixture(scope="module")
def ranged(repo: Repo) -> dict[str, tuple[str, bytes]]:
    made = {}
    for algorithm in ALGORITHMS:
        data = os.urandom(2048)
        made[algorithm] = (digest_of(data, algorithm), data)
    return made


@algorithms
@pytest.mark.parametrize(
    ("header", "first", "last"),
    [("500-1499", 500, 1499), ("500-", 500, 2047), ("-500", 1548, 2047), ("2000-5000", 2000, 2047)],
    ids=["500-1499", "500-", "-500", "2000-5000"],
)
def test_range(
    repo: Repo, ranged: dict[str, tuple[str, bytes]], algorithm: str, header: str, first: int, last: int
) -> None:
    digest, data = ranged[algorithm]
    assert repo.push_blob(data, digest).status_code == 201
    answer = repo.get_blob(digest, f"bytes={header}")
    assert answer.status_code == 206
    assert answer.content == data[first : last + 1]
    assert answer.headers["Content-Length"] == str(last + 1 - first)
    assert answer.headers["Content-Range"] == f"bytes {first}-{last}/2048"
    check_delete(repo, digest)


def parts_of(answer: httpx.Response) -> list[tuple[str, bytes]]:
    """(Content-Range, bytes) of each part of a multipart/byteranges."""
    head = f"Content-Type: {answer.headers['Content-Type']}\r\n\r\n".encode()
    message = email.message_from_bytes(head + answer.content, policy=email.policy.HTTP)
    found = []
    for part in message.iter_parts():
        assert part.get_content_type() == "application/octet-stream"
        data = part.get_payload(decode=True)
        assert isinstance(data, bytes)
        found.append((str(part["Content-Range"]), data))
    return found


@pytest.fixture(scope="module")
def wide(repo: Repo) -> tuple[str, bytes]:
    """A blob of several reads."""
    data = os.urandom(3 * 1024 * 1024)
    digest = digest_of(data, "sha256")
    assert repo.push_blob(data, digest).status_code == 201
    return digest, data


@pytest.mark.parametrize(
    "spans",
    [
        [(0, 0), (2, 2)],
        [(5, 1_500_000), (1_500_001, 2_500_000)],
        [(2_000_000, 2_000_009), (10, 19), (30, 39)],
        [(n * 3000, n * 3000 + n) for n in range(1000)],
        [(1_048_570, 1_048_580), (3 * 1024 * 1024 - 1, 3 * 1024 * 1024 - 1)],
    ],
    ids=["bytes", "adjacent", "disordered", "thousand", "last"],
)
def test_several_ranges(repo: Repo, wide: tuple[str, bytes], spans: list[tuple[int, int]]) -> None:
    digest, data = wide
    answer = repo.get_blob(digest, "bytes=" + ", ".join(f"{first}-{last}" for first, last in spans))
    assert answer.status_code == 206
    assert answer.headers["Content-Type"].startswith("multipart/byteranges; boundary=")
    assert answer.headers["Content-Length"] == str(len(answer.content))
    assert "Content-Range" not in answer.headers
    expected = [(f"bytes {first}-{last}/{len(data)}", data[first : last + 1]) for first, last in spans]
    assert parts_of(answer) == expected


def test_ranges_that_overlap_are_one(repo: Repo, wide: tuple[str, bytes]) -> None:
    digest, data = wide
    answer = repo.get_blob(digest, "bytes=" + ",".join(["0-"] * 1000))
    assert answer.headers["Content-Range"] == f"bytes 0-{len(data) - 1}/{len(data)}"
    assert answer.content == data
    answer = repo.get_blob(digest, f"bytes=50-99,0-9,90-119,{len(data)}-,-5")
    assert parts_of(answer) == [
        (f"bytes 0-9/{len(data)}", data[:10]),
        (f"bytes 50-119/{len(data)}", data[50:120]),
        (f"bytes {len(data) - 5}-{len(data) - 1}/{len(data)}", data[-5:]),
    ]


def test_ranges_that_are_ignored(repo: Repo, wide: tuple[str, bytes]) -> None:
    """Another unit, too many, another version of the blob: the whole, as if nothing had been asked."""
    digest, data = wide
    many = "bytes=" + ",".join(f"{4 * n}-{4 * n}" for n in range(1025))
    url, headers = f"{repo.base}/blobs/{digest}", {"Range": "bytes=0-1,4-5"}
    ask = repo.client.request
    answers = [
        repo.get_blob(digest, "pages=0-1,3-4"),
        repo.get_blob(digest, "bytes=0-1,junk"),
        repo.get_blob(digest, many),
        ask("GET", url, headers=headers | {"If-Range": '"sha256:other"'}),
        ask("GET", url, headers=headers | {"If-Range": "Thu, 01 Jan 2026 00:00:00 GMT"}),
    ]
    assert {(answer.status_code, answer.content == data) for answer in answers} == {(200, True)}
    same = ask("GET", url, headers=headers | {"If-Range": f'"{digest}"'})
    assert [part for _, part in parts_of(same)] == [data[:2], data[4:6]]
    head = ask("HEAD", url, headers=headers)
    assert (head.status_code, head.headers["Content-Length"]) == (200, str(len(data)))


@algorithms
@pytest.mark.parametrize("header", ["500-0", "5000-10000", "5000-,6000-6001", "0-1,9-8"])
def test_range_refused(repo: Repo, ranged: dict[str, tuple[str, bytes]], algorithm: str, header: str) -> None:
    digest, data = ranged[algorithm]
    assert repo.push_blob(data, digest).status_code == 201
    assert repo.get_blob(digest, f"bytes={header}").status_code == 416


@algorithms
@pytest.mark.parametrize("data", [b"", b"{}"], ids=["empty", "emptyJSON"])
def test_known_content(repo: Repo, algorithm: str, data: bytes) -> None:
    digest = digest_of(data, algorithm)
    check_stored(repo, repo.push_blob(data, digest), data, digest)


@algorithms
@pytest.mark.parametrize("push", [name for name in PUSHES if name != "chunked single"])
def test_bad_digest(repo: Repo, algorithm: str, push: str) -> None:
    data = os.urandom(3 * 1024 - 5)
    digest = digest_of(data, algorithm)
    assert_error(PUSHES[push](repo, data + b"oh no", digest), 400, "DIGEST_INVALID")
    assert repo.head_blob(digest).status_code == 404
    assert repo.head_blob(digest_of(data + b"oh no", algorithm)).status_code == 404


def test_a_session_ends_with_its_project(registry: Registry) -> None:
    """Whichever process is asked; and the bytes of a long chunk are not taken before."""
    name = unique("gone")
    registry.create_project(name)
    started = httpx.post(f"{registry.url}/v2/{name}/app/blobs/uploads/", auth=registry.admin)
    assert started.status_code == 202, started.text
    session = httpx.URL(started.headers["Location"]).path
    registry.api("DELETE", f"/projects/{name}")
    for _ in range(5):
        asked = httpx.get(f"{registry.url}{session}", auth=registry.admin)
        assert_error(asked, 404, "NAME_UNKNOWN")
        basic = base64.b64encode(":".join(registry.admin).encode()).decode()
        head = f"PATCH {session} HTTP/1.1\r\nHost: x\r\nAuthorization: Basic {basic}"
        with socket.create_connection(("127.0.0.1", registry.port), 60) as connection:
            connection.sendall(f"{head}\r\nContent-Length: 9000000\r\n\r\nonly the first".encode())
            assert connection.recv(65536).split(b" ")[1] == b"404"
