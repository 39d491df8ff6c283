"""Three instances, HAProxy, PostgreSQL with a replica, Redis with Sentinels and S3, each in a network
namespace of its own, joined by a bridge, so that any link can be cut.

Run by root, as `python -m tests.system.cluster.chaos`; the driver itself runs in the namespace `client`.
"""

from __future__ import annotations

import base64
import contextlib
import os
import secrets
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import httpx

from seawall.availability.cluster.balancer import Balancer, haproxy
from tests.support import forked
from tests.support.processes import PASSWORD, SEAWALL, clean_environment
from tests.support.servers.balancers import BalancerServer
from tests.support.servers.postgres import PostgresPair
from tests.support.servers.redis import RedisSentinel
from tests.support.servers.swift import SwiftServer

# The documentation range 198.18.0.0/15 (RFC 2544, for tests) meets no real network.
NET = "198.18.77"
HOSTS = {
    "client": 10,
    "lb": 20,
    "s1": 31,
    "s2": 32,
    "s3": 33,
    "pg1": 41,
    "pg2": 42,
    "r1": 51,
    "r2": 52,
    "r3": 53,
    "store": 61,
}
INSTANCES = ("s1", "s2", "s3")


def ip(host: str) -> str:
    """Address of a host of the test-bed."""
    return f"{NET}.{HOSTS[host]}"


def _run(*command: str, check: bool = True) -> str:
    done = subprocess.run(command, capture_output=True, text=True, timeout=30)
    assert not check or done.returncode == 0, f"{' '.join(command)}: {done.stderr}"
    return done.stdout


class Network:
    """The namespaces, named `PREFIX-HOST`, and the bridge in `PREFIX-hub`."""

    def __init__(self, prefix: str, hosts: dict[str, int] | None = None) -> None:
        self.prefix = prefix
        self.hosts = hosts or HOSTS

    def ip(self, host: str) -> str:
        """Address of a host."""
        return f"{NET}.{self.hosts[host]}"

    def name(self, host: str) -> str:
        """Name of a host's namespace."""
        return f"{self.prefix}-{host}"

    def inside(self, host: str) -> tuple[str, ...]:
        """Words that run a command on a host."""
        return ("ip", "netns", "exec", self.name(host))

    def create(self) -> None:
        """Make all of it."""
        hub = self.name("hub")
        _run("ip", "netns", "add", hub)
        _run("ip", "-n", hub, "link", "add", "br0", "type", "bridge")
        _run("ip", "-n", hub, "link", "set", "br0", "up")
        for host in self.hosts:
            name = self.name(host)
            _run("ip", "netns", "add", name)
            _run("ip", "-n", name, "link", "set", "lo", "up")
            pair = ("type", "veth", "peer", "name", f"p-{host}", "netns", hub)
            _run("ip", "-n", name, "link", "add", "eth0", *pair)
            _run("ip", "-n", hub, "link", "set", f"p-{host}", "master", "br0", "up")
            _run("ip", "-n", name, "addr", "add", f"{self.ip(host)}/24", "dev", "eth0")
            _run("ip", "-n", name, "link", "set", "eth0", "up")

    def cut(self, one: str, *others: str) -> None:
        """Drop every packet between `one` and `others`, silently, in both directions."""
        for other in others:
            _run(*self.inside(one), "iptables", "-A", "INPUT", "-s", self.ip(other), "-j", "DROP")
            _run(*self.inside(other), "iptables", "-A", "INPUT", "-s", self.ip(one), "-j", "DROP")

    def mend(self) -> None:
        """Undo every cut."""
        for host in self.hosts:
            _run(*self.inside(host), "iptables", "-F", "INPUT")

    def remove(self) -> None:
        """Remove the namespaces and what still runs in them."""
        for host in [*self.hosts, "hub"]:
            name = self.name(host)
            for pid in _run("ip", "netns", "pids", name, check=False).split():
                if int(pid) != os.getpid():
                    with contextlib.suppress(ProcessLookupError):
                        os.kill(int(pid), signal.SIGKILL)
            _run("ip", "netns", "del", name, check=False)


class TestBed:
    """The servers. `url` is the balancer's address, which is also `external_url`."""

    __test__ = False

    def __init__(self, prefix: str) -> None:
        self.network = Network(prefix)
        self.root = Path(tempfile.mkdtemp(prefix="seawall-bed-"))
        self.root.chmod(0o755)
        inside = self.network.inside
        (self.root / "pg").mkdir()
        self.pg = PostgresPair(
            self.root / "pg",
            hosts=(ip("pg1"), ip("pg2")),
            ports=(5432, 5432),
            prefixes=(inside("pg1"), inside("pg2")),
        )
        redis_hosts = ("r1", "r2", "r1", "r2", "r3")
        self.redis = RedisSentinel(
            hosts=tuple(ip(host) for host in redis_hosts),
            prefixes=tuple(inside(host) for host in redis_hosts),
        )
        self.s3 = SwiftServer(self.root / "swift", host=ip("store"), port=8080)
        self.url = f"http://{ip('lb')}:8080"
        self.lb = BalancerServer("haproxy", 8080, host=ip("lb"), prefix=inside("lb"))
        self.environment: dict[str, str] = {}
        self.processes: dict[str, forked.Forked | subprocess.Popen[bytes]] = {}
        # What docs/ha-results.md tells of starts as an operator's does: in a new interpreter.
        self._measured = "SEAWALL_CHAOS_SECONDS" in os.environ

    def start(self) -> None:
        """Start everything; returns when the balancer serves."""
        inside = self.network.inside
        self.pg.start()
        self.redis.start()
        self.s3.start(inside("store"))
        _wait(lambda: httpx.get(self.s3.url, timeout=2).status_code < 500, "S3")
        deadline = time.monotonic() + 60
        while True:
            try:
                bucket = self.s3.bucket()
                break
            except (AssertionError, httpx.HTTPError):
                assert time.monotonic() < deadline, "no bucket"
                time.sleep(0.5)
        self.environment = clean_environment(
            SEAWALL_ADMIN_PASSWORD=PASSWORD,
            SEAWALL_MASTER_KEY=base64.b64encode(secrets.token_bytes(32)).decode(),
            SEAWALL_EXTERNAL_URL=self.url,
            SEAWALL_DATABASE__URL=self.pg.database(),
            SEAWALL_REDIS__SENTINEL=self.redis.addresses,
            SEAWALL_HTTP__HOST="0.0.0.0",
            SEAWALL_HTTP__WORKERS="1",
            SEAWALL_HTTP__TRUSTED_PROXIES=ip("lb"),
            SEAWALL_KEYS__POLL_SECONDS="0.5",
            SEAWALL_KEYS__PUBLISH_SECONDS="3",
            SEAWALL_LOG__ACCESS="false",
            SEAWALL_JOBS__EMBEDDED="false",
            SEAWALL_HTTP__DRAIN_NOTICE_SECONDS="4",
            **self.s3.settings(bucket),
        )
        self.start_instance("s1")
        for name in INSTANCES[1:]:
            self.start_instance(name, wait=False)
        for name in INSTANCES[1:]:
            self.wait_instance(name)
        self.lb.start(haproxy(Balancer(self.url, [self.address(name) for name in INSTANCES])))
        _wait(lambda: httpx.get(f"{self.url}/readyz", timeout=2).status_code == 200, self.lb.log)

    def address(self, name: str) -> str:
        """URL of an instance itself."""
        return f"http://{ip(name)}:8080"

    def start_instance(self, name: str, *, wait: bool = True) -> None:
        """Start one instance."""
        directory = self.root / name
        directory.mkdir(exist_ok=True)
        with (directory / "log").open("ab") as log:
            environment = {**self.environment, "SEAWALL_DATA_DIR": str(directory / "data")}
            command, network = ["serve", "--port", "8080"], self.network.name(name)
            if self._measured:
                self.processes[name] = subprocess.Popen(
                    [*self.network.inside(name), *SEAWALL, *command],
                    env=environment,
                    stdout=log,
                    stderr=log,
                    stdin=subprocess.DEVNULL,
                    start_new_session=True,
                    cwd=directory,
                )
            else:
                self.processes[name] = forked.started(
                    command, environment, directory, log.fileno(), network=network
                )
        if wait:
            self.wait_instance(name)

    def wait_instance(self, name: str) -> None:
        """Wait until an instance is ready."""
        said = "nothing"

        def ready() -> bool:
            nonlocal said
            answer = httpx.get(f"{self.address(name)}/readyz", timeout=3)
            said = answer.text
            # The bed has no job runner, which makes an instance `degraded` after a while.
            found = answer.json()["checks"]
            found.pop("jobs", None)
            return answer.status_code == 200 and set(found.values()) == {"ok"}

        _wait(ready, lambda: f"/readyz said {said}\n{self.log(name)}")

    def log(self, name: str) -> str:
        """The end of an instance's log."""
        return (self.root / name / "log").read_text()[-6000:]

    def kill_instance(self, name: str) -> None:
        """kill -9 an instance, its server processes and its job runner."""
        process = self.processes.pop(name)
        with contextlib.suppress(ProcessLookupError):
            os.killpg(process.pid, signal.SIGKILL)
        process.wait()

    def cli(self, *arguments: str) -> subprocess.CompletedProcess[str]:
        """Run a `seawall` command on the client's host."""
        environment = {**self.environment, "SEAWALL_DATA_DIR": str(self.root / "cli")}
        return forked.run(*arguments, environment=environment, cwd=self.root, timeout=120)

    def close(self) -> None:
        """Stop everything and remove it."""
        for name in list(self.processes):
            self.kill_instance(name)
        self.lb.close()
        self.redis.close()
        self.s3.close()
        self.pg.close()
        shutil.rmtree(self.root, ignore_errors=True)


def _wait(ready: object, told: object, seconds: float = 90) -> None:
    assert callable(ready)
    deadline = time.monotonic() + seconds
    while True:
        with contextlib.suppress(httpx.HTTPError, ValueError, KeyError):
            if ready():
                return
        assert time.monotonic() < deadline, told() if callable(told) else f"{told} does not answer"
        time.sleep(0.2)


def in_own_network(
    module: str, *arguments: str, hosts: dict[str, int] | None = None, timeout: float | None = 3600
) -> subprocess.CompletedProcess[str]:
    """Run `python -m module PREFIX ARGUMENTS` on the client's host of a network of its own."""
    network = Network(f"sw{os.getpid()}", hosts)
    try:
        network.create()
        return subprocess.run(
            [*network.inside("client"), sys.executable, "-m", module, network.prefix, *arguments],
            text=True,
            timeout=timeout,
            capture_output=True,
        )
    finally:
        network.remove()
