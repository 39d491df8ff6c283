"""Drivers of peer-to-peer networks: Dragonfly's open API and Kraken's notifications.

Sources: Dragonfly 2 manager's open API (`/oapi/v1/jobs`, `/healthy`), Kraken proxy's registry notification
endpoint (`/registry/notifications`, `/health`; the events of Docker Registry's notifications).
"""

from __future__ import annotations

import asyncio
import base64
import datetime
import uuid
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Protocol

import httpx

from seawall.infra.outgoing import LIMIT, guarded
from seawall.kernel.errors import InvalidError, SeawallError

AUTH_MODES = ("NONE", "BASIC", "OAUTH", "CUSTOM")
SCOPES = ("single_seed_peer", "all_seed_peers", "all_peers")
RUNNING, SUCCESS, ERROR = "Running", "Success", "Error"
_DOCKER = "application/vnd.docker.distribution.manifest.v2+json"
_TIMEOUT = httpx.Timeout(30, connect=10)
# One question takes at most so long, however the answer trickles in.
_SECONDS = 120.0
_ANSWER_BYTES = 8 * 1024 * 1024
_TEXT = 2000


class DriverError(SeawallError):
    """The network cannot be reached or answered with an error; the message says which."""


@dataclass(frozen=True, slots=True)
class Instance:
    """How to reach a network. `auth_info`: user and password (BASIC), token (OAUTH), header (CUSTOM)."""

    vendor: str
    endpoint: str
    auth_mode: str = "NONE"
    auth_info: Mapping[str, str] | None = None
    insecure: bool = False


@dataclass(frozen=True, slots=True)
class Image:
    """What is to be preheated: `url` of the manifest, with the headers that a peer needs to read it."""

    url: str
    repository: str
    tag: str
    digest: str
    headers: Mapping[str, str]
    extra: Mapping[str, Any]


@dataclass(frozen=True, slots=True)
class Progress:
    """How far the network is: Running, Success or Error."""

    remote_id: str
    status: str
    message: str = ""


class Driver(Protocol):
    """A peer-to-peer network. Errors are DriverError."""

    async def health(self) -> None:
        """Return when the network is well."""

    async def preheat(self, image: Image) -> Progress:
        """Ask for an image."""

    async def progress(self, remote_id: str) -> Progress:
        """Ask after what was asked for."""

    async def close(self) -> None:
        """Close connections."""


class _Http:
    def __init__(self, instance: Instance) -> None:
        self._endpoint = instance.endpoint.rstrip("/")
        headers = authorization(instance.auth_mode, instance.auth_info or {})
        # Networks are inside ours; a proxy of the environment is for the world outside.
        self._http = httpx.AsyncClient(
            headers={**headers, "Accept-Encoding": "identity"},
            transport=guarded(instance.endpoint, verify=not instance.insecure),
            timeout=_TIMEOUT,
        )

    async def ask(self, method: str, path: str, body: Any = None) -> Any:
        """The JSON of an answer, None when it has none. Raises DriverError."""
        url = f"{self._endpoint}{path}"
        try:
            async with (
                asyncio.timeout(_SECONDS),
                self._http.stream(method, url, json=body, extensions={LIMIT: _ANSWER_BYTES}) as answer,
            ):
                data = b""
                async for part in answer.aiter_bytes():
                    data += part
                    if len(data) > _ANSWER_BYTES:
                        raise DriverError(f"{url}: the answer is too large")
        except (httpx.HTTPError, httpx.InvalidURL, ValueError, TimeoutError) as error:
            raise DriverError(f"{url}: {type(error).__name__} {error}"[:_TEXT]) from None
        if answer.status_code not in (200, 201):
            text = data[:200].decode(errors="replace")
            raise DriverError(f"{url}: status {answer.status_code}: {text}")
        if not data:
            return None
        try:
            return httpx.Response(200, content=data).json()
        except (ValueError, RecursionError):
            return None

    async def close(self) -> None:
        """Close connections."""
        await self._http.aclose()


def authorization(mode: str, info: Mapping[str, str]) -> dict[str, str]:
    """The header of an authentication mode. Raises InvalidError when `info` lacks what the mode needs.

    As in Harbor, BASIC has the user's name as key and the password as value, CUSTOM header and value; both
    also take `username` and `password`, and OAUTH a `token`.
    """
    if mode in ("", "NONE"):
        return {}
    if mode not in AUTH_MODES:
        raise InvalidError(f"auth_mode must be one of {', '.join(AUTH_MODES)}")
    if mode == "OAUTH":
        if not info.get("token"):
            raise InvalidError("auth_mode OAUTH needs auth_info.token")
        return {"Authorization": _printable(f"Bearer {info['token']}")}
    if not info:
        raise InvalidError(f"auth_mode {mode} needs auth_info")
    key, value = next(iter(info.items()))
    if mode == "CUSTOM":
        if not all(character.isascii() and (character.isalnum() or character in "-_") for character in key):
            raise InvalidError("auth_mode CUSTOM: auth_info has a header's name as its key")
        return {key: _printable(value)}
    if info.keys() >= {"username", "password"}:
        key, value = info["username"], info["password"]
    return {"Authorization": "Basic " + base64.b64encode(f"{key}:{value}".encode()).decode()}


def _printable(value: str) -> str:
    if not all(32 <= ord(character) < 127 for character in value):
        raise InvalidError("auth_info has characters that a header cannot have")
    return value


class Dragonfly:
    """Dragonfly 2: a job of the manager, whose state is asked for."""

    def __init__(self, instance: Instance) -> None:
        self._http = _Http(instance)
        self.close = self._http.close

    async def health(self) -> None:
        """See Driver.health."""
        await self._http.ask("GET", "/healthy")

    async def preheat(self, image: Image) -> Progress:
        """See Driver.preheat. `extra` may have `scope` and `cluster_ids`."""
        arguments = {
            "type": "image",
            "url": image.url,
            "tag": "",
            "filtered_query_params": "",
            "headers": dict(image.headers),
        }
        if image.extra.get("scope"):
            arguments["scope"] = image.extra["scope"]
        body: dict[str, Any] = {"type": "preheat", "args": arguments}
        if image.extra.get("cluster_ids"):
            body["scheduler_cluster_ids"] = image.extra["cluster_ids"]
        return _dragonfly(await self._http.ask("POST", "/oapi/v1/jobs", body), asked=True)

    async def progress(self, remote_id: str) -> Progress:
        """See Driver.progress."""
        return _dragonfly(await self._http.ask("GET", f"/oapi/v1/jobs/{remote_id}"), asked=False)


def _dragonfly(answer: Any, *, asked: bool) -> Progress:
    if not isinstance(answer, dict) or not isinstance(answer.get("id"), int):
        raise DriverError("the answer is not a job of Dragonfly's")
    remote_id, state = str(answer["id"]), answer.get("state", "")
    if state in ("PENDING", "STARTED") or asked:
        return Progress(remote_id, RUNNING)
    result = answer.get("result")
    states = result.get("job_states") if isinstance(result, dict) else None
    lines = []
    for item in states if isinstance(states, list) else []:
        if not isinstance(item, dict):
            continue
        if state != "SUCCESS" and item.get("error"):
            lines.append(str(item["error"]))
        for part in item.get("results") or []:
            for name, word in (("success_tasks", "done"), ("failure_tasks", "failed")):
                for task in (part.get(name) if isinstance(part, dict) else None) or []:
                    if isinstance(task, dict):
                        where = f"{task.get('hostname', '')} {task.get('ip', '')}".strip()
                        note = f": {task['description']}" if task.get("description") else ""
                        lines.append(f"{word} {task.get('url', '')} at {where}{note}")
    if state == "SUCCESS":
        return Progress(remote_id, SUCCESS, "\n".join(lines))
    if state != "FAILURE":
        lines.insert(0, f"unknown state {state!r}"[:100])
    return Progress(remote_id, ERROR, "\n".join(lines) or "the network reports a failure")


class Kraken:
    """Kraken: its proxy takes a registry's push notifications, and says nothing about what comes of them."""

    def __init__(self, instance: Instance) -> None:
        self._http = _Http(instance)
        self.close = self._http.close

    async def health(self) -> None:
        """See Driver.health."""
        await self._http.ask("GET", "/health")

    async def preheat(self, image: Image) -> Progress:
        """See Driver.preheat."""
        event = {
            "Id": uuid.uuid4().hex,
            "TimeStamp": datetime.datetime.now(datetime.UTC).isoformat(),
            "Action": "push",
            "Target": {
                "MediaType": _DOCKER,
                "Digest": image.digest,
                "Repository": image.repository,
                "Url": image.url,
                "Tag": image.tag,
            },
        }
        await self._http.ask("POST", "/registry/notifications", {"Events": [event]})
        return Progress(event["Id"], SUCCESS, "notified")  # type: ignore[arg-type]

    async def progress(self, remote_id: str) -> Progress:
        """See Driver.progress."""
        return Progress(remote_id, SUCCESS, "notified")


@dataclass(frozen=True, slots=True)
class Provider:
    """A kind of network, as `/p2p/preheat/providers` shows it."""

    id: str
    name: str
    source: str
    open: type[Dragonfly] | type[Kraken]


PROVIDERS = {
    "dragonfly": Provider("dragonfly", "Dragonfly", "https://github.com/dragonflyoss/Dragonfly2", Dragonfly),
    "kraken": Provider("kraken", "Kraken", "https://github.com/uber/kraken", Kraken),
}


def open_driver(instance: Instance) -> Driver:
    """The driver of an instance. Raises InvalidError for an unknown vendor or bad credentials."""
    provider = PROVIDERS.get(instance.vendor)
    if provider is None:
        raise InvalidError(f"vendor must be one of {', '.join(PROVIDERS)}")
    return provider.open(instance)
