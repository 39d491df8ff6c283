"""Chaos: a steady load of pushes and pulls while parts of the test-bed fail. Run by test_chaos.py.

`python -m tests.system.cluster.chaos PREFIX SECONDS RESULT [CASE...]` on the client's host; each fault lasts
SECONDS. Writes what happened to the file RESULT as JSON and exits with 1 when something was lost, wrong or
refused. With SEAWALL_SOAK_MINUTES the cases come in random order, again and again, for so long, and garbage
is collected after each.

What counts: content that was acknowledged and is gone or different; a 401 to a request with good
credentials; a tag history that is not linearizable. How long clients were disturbed is measured, from the
moment of the fault to the end of the last request that failed or took longer than `SLOW` seconds (or than
twice the longest one while nothing failed, on a host that is busy with other work).
"""

from __future__ import annotations

import hashlib
import json
import os
import random
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from itertools import pairwise
from pathlib import Path
from typing import Any

import httpx

from tests.support.digests import digest_of
from tests.support.linear import NEVER, Op, around_fault, linearizable
from tests.support.processes import PASSWORD
from tests.support.testbed import INSTANCES, TestBed

MANIFEST = "application/vnd.oci.image.manifest.v1+json"
SLOW = 5.0
_GIVE_UP = 60.0


@dataclass(slots=True)
class Call:
    """One HTTP request of the load, or one run of skopeo. `error` is "" for success."""

    start: float
    end: float
    kind: str
    error: str


@dataclass(slots=True)
class Load:
    """The clients and what they saw. Times are of `time.monotonic`."""

    url: str
    calls: list[Call] = field(default_factory=list)
    fatal: list[str] = field(default_factory=list)
    unauthorized: list[str] = field(default_factory=list)
    pushed: dict[str, tuple[str, bytes]] = field(default_factory=dict)
    blobs: dict[str, bytes] = field(default_factory=dict)
    registers: dict[str, list[Op]] = field(default_factory=dict)
    skopeo_runs: int = 0
    lock: threading.Lock = field(default_factory=threading.Lock)
    stopped: threading.Event = field(default_factory=threading.Event)
    threads: list[threading.Thread] = field(default_factory=list)

    def start(self) -> None:
        """Start the clients."""
        work: list[Callable[[], None]] = [lambda n=n: Pusher(self, n).run() for n in range(3)]  # type: ignore[misc]
        work += [lambda n=n: Puller(self, n).run() for n in range(3)]  # type: ignore[misc]
        work.append(lambda: skopeo(self))
        for item in work:
            thread = threading.Thread(target=self._guarded, args=(item,), daemon=True)
            thread.start()
            self.threads.append(thread)

    def _guarded(self, work: Callable[[], None]) -> None:
        try:
            work()
        except Exception as error:
            self.fatal.append(f"a client ended: {type(error).__name__}: {error}")

    def stop(self) -> None:
        """Stop the clients and wait for them."""
        self.stopped.set()
        for thread in self.threads:
            thread.join(120)
            if thread.is_alive():
                self.fatal.append("a client hangs")

    def note(self, start: float, kind: str, error: str) -> None:
        """Write down one call."""
        with self.lock:
            self.calls.append(Call(start, time.monotonic(), kind, error))


class FailedError(Exception):
    """A request did not succeed."""


class Client:
    """One client: logs in for tokens, as Docker does, and notes every request."""

    def __init__(self, load: Load, number: int) -> None:
        self.load = load
        self.chance = random.Random(number)
        self.number = number
        self._http = httpx.Client(base_url=load.url, timeout=30)
        self._token = ""
        self._fetched = 0.0

    def call(self, method: str, url: str, good: tuple[int, ...], **options: Any) -> httpx.Response:
        """One request. Raises FailedError; a 401 is written down as such."""
        headers = {"Authorization": f"Bearer {self.token()}", **options.pop("headers", {})}
        return self._call(method, url, good, headers=headers, **options)

    def _call(self, method: str, url: str, good: tuple[int, ...], **options: Any) -> httpx.Response:
        start = time.monotonic()
        kind = f"{method} {url.partition('?')[0].split('/')[-2] if '/v2/' in url else url.partition('?')[0]}"
        try:
            answer = self._http.request(method, url, **options)
        except httpx.HTTPError as problem:
            self.load.note(start, kind, type(problem).__name__)
            raise FailedError(type(problem).__name__) from None
        error = "" if answer.status_code in good else f"{answer.status_code} {answer.text[:200]}"
        self.load.note(start, kind, error)
        if answer.status_code == 401:
            self.load.unauthorized.append(f"{kind}: {answer.text[:200]}")
        if error:
            raise FailedError(error)
        return answer

    def token(self) -> str:
        """A token, asked for again every ten seconds: so every instance meets tokens of every other."""
        if time.monotonic() - self._fetched > 10:
            scope = "repository:library/chaos:pull,push"
            answer = self._call(
                "GET",
                "/service/token",
                (200,),
                params={"service": "seawall", "scope": scope},
                auth=("admin", PASSWORD),
            )
            self._token = answer.json()["token"]
            self._fetched = time.monotonic()
        return self._token

    def persist(self, work: Callable[[], None]) -> None:
        """Do `work`, again and again until it succeeds."""
        deadline = time.monotonic() + _GIVE_UP
        while True:
            try:
                work()
                return
            except FailedError as error:
                if time.monotonic() > deadline:
                    self.load.fatal.append(f"no success for {_GIVE_UP:.0f} s: {error}")
                    return
                time.sleep(0.2)


class Pusher(Client):
    """Pushes images of two blobs under tags of their own, and moves a tag that others move too."""

    def run(self) -> None:
        """Until the load stops."""
        count = 0
        while not self.load.stopped.is_set():
            count += 1
            config = json.dumps({"n": f"{self.number}.{count}"}).encode()
            layer = self.chance.randbytes(self.chance.choice([2_000, 200_000, 1_500_000]))
            manifest = json.dumps(
                {
                    "schemaVersion": 2,
                    "mediaType": MANIFEST,
                    "config": {"mediaType": "application/x.c", **_described(config)},
                    "layers": [{"mediaType": "application/x.l", **_described(layer)}],
                }
            ).encode()
            tag = f"t{self.number}-{count}"
            self.persist(lambda: self._push(tag, config, layer, manifest))  # noqa: B023
            time.sleep(0.2)

    def _push(self, tag: str, config: bytes, layer: bytes, manifest: bytes) -> None:
        for data in (config, layer):
            self._blob(data)
        digest = digest_of(manifest)
        headers = {"Content-Type": MANIFEST}
        self.call("PUT", f"/v2/library/chaos/manifests/{tag}", (201,), content=manifest, headers=headers)
        with self.load.lock:
            self.load.pushed[tag] = (digest, manifest)
        moving = f"moving{self.chance.randrange(2)}"
        start, end = time.monotonic(), NEVER
        try:
            self.call(
                "PUT", f"/v2/library/chaos/manifests/{moving}", (201,), content=manifest, headers=headers
            )
            end = time.monotonic()
        finally:
            # Without an answer it may have happened, now or later.
            with self.load.lock:
                self.load.registers.setdefault(moving, []).append(Op(start, end, True, digest))

    def _blob(self, data: bytes) -> None:
        start = self.call("POST", "/v2/library/chaos/blobs/uploads/", (202,))
        location = start.headers["Location"]
        half = len(data) // 2
        for part in (data[:half], data[half:]):
            location = self.call("PATCH", location, (202,), content=part).headers["Location"]
        joined = f"{location}{'&' if '?' in location else '?'}digest={digest_of(data)}"
        self.call("PUT", joined, (201,))
        with self.load.lock:
            self.load.blobs[digest_of(data)] = data


class Puller(Client):
    """Pulls what was acknowledged, and reads the moving tags."""

    def run(self) -> None:
        """Until the load stops."""
        while not self.load.stopped.is_set():
            moving = f"moving{self.chance.randrange(2)}"
            self.persist(lambda: self._watch(moving))  # noqa: B023
            with self.load.lock:
                tags = list(self.load.pushed)
            if tags:
                tag = self.chance.choice(tags[-30:])
                self.persist(lambda: self.pull(tag))  # noqa: B023
            time.sleep(0.1)

    def _watch(self, tag: str) -> None:
        start = time.monotonic()
        answer = self.call("HEAD", f"/v2/library/chaos/manifests/{tag}", (200, 404))
        value = answer.headers.get("Docker-Content-Digest") if answer.status_code == 200 else None
        with self.load.lock:
            self.load.registers.setdefault(tag, []).append(Op(start, time.monotonic(), False, value))

    def pull(self, tag: str) -> None:
        """Manifest and blobs of a tag that was acknowledged; anything but its content is fatal."""
        digest, manifest = self.load.pushed[tag]
        got = self.call("GET", f"/v2/library/chaos/manifests/{tag}", (200, 404))
        if got.status_code == 404 or got.content != manifest:
            self.load.fatal.append(
                f"LOST tag {tag}: {got.status_code}, {digest_of(got.content)} for {digest}"
            )
            return
        for wanted in _blobs_of(manifest):
            blob = self.call("GET", f"/v2/library/chaos/blobs/{wanted}", (200, 404))
            if blob.status_code == 404 or digest_of(blob.content) != wanted:
                self.load.fatal.append(f"LOST blob {wanted} of {tag}: {blob.status_code}")


def skopeo(load: Load) -> None:
    """A real client: pushes an image and pulls it again, told to repeat a failed request once."""
    with tempfile.TemporaryDirectory() as directory:
        root = Path(directory)
        count = 0
        while not load.stopped.is_set():
            count += 1
            image = root / f"i{count}"
            _image(image, os.urandom(300_000))
            place = f"docker://{load.url.removeprefix('http://')}/library/skopeo:s{count}"
            common = ["skopeo", "copy", "-q", "--insecure-policy", "--retry-times", "1"]
            login = f"admin:{PASSWORD}"
            steps = (
                ("push", [f"--dest-creds={login}", "--dest-tls-verify=false", f"oci:{image}:x", place]),
                ("pull", [f"--src-creds={login}", "--src-tls-verify=false", place, f"dir:{root / 'back'}"]),
            )
            for kind, arguments in steps:
                for _ in range(10):
                    start = time.monotonic()
                    done = subprocess.run([*common, *arguments], capture_output=True, text=True, timeout=120)
                    load.note(start, f"skopeo {kind}", done.stderr.strip()[-300:] if done.returncode else "")
                    load.skopeo_runs += 1
                    if done.returncode == 0:
                        break
                    if "unauthorized" in done.stderr:
                        load.unauthorized.append(done.stderr.strip()[-300:])
                    time.sleep(0.5)
                else:
                    load.fatal.append(f"skopeo {kind} of s{count} never succeeded")
            time.sleep(0.5)


def _image(root: Path, layer: bytes) -> None:
    blobs = root / "blobs" / "sha256"
    blobs.mkdir(parents=True)

    def add(data: bytes, media_type: str) -> dict[str, Any]:
        (blobs / hashlib.sha256(data).hexdigest()).write_bytes(data)
        return {"mediaType": media_type, **_described(data)}

    config = {
        "architecture": "amd64",
        "os": "linux",
        "rootfs": {"type": "layers", "diff_ids": [digest_of(layer)]},
    }
    manifest = {
        "schemaVersion": 2,
        "mediaType": MANIFEST,
        "config": add(json.dumps(config).encode(), "application/vnd.oci.image.config.v1+json"),
        "layers": [add(layer, "application/vnd.oci.image.layer.v1.tar")],
    }
    entry = add(json.dumps(manifest).encode(), MANIFEST)
    entry["annotations"] = {"org.opencontainers.image.ref.name": "x"}
    (root / "index.json").write_text(json.dumps({"schemaVersion": 2, "manifests": [entry]}))
    (root / "oci-layout").write_text('{"imageLayoutVersion": "1.0.0"}')


def _described(data: bytes) -> dict[str, Any]:
    return {"digest": digest_of(data), "size": len(data)}


# -- cases ---------------------------------------------------------------------------------------------


@dataclass(slots=True)
class Case:
    """A fault: how it is made, and what mends it."""

    name: str
    title: str
    fault: Callable[[TestBed], None]
    mend: Callable[[TestBed], None]


def _promote(bed: TestBed) -> None:
    bed.pg.primary.kill()
    # What a failover manager takes to be sure.
    time.sleep(1)
    bed.pg.promote()


def _hang(bed: TestBed) -> None:
    bed.pg.primary.freeze()
    time.sleep(6)
    bed.pg.promote()


def _wake_and_rejoin(bed: TestBed) -> None:
    # It wakes up as a second primary before somebody makes it a standby.
    bed.pg.replica.thaw()
    time.sleep(3)
    bed.pg.rejoin()


def _return_redis(bed: TestBed) -> None:
    bed.redis.primary.start()


def _rotate(bed: TestBed) -> None:
    done = bed.cli("keys", "rotate", "all")
    assert done.returncode == 0, done.stderr


def _leave(bed: TestBed) -> None:
    process = bed.processes.pop("s2")
    # The server itself, below `ip netns exec`, is this process: exec replaces it.
    process.terminate()
    process.wait(60)


CASES = [
    Case("calm", "nothing fails", lambda bed: None, lambda bed: None),
    Case(
        "kill",
        "kill -9 an instance",
        lambda bed: bed.kill_instance("s1"),
        lambda bed: bed.start_instance("s1"),
    ),
    Case(
        "leave",
        "an instance stops in good order and returns",
        _leave,
        lambda bed: bed.start_instance("s2"),
    ),
    Case("keys", "all keys are rotated", _rotate, lambda bed: None),
    Case("redis", "kill -9 the Redis master", lambda bed: bed.redis.primary.kill(), _return_redis),
    Case(
        "cut-database",
        "cut an instance off from the database",
        lambda bed: bed.network.cut("s2", "pg1", "pg2"),
        lambda bed: bed.network.mend(),
    ),
    Case(
        "cut-storage",
        "cut an instance off from storage",
        lambda bed: bed.network.cut("s3", "store"),
        lambda bed: bed.network.mend(),
    ),
    Case(
        "cut-balancer",
        "cut an instance off from the balancer",
        lambda bed: bed.network.cut("s1", "lb"),
        lambda bed: bed.network.mend(),
    ),
    Case(
        "primary",
        "kill -9 the PostgreSQL primary, promote the replica",
        _promote,
        lambda bed: bed.pg.rejoin(),
    ),
    Case(
        "hang-standby",
        "the synchronous PostgreSQL standby hangs",
        lambda bed: bed.pg.replica.freeze(),
        lambda bed: bed.pg.replica.thaw(),
    ),
    Case(
        "hang-primary",
        "the PostgreSQL primary hangs, its standby is promoted after 6 s; it wakes up at the end",
        _hang,
        _wake_and_rejoin,
    ),
]


def _disturbed(calls: list[Call], since: float, until: float, before: float, limit: float) -> dict[str, Any]:
    """How long and how much clients were disturbed by what happened at `since`.

    A call counts when it ended after that and was begun before `until`, however long it lasted, unless it was
    begun before `before`: then it is of the phase before.
    """
    seen = [call for call in calls if call.end >= since and before <= call.start < until]
    failed = [call for call in seen if call.error]
    slow = [call for call in seen if call.end - call.start > limit and not call.kind.startswith("skopeo")]
    last = max((call.end for call in [*failed, *slow]), default=since)
    http = [call for call in seen if not call.kind.startswith("skopeo")]
    return {
        "requests": len(http),
        "failed": len([call for call in failed if not call.kind.startswith("skopeo")]),
        "skopeo": len(seen) - len(http),
        "skopeo_failed": len([call for call in failed if call.kind.startswith("skopeo")]),
        "recovery": round(last - since, 1),
        "reads_out": _outage([call for call in http if _reads(call)], since, until),
        "writes_out": _outage([call for call in http if not _reads(call)], since, until),
        "longest": round(max((call.end - call.start for call in http), default=0), 1),
        "slowest": [
            f"{call.kind} {call.end - call.start:.1f} s from {call.start - since:+.1f} s"
            for call in sorted(slow, key=lambda call: call.start - call.end)[:6]
        ],
        "errors": sorted({f"{call.kind}: {call.error[:120]}" for call in failed})[:12],
    }


def _reads(call: Call) -> bool:
    return call.kind.startswith(("GET", "HEAD"))


def _outage(calls: list[Call], since: float, until: float) -> float:
    """The longest time between `since` and `until` in which no call of `calls` succeeded (seconds)."""
    good = sorted(call.end for call in calls if not call.error and since <= call.end <= until)
    moments = [since, *good, until]
    return round(max(after - before for before, after in pairwise(moments)), 1)


def _endless(minutes: float) -> Iterator[Case]:
    """Cases in random order, until the time is up."""
    seed = random.randrange(10**6)
    print(f"seed {seed}", file=sys.stderr, flush=True)
    dice, end = random.Random(seed), time.monotonic() + minutes * 60
    yield CASES[0]
    while time.monotonic() < end:
        yield dice.choice(CASES)


def run(prefix: str, seconds: float, names: list[str], minutes: float = 0) -> dict[str, Any]:
    """Run the cases, or random ones for some minutes; see the module text."""
    bed = TestBed(prefix)
    cases = _endless(minutes) if minutes else [case for case in CASES if not names or case.name in names]
    results: list[dict[str, Any]] = []
    load = Load(bed.url)
    marks: list[tuple[Case, float, float]] = []
    limit, busy = SLOW, [os.getloadavg()[0]]
    try:
        started = time.monotonic()
        bed.start()
        setup = time.monotonic() - started
        load.start()
        time.sleep(4)
        for case in cases:
            print(f"{time.monotonic() - started:6.1f} {case.name}", file=sys.stderr, flush=True)
            fault_at = time.monotonic()
            case.fault(bed)
            time.sleep(max(0.0, fault_at + seconds - time.monotonic()))
            mend_at = time.monotonic()
            case.mend(bed)
            for name in INSTANCES:
                bed.wait_instance(name)
            time.sleep(3)
            marks.append((case, fault_at, mend_at))
            if minutes:
                done = bed.cli("gc", "--grace-minutes", "1", "--reader-minutes", "1")
                if done.returncode:
                    load.fatal.append(f"gc: {done.stderr[-300:]}")
        busy.append(os.getloadavg()[0])
        load.stop()
        end = time.monotonic()
        before = started
        for number, (case, fault_at, mend_at) in enumerate(marks):
            following = marks[number + 1][1] if number + 1 < len(marks) else end
            fault = _disturbed(load.calls, fault_at, mend_at, before, limit)
            mended = _disturbed(load.calls, mend_at, following, mend_at, limit)
            if case.name == "calm":
                limit = max(SLOW, 2 * fault["longest"])
            before = mend_at
            results.append({"name": case.name, "title": case.title, "fault": fault, "mended": mended})
            print(json.dumps(results[-1]), file=sys.stderr, flush=True)
        check = bed.cli("ha", "check", "--json")
        faults = json.loads(check.stdout)["faults"] if check.stdout else [check.stderr]
        # The bed has no job runner.
        faults = [item for item in faults if not isinstance(item, dict) or item["kind"] != "jobs"]
        lost = _everything_there(bed, load, collected=minutes > 0)
    finally:
        load.stopped.set()
        logs = {name: bed.log(name) for name in bed.processes}
        bed.close()
    history = {tag: len(ops) for tag, ops in load.registers.items()}
    right = {tag: linearizable(ops) for tag, ops in load.registers.items()}
    return {
        "seconds": seconds,
        "slow": limit,
        "load_average": [round(value, 1) for value in busy],
        "setup": round(setup, 1),
        "cases": results,
        "manifests": len(load.pushed),
        "blobs": len(load.blobs),
        "lost": lost,
        "fatal": load.fatal,
        "unauthorized": load.unauthorized,
        "operations": history,
        "linearizable": right,
        "wrong": {
            tag: [
                f"{op.start - started:.3f} {op.end - started:.3f} {['read', 'wrote'][op.write]} {op.value}"
                for op in sorted(around_fault(load.registers[tag]), key=lambda op: op.start)
            ]
            for tag, fine in right.items()
            if not fine
        },
        "check": faults,
        "skopeo_runs": load.skopeo_runs,
        "logs": logs if load.fatal or lost or not all(right.values()) else {},
    }


def _everything_there(bed: TestBed, load: Load, *, collected: bool) -> list[str]:
    """What was acknowledged and is not there, asked of each instance in turn.

    Where garbage was `collected` with a grace of a minute, a push that was given up after a minute leaves
    blobs that nothing names: those may be gone.
    """
    lost = []
    named = {digest for _, manifest in load.pushed.values() for digest in _blobs_of(manifest)}
    places = [httpx.Client(base_url=bed.address(n), auth=("admin", PASSWORD), timeout=60) for n in INSTANCES]
    for number, (tag, (_, manifest)) in enumerate(load.pushed.items()):
        answer = places[number % 3].get(f"/v2/library/chaos/manifests/{tag}")
        if answer.content != manifest:
            lost.append(f"manifest {tag}: {answer.status_code}")
    for number, (digest, data) in enumerate(load.blobs.items()):
        if collected and digest not in named:
            continue
        answer = places[number % 3].get(f"/v2/library/chaos/blobs/{digest}")
        if answer.content != data:
            lost.append(f"blob {digest}: {answer.status_code}")
    for place in places:
        place.close()
    return lost


def _blobs_of(manifest: bytes) -> list[str]:
    document = json.loads(manifest)
    return [item["digest"] for item in (document["config"], *document["layers"])]


def main() -> None:
    """See the module text."""
    prefix, seconds, file, *names = sys.argv[1:]
    result = run(prefix, float(seconds), names, float(os.environ.get("SEAWALL_SOAK_MINUTES", "0")))
    Path(file).write_text(json.dumps(result, indent=1))
    fine = not (result["lost"] or result["fatal"] or result["unauthorized"])
    sys.exit(0 if fine and all(result["linearizable"].values()) else 1)


if __name__ == "__main__":
    main()
