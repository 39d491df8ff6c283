"""Tags are linearizable registers, whichever instances are asked; and the check that says so is right."""

from __future__ import annotations

import base64
import hashlib
import itertools
import json
import math
import os
import random
import threading
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import httpx
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.conftest import Postgres, Registry
from tests.ha.linearizability import Operation, Recorder, Value, linearizable
from tests.servers.swift import SwiftServer

MANIFEST = "application/vnd.oci.image.manifest.v1+json"


def by_trying_everything(history: list[Operation]) -> bool:
    """The definition, word for word: some order keeps real time and gives each read its value."""
    maybe = [op for op in history if op.returned == math.inf]
    sure = [op for op in history if op.returned != math.inf]
    for count in range(len(maybe) + 1):
        for happened in itertools.combinations(maybe, count):
            for order in itertools.permutations([*sure, *happened]):
                if any(
                    later.returned < earlier.called
                    for index, earlier in enumerate(order)
                    for later in order[index + 1 :]
                ):
                    continue
                value: Value = None
                for operation in order:
                    if operation.kind == "write":
                        value = operation.value
                    elif operation.value != value:
                        break
                else:
                    return True
    return False


@st.composite
def any_history(draw: st.DrawFn) -> list[Operation]:
    """Up to six operations with distinct times; reads return anything."""
    count = draw(st.integers(0, 6))
    times = draw(st.permutations(range(2 * count)))
    history = []
    for index in range(count):
        called, returned = sorted(times[2 * index : 2 * index + 2])
        kind = draw(st.sampled_from(["read", "write"]))
        value = draw(st.sampled_from(["a", "b", "c"] if kind == "write" else [None, "a", "b", "c"]))
        lost = kind == "write" and draw(st.integers(0, 4)) == 0
        history.append(Operation(kind, value, called, math.inf if lost else returned))
    return history


@settings(max_examples=250, deadline=None)
@given(history=any_history())
def test_checker_agrees_with_the_definition(history: list[Operation]) -> None:
    assert linearizable(history) == by_trying_everything(history)


@st.composite
def good_history(draw: st.DrawFn) -> list[Operation]:
    """What a real register would answer: each operation takes effect at a moment of its own."""
    chance = draw(st.randoms(use_true_random=False))
    count = draw(st.integers(1, 40))
    moments = []
    for number in range(count):
        at = chance.uniform(0, count / 3)
        kind = chance.choice(["read", "write"])
        moments.append((at, at - chance.random(), at + chance.random(), kind, f"v{number}"))
    value: Value = None
    history = []
    for _, called, returned, kind, new in sorted(moments):
        if kind == "write":
            value = new
            returned = math.inf if chance.random() < 0.05 else returned
        history.append(Operation(kind, value, called, returned))
    return history


@settings(max_examples=40, deadline=None)
@given(history=good_history())
def test_checker_accepts_what_a_register_does(history: list[Operation]) -> None:
    assert linearizable(history)
    # A read that returns what was certainly overwritten before is noticed.
    sure = [op for op in history if op.kind == "write" and op.returned != math.inf]
    if sure:
        end = max(op.returned for op in history if op.returned != math.inf)
        overwrite = Operation("write", "last", end + 1, end + 2)
        stale = Operation("read", sure[0].value, end + 3, end + 4)
        assert not linearizable([*history, overwrite, stale])


@pytest.fixture
def instances(postgres: Postgres, s3_server: SwiftServer, tmp_path: Path) -> Iterator[list[Registry]]:
    environment = {
        "SEAWALL_DATABASE__URL": postgres.database(),
        "SEAWALL_AUTH__MODE": "none",
        "SEAWALL_HTTP__WORKERS": "1",
        "SEAWALL_MASTER_KEY": base64.b64encode(os.urandom(32)).decode(),
        **s3_server.settings(s3_server.bucket()),
    }
    made = [Registry(tmp_path / name, environment) for name in "abc"]
    try:
        with ThreadPoolExecutor(3) as pool:
            list(pool.map(Registry.start, made))
        yield made
    finally:
        for instance in made:
            if instance.process is not None:
                instance.kill()


class Clients:
    """Threads that write and read a few tags through whichever instance, and record what they saw."""

    def __init__(self, instances: list[Registry]) -> None:
        self.instances = instances
        self.record = Recorder()
        self.stop = threading.Event()
        config = b"{}"
        self.config = "sha256:" + hashlib.sha256(config).hexdigest()
        uploads = f"{instances[0].url}/v2/test/repo/blobs/uploads/"
        httpx.post(uploads, params={"digest": self.config}, content=config, timeout=30).raise_for_status()

    def manifest(self, number: str) -> bytes:
        return json.dumps(
            {
                "schemaVersion": 2,
                "mediaType": MANIFEST,
                "config": {"mediaType": "application/x.test", "digest": self.config, "size": 2},
                "layers": [],
                "annotations": {"number": number},
            }
        ).encode()

    def work(self, worker: int) -> None:
        chance = random.Random(worker)
        # No connection outlives its request: an instance that was killed is met by the next one anew.
        with httpx.Client(timeout=30, limits=httpx.Limits(max_keepalive_connections=0)) as client:
            for number in itertools.count():
                if self.stop.is_set():
                    return
                instance = chance.choice(self.instances)
                tag = chance.choice(["one", "two"])
                url = f"{instance.url}/v2/test/repo/manifests/{tag}"
                act = chance.random()
                if act < 0.3:
                    self._write(client, url, tag, f"{worker}-{number}")
                elif act < 0.34:
                    self._delete(client, url, tag)
                else:
                    self._read(client, url, tag)

    def _write(self, client: httpx.Client, url: str, tag: str, number: str) -> None:
        body = self.manifest(number)

        def act() -> bool | None:
            try:
                answer = client.put(url, content=body, headers={"Content-Type": MANIFEST})
            except httpx.ConnectError:
                return False
            except httpx.HTTPError:
                return None
            assert answer.status_code in (201, 503), answer.text
            return True if answer.status_code == 201 else None

        self.record.write(tag, "sha256:" + hashlib.sha256(body).hexdigest(), act, url)

    def _delete(self, client: httpx.Client, url: str, tag: str) -> None:
        called = time.monotonic()
        try:
            answer = client.delete(url)
        except httpx.ConnectError:
            return
        except httpx.HTTPError:
            self.record.registers.setdefault(tag, []).append(Operation("write", None, called))
            return
        assert answer.status_code in (202, 404, 503), answer.text
        # "There is none" is something a read would have seen too.
        kind = {202: "write", 404: "read"}.get(answer.status_code)
        if kind is None:
            self.record.registers.setdefault(tag, []).append(Operation("write", None, called))
        else:
            operation = Operation(kind, None, called, time.monotonic(), url)
            self.record.registers.setdefault(tag, []).append(operation)

    def _read(self, client: httpx.Client, url: str, tag: str) -> None:
        def act() -> tuple[bool, Value]:
            try:
                answer = client.get(url)
            except httpx.HTTPError:
                return False, None
            if answer.status_code == 404:
                return True, None
            if answer.status_code == 503:
                return False, None
            assert answer.status_code == 200, answer.text
            digest = answer.headers["Docker-Content-Digest"]
            assert digest == "sha256:" + hashlib.sha256(answer.content).hexdigest()
            return True, digest

        self.record.read(tag, act, url)


def test_tags_are_linearizable_across_instances(instances: list[Registry]) -> None:
    clients = Clients(instances)
    with ThreadPoolExecutor(6) as pool:
        runs = [pool.submit(clients.work, worker) for worker in range(6)]
        try:
            time.sleep(4)
            instances[2].kill()
            time.sleep(2)
            instances[2].start()
            time.sleep(3)
        finally:
            clients.stop.set()
        for run in runs:
            run.result()
    for tag, history in clients.record.registers.items():
        reads = sum(op.kind == "read" for op in history)
        unknown = sum(op.returned == math.inf for op in history)
        values = len({op.value for op in history if op.kind == "read"})
        print(f"\ntag {tag}: {len(history)} operations, {reads} reads of {values} values, {unknown} unknown")
        assert reads > 20
        assert values > 5
        assert linearizable(history), tag
        # The check is not blind: the same history with one old value read at the end is refused.
        last = max(op.returned for op in history if op.returned != math.inf)
        first = next(op.value for op in history if op.kind == "write" and op.value and op.returned < last)
        old = [
            Operation("write", "new", last + 1, last + 2),
            Operation("read", first, last + 3, last + 4),
        ]
        assert not linearizable([*history, *old])
