"""The port stays open while transfers run, after the notice to the balancer and for a bounded time."""

from __future__ import annotations

import hashlib
import threading
import time
from collections.abc import Iterator

import httpx
import pytest

from tests.support.registry import Registry
from tests.support.waiting import until


@pytest.fixture
def leaving(fresh_registry: Registry) -> Registry:
    fresh_registry.environment |= {
        "SEAWALL_HTTP__DRAIN_NOTICE_SECONDS": "0.5",
        "SEAWALL_HTTP__DRAIN_TRANSFER_SECONDS": "3",
        "SEAWALL_HTTP__DRAIN_SECONDS": "5",
    }
    fresh_registry.start()
    fresh_registry.create_project("p", public=True)
    return fresh_registry


def _ready(registry: Registry) -> int:
    try:
        return httpx.get(f"{registry.url}/readyz").status_code
    except httpx.ConnectError:
        return 0


class _Upload:
    """A blob on its way in a thread of its own, as slowly as `seconds` say; `status` is what came of it."""

    def __init__(self, registry: Registry, seconds: float) -> None:
        self.status = 0
        self._seconds = seconds
        self._registry = registry
        self.begun = threading.Event()
        self._thread = threading.Thread(target=self._run, daemon=True)
        self._thread.start()
        assert self.begun.wait(10)

    def _parts(self) -> Iterator[bytes]:
        until = time.monotonic() + self._seconds
        while time.monotonic() < until:
            yield b"x" * 100
            self.begun.set()
            time.sleep(0.1)

    def _run(self) -> None:
        answer = httpx.get(
            f"{self._registry.url}/service/token?service=seawall&scope=repository:p/app:pull,push",
            auth=self._registry.admin,
        )
        headers = {"Authorization": f"Bearer {answer.json()['token']}"}
        with httpx.Client(base_url=self._registry.url, headers=headers, timeout=20) as client:
            session = client.post("/v2/p/app/blobs/uploads/").headers["location"]
            try:
                self.status = client.patch(session, content=self._parts()).status_code
            except httpx.HTTPError:
                self.status = -1

    def wait(self) -> None:
        self._thread.join(20)
        assert not self._thread.is_alive()


def test_the_port_closes_when_the_last_transfer_has_ended(leaving: Registry) -> None:
    assert leaving.process is not None
    upload = _Upload(leaving, 2.5)
    leaving.process.terminate()
    started = time.monotonic()
    # Past the notice, requests are still taken, though the balancer is told to send none.
    while time.monotonic() - started < 1.5:
        assert _ready(leaving) in (200, 503)
        time.sleep(0.1)
    assert _ready(leaving) == 503
    upload.wait()
    assert upload.status == 202
    assert leaving.process.wait(20) == 0
    assert _ready(leaving) == 0


def test_a_download_that_the_kernel_sends_counts(leaving: Registry) -> None:
    assert leaving.process is not None
    data = bytes(64 * 1024 * 1024)
    digest = "sha256:" + hashlib.sha256(data).hexdigest()
    token = httpx.get(
        f"{leaving.url}/service/token?service=seawall&scope=repository:p/app:pull,push", auth=leaving.admin
    ).json()["token"]
    headers = {"Authorization": f"Bearer {token}"}
    path = f"{leaving.url}/v2/p/app/blobs/uploads/?digest={digest}"
    assert httpx.post(path, content=data, headers=headers, timeout=60).status_code == 201
    with httpx.stream("GET", f"{leaving.url}/v2/p/app/blobs/{digest}") as answer:
        parts = answer.iter_raw(65536)
        received = len(next(parts))
        leaving.process.terminate()
        time.sleep(1.2)
        assert _ready(leaving) == 503
        received += sum(len(part) for part in parts)
    assert received == len(data)
    assert leaving.process.wait(20) == 0


def test_a_transfer_that_does_not_end_is_waited_for_no_longer_than_that(leaving: Registry) -> None:
    assert leaving.process is not None
    upload = _Upload(leaving, 12)
    leaving.process.terminate()
    until(lambda: not _ready(leaving), "the port is still open", 9)
    leaving.process.wait(20)
    upload.wait()
    assert upload.status != 202
