"""What is measured. Every function returns one sample for one target and raises when an answer is wrong."""

from __future__ import annotations

import json
import os
import re
import subprocess
import threading
import time
from collections.abc import Callable
from pathlib import Path

from bench.client import Body, Connection, Source, UnexpectedAnswerError, fetch
from bench.host import MemorySampler, program
from bench.targets import MANIFEST_TYPE, REPOSITORY, Target

_WRK_SCRIPT = Path(__file__).parent / "wrk.lua"
_RESULT = re.compile(r"^RESULT (\{.*\})$", re.MULTILINE)


def request_rate(port: int, path: str, headers: dict[str, str], size: int, seconds: float) -> float:
    """GET requests a second over 32 connections, every answer a success of `size` bytes."""
    first = fetch(port, path, headers)
    if first.length != size:
        raise UnexpectedAnswerError(f"GET {path}: {first.length} bytes, wanted {size}")
    argv = [program("wrk"), "-t1", "-c32", f"-d{max(1, round(seconds))}s", "-s", str(_WRK_SCRIPT)]
    for name, value in headers.items():
        argv += ["-H", f"{name}: {value}"]
    done = subprocess.run(
        [*argv, f"http://127.0.0.1:{port}{path}"], capture_output=True, text=True, timeout=120
    )
    match = _RESULT.search(done.stdout)
    if match is None:
        raise UnexpectedAnswerError(f"wrk: {done.stdout} {done.stderr}")
    result = json.loads(match[1])
    # A body of the wrong length would show in the byte count, which includes the headers.
    if result["status"] or result["socket"] or not result["requests"]:
        raise UnexpectedAnswerError(f"GET {path}: {result}")
    if not size <= result["bytes"] / result["requests"] <= size + 2048 + size * 0.1:
        raise UnexpectedAnswerError(f"GET {path}: wrong length, {result}")
    return float(result["requests"] / result["microseconds"] * 1e6)


def get_speed(port: int, path: str, headers: dict[str, str], size: int) -> float:
    """Megabytes (10^6) a second of one GET of `size` bytes."""
    with Connection(port, headers) as connection:
        started = time.perf_counter()
        answer = connection.request("GET", path, expect=200, keep=False)
        elapsed = time.perf_counter() - started
    if answer.length != size:
        raise UnexpectedAnswerError(f"GET {path}: {answer.length} bytes, wanted {size}")
    return size / elapsed / 1e6


def put_speed(target: Target, source: Source) -> tuple[float, int]:
    """Megabytes a second of one blob push (POST, then one PUT), and the server's peak memory in bytes."""
    body = source.variant()
    os.sync()  # what others left to be written must not be charged to this push
    with (
        Connection(target.port, target.token(REPOSITORY)) as connection,
        MemorySampler(target.process) as memory,
    ):
        started = time.perf_counter()
        connection.push_blob(REPOSITORY, body)
        elapsed = time.perf_counter() - started
        stored = connection.request("HEAD", f"/v2/{REPOSITORY}/blobs/{body.digest}", expect=200)
    if stored.headers.get("content-length") != str(body.size):
        raise UnexpectedAnswerError(f"blob was stored with {stored.headers.get('content-length')} bytes")
    return body.size / elapsed / 1e6, memory.peak


def put_rate(target: Target, source: Source, clients: int, seconds: float) -> float:
    """Blob pushes a second by `clients` connections, each blob new."""
    headers = target.token(REPOSITORY)

    def client(_number: int, deadline: float) -> int:
        count = 0
        with Connection(target.port, headers) as connection:
            while time.perf_counter() < deadline:
                connection.push_blob(REPOSITORY, source.variant())
                count += 1
        return count

    return _together(client, clients, seconds)


def image_rate(target: Target, clients: int, seconds: float) -> float:
    """Small images (config, two layers of 8 KiB, manifest) pushed a second, each client in its repository."""
    names = [f"{REPOSITORY}-{number}" for number in range(clients)]
    headers = [target.token(name) for name in names]

    def client(number: int, deadline: float) -> int:
        count = 0
        with Connection(target.port, headers[number]) as connection:
            while time.perf_counter() < deadline:
                manifest = _push_image(connection, names[number], "t")
                count += 1
            answer = connection.request(
                "GET", f"/v2/{names[number]}/manifests/t", expect=200, headers={"Accept": MANIFEST_TYPE}
            )
            if Body.of(answer.body).digest != manifest.digest:
                raise UnexpectedAnswerError("the tag does not name the image pushed last")
        return count

    return _together(client, clients, seconds)


def manifest_of(config: Body, layers: list[Body], note: str) -> Body:
    """An OCI image manifest as a body."""
    kind = "application/vnd.oci.image"
    document = {
        "schemaVersion": 2,
        "mediaType": MANIFEST_TYPE,
        "config": {"mediaType": f"{kind}.config.v1+json", "digest": config.digest, "size": config.size},
        "layers": [
            {"mediaType": f"{kind}.layer.v1.tar", "digest": layer.digest, "size": layer.size}
            for layer in layers
        ],
        "annotations": {"bench.note": note},
    }
    return Body.of(json.dumps(document).encode())


def _push_image(connection: Connection, repository: str, tag: str) -> Body:
    settings = {"architecture": "amd64", "os": "linux", "created_by": os.urandom(16).hex()}
    config = Body.of(json.dumps(settings).encode())
    layers = [Body.of(os.urandom(8192)) for _ in range(2)]
    for blob in (config, *layers):
        connection.push_blob(repository, blob)
    manifest = manifest_of(config, layers, tag)
    connection.push_manifest(repository, tag, MANIFEST_TYPE, manifest)
    return manifest


def _together(client: Callable[[int, float], int], clients: int, seconds: float) -> float:
    """Run `client(number, deadline)` in threads; returns the sum of their counts a second."""
    counts: list[int] = []
    failures: list[Exception] = []
    started = time.perf_counter()

    def run(number: int) -> None:
        try:
            counts.append(client(number, started + seconds))
        except Exception as error:
            failures.append(error)

    threads = [threading.Thread(target=run, args=(number,)) for number in range(clients)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    elapsed = time.perf_counter() - started
    if failures:
        raise failures[0]
    return sum(counts) / elapsed
