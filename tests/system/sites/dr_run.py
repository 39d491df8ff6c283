"""Two sites under push load while the link is cut and healed, a site is isolated, a site is killed.

`python -m tests.system.sites.dr_run PREFIX SECONDS RESULT BOTH` on the client's host of a network of its own;
each phase lasts SECONDS; `BOTH` 1 gives both sites PostgreSQL, else `b` has SQLite. Writes what happened to
RESULT as JSON.

The clients ask each site whether it takes writes (`/readyz?writes=1`), as a balancer before two sites does,
and push to the one that says so; every acknowledged push is written down with its time. What counts: an
acknowledged push that is neither at the new active nor among the divergences, two sites that acknowledge at
one time, a row or blob that differs once all is healed.
"""

from __future__ import annotations

import base64
import contextlib
import json
import os
import secrets
import shutil
import signal
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import httpx

from tests.support import forked
from tests.support.cluster import FAST
from tests.support.dr_hosts import HOSTS, LEASE
from tests.support.processes import PASSWORD, SEAWALL, clean_environment
from tests.support.servers.postgres import PostgresNode
from tests.support.sites import MANIFEST, differences, push
from tests.support.testbed import Network
from tests.support.waiting import until

AUTH = ("admin", PASSWORD)


class NetSite:
    """One site on a host of its own: its PostgreSQL (or SQLite) and one instance."""

    def __init__(self, bed: Bed, name: str, *, postgres: bool) -> None:
        self.bed = bed
        self.name = name
        self.inside = bed.network.inside(name)
        address = bed.network.ip(name)
        self.url = f"http://{address}:8080"
        self.root = bed.root / name
        self.root.mkdir()
        self.pg = PostgresNode(bed.root / f"pg-{name}", host=address, port=5432) if postgres else None
        self.process: forked.Forked | subprocess.Popen[bytes] | None = None
        self.database = f"sqlite:///{self.root / 'data' / 'seawall.db'}"
        if self.pg is not None:
            self.database = f"postgresql://seawall@{address}:5432/postgres"
        other = bed.network.ip("b" if name == "a" else "a")
        self.environment = clean_environment(
            **{
                **FAST,
                "SEAWALL_DATA_DIR": str(self.root / "data"),
                "SEAWALL_DATABASE__URL": self.database,
                "SEAWALL_ADMIN_PASSWORD": PASSWORD,
                "SEAWALL_MASTER_KEY": bed.master,
                "SEAWALL_HTTP__HOST": "0.0.0.0",
                "SEAWALL_EXTERNAL_URL": self.url,
                "SEAWALL_DR__SITE": name,
                "SEAWALL_DR__PEER": f"http://{other}:8080",
                "SEAWALL_DR__ALLOW_HTTP": "true",
                "SEAWALL_DR__START_AS": "active" if name == "a" else "standby",
                "SEAWALL_DR__WITNESS": f"http://{bed.network.ip('w')}:8090",
                "SEAWALL_DR__POLL_SECONDS": "0.3",
                "SEAWALL_DR__TIMEOUT_SECONDS": "2",
                "SEAWALL_DR__LEASE_SECONDS": str(LEASE),
            }
        )

    def start(self, *, first: bool = False) -> None:
        """Start database and instance; does not wait."""
        if self.pg is not None:
            if first:
                self.pg.init()
            self.pg.start(self.inside)
        with (self.root / "log").open("ab") as log:
            command, network = ["serve", "--port", "8080"], self.bed.network.name(self.name)
            if self.bed.measured:
                self.process = subprocess.Popen(
                    [*self.inside, *SEAWALL, *command],
                    env=self.environment,
                    stdout=log,
                    stderr=log,
                    stdin=subprocess.DEVNULL,
                    start_new_session=True,
                    cwd=self.root,
                )
            else:
                self.process = forked.started(
                    command, self.environment, self.root, log.fileno(), network=network
                )

    def kill(self) -> None:
        """kill -9 the instance and the database."""
        if self.process is not None:
            with contextlib.suppress(ProcessLookupError):
                os.killpg(self.process.pid, signal.SIGKILL)
            self.process.wait()
            self.process = None
        if self.pg is not None:
            self.pg.kill()

    def log(self) -> str:
        """The end of the instance's log."""
        return (self.root / "log").read_text()[-4000:]

    def status(self) -> dict[str, Any]:
        """GET /dr; without an answer {}."""
        with contextlib.suppress(httpx.HTTPError, ValueError):
            answer = httpx.get(f"{self.url}/api/v2.0/dr", auth=AUTH, timeout=3)
            if answer.status_code == 200:
                return dict(answer.json())
        return {}

    def call(self, path: str, body: dict[str, Any] | None = None) -> httpx.Response:
        """POST below /dr."""
        return httpx.post(f"{self.url}/api/v2.0/dr/{path}", auth=AUTH, json=body or {}, timeout=120)

    def is_(self, role: str, syncing: str | None = None) -> bool:
        """Whether its role (and sync) is this."""
        told = self.status()
        return told.get("role") == role and (syncing is None or told.get("syncing") == syncing)


class Bed:
    """The sites, and the witness on a third host."""

    def __init__(self, prefix: str, *, both: bool) -> None:
        self.network = Network(prefix, HOSTS)
        self.root = Path(tempfile.mkdtemp(prefix="seawall-dr-"))
        self.root.chmod(0o755)
        self.master = base64.b64encode(secrets.token_bytes(32)).decode()
        # What docs/dr-results.md tells of starts as an operator's does: in a new interpreter.
        self.measured = both
        self.a = NetSite(self, "a", postgres=True)
        self.b = NetSite(self, "b", postgres=both)
        self.witness: subprocess.Popen[bytes] | None = None

    def start(self) -> None:
        """Start all of it; returns when `b` follows."""
        self.witness = subprocess.Popen(
            [*self.network.inside("w"), *SEAWALL, "dr", "witness", "--host", "0.0.0.0", "--port", "8090"],
            env=clean_environment(SEAWALL_DATA_DIR=str(self.root / "w"), SEAWALL_MASTER_KEY=self.master),
            stdin=subprocess.DEVNULL,
            stdout=subprocess.DEVNULL,
            start_new_session=True,
            cwd=self.root,
        )
        self.a.start(first=True)
        self.b.start(first=True)
        until(lambda: self.a.is_("active") and self.b.is_("standby", "following"), self.told)

    def told(self) -> str:
        """What the sites say."""
        return "\n".join(f"{s.name}: {s.status()}\n{s.log()}" for s in (self.a, self.b))

    def settled(self, active: NetSite, standby: NetSite) -> float:
        """Wait until one is active and the other follows it; returns how long that took."""
        began = time.monotonic()
        until(lambda: active.is_("active") and standby.is_("standby", "following"), self.told)
        return time.monotonic() - began

    def close(self) -> None:
        """Stop and remove everything."""
        for site in (self.a, self.b):
            with contextlib.suppress(Exception):
                site.kill()
        if self.witness is not None:
            self.witness.kill()
            self.witness.wait()
        shutil.rmtree(self.root, ignore_errors=True)


@dataclass(slots=True)
class Ack:
    """A push that a site acknowledged."""

    site: str
    tag: str
    digest: str
    began: float
    at: float


@dataclass(slots=True)
class Load:
    """Clients that push to whichever site takes writes."""

    bed: Bed
    acks: list[Ack] = field(default_factory=list)
    failed: int = 0
    lags: list[float] = field(default_factory=list)
    stopped: threading.Event = field(default_factory=threading.Event)
    threads: list[threading.Thread] = field(default_factory=list)

    def start(self) -> None:
        """Start two clients that prefer different sites, and one that looks at the lag."""
        for work in (lambda: self._push(0), lambda: self._push(1), self._look):
            thread = threading.Thread(target=work, daemon=True)
            thread.start()
            self.threads.append(thread)

    def stop(self) -> None:
        """Stop them."""
        self.stopped.set()
        for thread in self.threads:
            thread.join(60)

    def _push(self, client: int) -> None:
        number = 0
        order = [self.bed.a, self.bed.b] if client == 0 else [self.bed.b, self.bed.a]
        while not self.stopped.is_set():
            for site in order:
                try:
                    if httpx.get(f"{site.url}/readyz?writes=1", timeout=1).status_code != 200:
                        continue
                    number += 1
                    tag, began = f"c{client}-{number}", time.monotonic()
                    digest = push(site.url, AUTH, "library/load", tag, os.urandom(30_000))
                    self.acks.append(Ack(site.name, tag, digest, began, time.monotonic()))
                    break
                except httpx.HTTPError:
                    self.failed += 1
            self.stopped.wait(0.15)

    def _look(self) -> None:
        while not self.stopped.wait(0.5):
            for site in (self.bed.a, self.bed.b):
                told = site.status()
                if told.get("role") == "standby" and told.get("lag_seconds") is not None:
                    self.lags.append(told["lag_seconds"])

    def of(self, site: NetSite, since: float = 0) -> list[Ack]:
        """What a site acknowledged after `since`."""
        return [ack for ack in list(self.acks) if ack.site == site.name and ack.at >= since]


def holds(site: NetSite, acks: list[Ack]) -> list[Ack]:
    """Those of `acks` that a site lacks under their digest."""
    missing = []
    with httpx.Client(base_url=site.url, auth=AUTH, headers={"Accept": MANIFEST}, timeout=30) as client:
        for ack in acks:
            if client.head(f"/v2/library/load/manifests/{ack.digest}").status_code != 200:
                missing.append(ack)
    return missing


def first_after(load: Load, site: NetSite, since: float) -> float:
    """Seconds from `since` to the first push that a site acknowledged."""
    until(lambda: load.of(site, since), load.bed.told)
    return load.of(site, since)[0].at - since


def unplanned(
    load: Load,
    old: NetSite,
    new: NetSite,
    fault: Callable[[], None],
    mend: Callable[[], None],
    seconds: float,
) -> dict[str, Any]:
    """`fault` takes the old active away, the new one is promoted, `mend` brings the old one back."""
    before = time.monotonic()
    fault()
    gone = time.monotonic()
    answer = new.call("promote")
    promoted = time.monotonic()
    assert answer.status_code == 200, answer.text + load.bed.told()
    rto = first_after(load, new, before)
    begun = load.of(new, before)[0].began
    acked = load.of(old)
    lost = holds(new, acked)
    together = [ack for ack in acked if ack.at > begun]
    time.sleep(seconds)
    mend()
    returned = load.bed.settled(new, old)
    still = holds(new, lost)
    told = {item["name"] for item in httpx.get(f"{new.url}/api/v2.0/dr/divergences", auth=AUTH).json()}
    named = [ack for ack in lost if f"library/load:{ack.tag}" in told or ack.digest in str(told)]
    stopped = max((ack.at for ack in acked), default=gone)
    # How far the new active was behind when the old one acknowledged its last write.
    window = max(stopped, gone) - min((ack.at for ack in lost), default=max(stopped, gone))
    return {
        "promote": round(promoted - gone, 2),
        "rto": round(rto, 2),
        "rpo": round(window, 2),
        "stopped": round(max(0.0, stopped - before), 2),
        "lost": len(lost),
        "told": len(named),
        "still": len(still),
        "together": len(together),
        "returned": round(returned, 2),
    }


def run(prefix: str, seconds: float, *, both: bool) -> dict[str, Any]:
    """Run the phases; see the module text."""
    bed = Bed(prefix, both=both)
    load = Load(bed)
    phases: dict[str, dict[str, Any]] = {}

    def say(text: str) -> None:
        print(f"{time.monotonic() - started:6.1f} {text}", file=sys.stderr, flush=True)

    started = time.monotonic()
    try:
        bed.start()
        a, b = bed.a, bed.b
        say("started")
        load.start()
        time.sleep(seconds)
        phases["steady"] = {"lag": max(load.lags, default=None), "acks": len(load.acks)}
        say("link cut")
        cut = time.monotonic()
        bed.network.cut("a", "b")
        time.sleep(seconds)
        acks = len(load.of(a, cut))
        bed.network.mend()
        healed = time.monotonic()
        until(lambda: not holds(b, load.of(a)[-3:]) and b.is_("standby", "following"), bed.told)
        phases["link"] = {
            "cut": round(healed - cut, 1),
            "acks": acks,
            "caught_up": round(time.monotonic() - healed, 2),
        }
        say("planned switch")
        phases["planned"] = planned(load, a, b)
        time.sleep(seconds / 2)
        phases["failback"] = planned(load, b, a)
        say("isolated")
        phases["isolated"] = unplanned(
            load, a, b, lambda: bed.network.cut("a", "b", "w"), bed.network.mend, seconds / 2
        )
        say("killed")
        phases["killed"] = unplanned(load, b, a, b.kill, b.start, seconds / 2)
        say("settle")
        load.stop()
        phases["end"] = end(bed, load)
        say("done")
    finally:
        load.stopped.set()
        logs = {site.name: site.log() for site in (bed.a, bed.b) if (site.root / "log").exists()}
        bed.close()
    return {"seconds": seconds, "both": both, "phases": phases, "failed": load.failed, "logs": logs}


def planned(load: Load, old: NetSite, new: NetSite) -> dict[str, Any]:
    """A switch with both sites there."""
    began = time.monotonic()
    answer = new.call("failback")
    switched = time.monotonic()
    assert answer.status_code == 200, answer.text + load.bed.told()
    first_after(load, new, began)
    last = max((ack.at for ack in load.of(old)), default=began)
    first = load.of(new, began)[0]
    lost = holds(new, load.of(old))
    returned = load.bed.settled(new, old)
    return {
        "promote": round(switched - began, 2),
        "rto": round(max(0.0, first.at - max(last, began)), 2),
        "lost": len(lost),
        "together": len([ack for ack in load.of(old) if ack.at > first.began]),
        "returned": round(returned, 2),
    }


def end(bed: Bed, load: Load) -> dict[str, Any]:
    """Both sites hold everything and the same."""
    deadline = time.monotonic() + 60
    found = differences(bed.a.database, bed.b.database)
    while found and time.monotonic() < deadline:
        time.sleep(0.5)
        found = differences(bed.a.database, bed.b.database)
    damaged = []
    for site in (bed.a, bed.b):
        done = forked.run("fsck", environment=site.environment, cwd=site.root, timeout=120)
        if done.returncode:
            damaged.append(f"{site.name}: {done.stdout[:500]}{done.stderr[:500]}")
    return {
        "acks": len(load.acks),
        "missing": [len(holds(site, load.acks)) for site in (bed.a, bed.b)],
        "differences": sum(map(len, found.values())),
        "rows": json.dumps(found)[:1000],
        "damaged": damaged,
    }


def main() -> None:
    """See the module text."""
    prefix, seconds, file, both = sys.argv[1:]
    Path(file).write_text(json.dumps(run(prefix, float(seconds), both=both == "1"), indent=1))


if __name__ == "__main__":
    main()
