"""Thousands of clients that push at once, from one process: each a connection and a few bytes of state."""

from __future__ import annotations

import asyncio
import base64
import json
import resource
import secrets
import statistics
import time
from collections import Counter
from dataclasses import dataclass, field
from urllib.parse import quote, urlsplit

from seawall.registry.manifest import OCI_MANIFEST
from tests.support.digests import digest_of
from tests.support.lab import CONFIG, descriptor

_LAYER = "application/vnd.oci.image.layer.v1.tar+gzip"
# Loopback addresses that clients come from, and how long an answer may take.
_ADDRESSES = 8
_SECONDS = 300.0


@dataclass
class Storm:
    """What became of the pushes: seconds of each image that is there, and all other answers."""

    seconds: list[float] = field(default_factory=list)
    answers: Counter[str] = field(default_factory=Counter)
    # Of answers of 429: what `Retry-After` said (seconds), and the codes in the bodies.
    waits: list[int] = field(default_factory=list)
    codes: Counter[str] = field(default_factory=Counter)

    @property
    def median(self) -> float:
        """Of the images' seconds."""
        return statistics.median(self.seconds)


class _RefusedError(Exception):
    """An answer that is not what was expected."""


class Pusher:
    """One client: one connection, kept."""

    def __init__(self, port: int, project: str, auth: tuple[str, str] | None, number: int = 0) -> None:
        self.storm = Storm()
        self._port = port
        self._project = project
        self._auth = auth
        self._token = ""
        # Only every so often the same address, as of a fleet.
        self._address = f"127.0.1.{number % _ADDRESSES + 1}"
        self._streams: tuple[asyncio.StreamReader, asyncio.StreamWriter] | None = None

    async def image(self) -> bool:
        """Push an image of two blobs, sign in before the first. Returns whether it is there."""
        began = time.monotonic()
        try:
            async with asyncio.timeout(_SECONDS):
                if self._auth is not None and not self._token:
                    await self._sign_in()
                await self._push()
        except _RefusedError:
            return False
        except (OSError, EOFError, TimeoutError) as error:
            self.storm.answers[type(error).__name__] += 1
            self.close()
            return False
        self.storm.seconds.append(time.monotonic() - began)
        return True

    async def images(self, count: int) -> None:
        """Push images one after the other, and close."""
        for _ in range(count):
            await self.image()
        self.close()

    def close(self) -> None:
        """Close the connection."""
        if self._streams is not None:
            self._streams[1].close()
            self._streams = None

    async def _sign_in(self) -> None:
        assert self._auth is not None
        basic = base64.b64encode(":".join(self._auth).encode()).decode()
        scope = quote(f"repository:{self._project}/app:pull,push")
        body = await self._send("GET", f"/service/token?scope={scope}", 200, extra=f"Basic {basic}")
        self._token = str(json.loads(body[1])["token"])

    async def _push(self) -> None:
        repository = f"/v2/{self._project}/app"
        config = json.dumps({"os": secrets.token_hex(8)}).encode()
        layer = secrets.token_bytes(1024)
        for data in (config, layer):
            headers, _ = await self._send("POST", f"{repository}/blobs/uploads/", 202)
            place = urlsplit(headers["location"]).path
            await self._send("PUT", f"{place}?digest={digest_of(data)}", 201, data)
        manifest = {
            "schemaVersion": 2,
            "mediaType": OCI_MANIFEST,
            "config": descriptor(config, CONFIG),
            "layers": [descriptor(layer, _LAYER)],
        }
        data = json.dumps(manifest).encode()
        await self._send("PUT", f"{repository}/manifests/t{secrets.token_hex(6)}", 201, data)

    async def _send(
        self, method: str, path: str, expected: int, data: bytes = b"", *, extra: str = ""
    ) -> tuple[dict[str, str], bytes]:
        if self._streams is None:
            self._streams = await asyncio.open_connection(
                "127.0.0.1", self._port, local_addr=(self._address, 0)
            )
        reader, writer = self._streams
        credentials = extra or (f"Bearer {self._token}" if self._token else "")
        lines = [f"{method} {path} HTTP/1.1", "Host: registry.test", f"Content-Length: {len(data)}"]
        lines += [f"Authorization: {credentials}"] if credentials else []
        lines += [f"Content-Type: {OCI_MANIFEST}"] if "/manifests/" in path else []
        writer.write("\r\n".join([*lines, "", ""]).encode() + data)
        head = (await reader.readuntil(b"\r\n\r\n")).decode("latin-1").split("\r\n")
        status = int(head[0].split(" ")[1])
        headers = {}
        for line in head[1:]:
            name, _, value = line.partition(":")
            headers[name.lower()] = value.strip()
        body = await reader.readexactly(int(headers.get("content-length", 0)))
        if headers.get("connection") == "close":
            self.close()
        if status != expected:
            self.storm.answers[f"{method} {status} {body[:200].decode(errors='replace')}"] += 1
            if status == 429:
                self.storm.waits.append(int(headers["retry-after"]))
                self.storm.codes[json.loads(body)["errors"][0]["code"]] += 1
            raise _RefusedError
        return headers, body


def more_files(count: int) -> None:
    """Let this process, and those that it starts, open so many files. Raises ValueError where it may not."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    if soft != resource.RLIM_INFINITY and soft < count:
        resource.setrlimit(resource.RLIMIT_NOFILE, (count, hard if hard >= count else count))


def together(pushers: list[Pusher]) -> Storm:
    """The sum of what the clients saw."""
    found = Storm()
    for pusher in pushers:
        found.seconds += pusher.storm.seconds
        found.answers += pusher.storm.answers
        found.waits += pusher.storm.waits
        found.codes += pusher.storm.codes
    return found


async def storm(
    port: int, project: str, clients: int, *, images: int = 1, auth: tuple[str, str] | None = None
) -> Storm:
    """`clients` that begin at once, each with `images` one after the other."""
    pushers = [Pusher(port, project, auth, number) for number in range(clients)]
    await asyncio.gather(*(pusher.images(images) for pusher in pushers))
    return together(pushers)
