"""Real Redis servers: one, a primary with replica and Sentinels, a Cluster; plain or with TLS."""

from __future__ import annotations

import shutil
import signal
import subprocess
import tempfile
import time
from pathlib import Path

import redis

from tests.support.processes import free_port


class RedisNode:
    """One redis-server process (or Sentinel), without persistence."""

    def __init__(
        self,
        *,
        host: str = "127.0.0.1",
        port: int | None = None,
        options: dict[str, str] | None = None,
        sentinel: str | None = None,
        prefix: tuple[str, ...] = (),
        tls: tuple[Path, Path] | None = None,
    ) -> None:
        """`sentinel`: configuration text of a Sentinel; `prefix`: words put before the command.

        `tls`: files of key and certificate, with which it then speaks TLS only.
        """
        self.tls = tls
        self.root = Path(tempfile.mkdtemp(prefix="seawall-redis-"))
        self.host = host
        self.port = port or free_port(host)
        self.options = options or {}
        self._sentinel = sentinel
        self._prefix = prefix
        self.process: subprocess.Popen[bytes] | None = None

    @property
    def url(self) -> str:
        """URL of the server."""
        return f"redis://{self.host}:{self.port}/0"

    def start(self) -> None:
        """Start and wait until it answers."""
        given = {
            "bind": self.host,
            "port": str(self.port),
            "dir": str(self.root),
            "protected-mode": "no",
            "daemonize": "no",
            "logfile": str(self.root / "log"),
        }
        if self._sentinel is None:
            given |= {"save": '""', "appendonly": "no", "repl-diskless-sync-delay": "0"}
        if self.tls is not None:
            key, certificate = (str(path) for path in self.tls)
            given |= {"port": "0", "tls-port": str(self.port), "tls-auth-clients": "no"}
            given |= {"tls-key-file": key, "tls-cert-file": certificate, "tls-ca-cert-file": certificate}
            given |= {"tls-replication": "yes", "tls-cluster": "yes"} if self._sentinel is None else {}
            given |= {} if self._sentinel is None else {"tls-replication": "yes"}
        given |= self.options
        text = "".join(f"{key} {value}\n" for key, value in given.items()) + (self._sentinel or "")
        file = self.root / "redis.conf"
        file.write_text(text)
        command = ["redis-server", str(file), *(["--sentinel"] if self._sentinel is not None else [])]
        self.process = subprocess.Popen(
            [*self._prefix, *command],
            stdin=subprocess.DEVNULL,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
            start_new_session=True,
        )
        deadline = time.monotonic() + 30
        while self.ask("PING") != "PONG":
            assert self.process.poll() is None, (self.root / "log").read_text()
            assert time.monotonic() < deadline, (self.root / "log").read_text()
            time.sleep(0.02)

    def ask(self, *words: str) -> str:
        """What redis-cli prints for a command, run in the server's network namespace."""
        tls = []
        if "tls-port" in self.options:
            tls = ["--tls", "--insecure", "-p", self.options["tls-port"]]
        elif self.tls is not None:
            tls = ["--tls", "--insecure"]
        command = [*self._prefix, "redis-cli", "-h", self.host, "-p", str(self.port), *tls, *words]
        done = subprocess.run(command, capture_output=True, text=True, timeout=20)
        return done.stdout.strip()

    def client(self) -> redis.Redis:
        """A client of it."""
        return redis.Redis(host=self.host, port=self.port, socket_timeout=5)

    def kill(self) -> None:
        """kill -9."""
        if self.process is not None:
            self.process.send_signal(signal.SIGKILL)
            self.process.wait()
            self.process = None

    def close(self) -> None:
        """Stop and remove its directory."""
        self.kill()
        shutil.rmtree(self.root, ignore_errors=True)


class RedisSentinel:
    """A primary, a replica, and three Sentinels that promote it within about a second."""

    def __init__(
        self,
        *,
        hosts: tuple[str, ...] = ("127.0.0.1", "127.0.0.1", "127.0.0.1", "127.0.0.1", "127.0.0.1"),
        prefixes: tuple[tuple[str, ...], ...] = ((), (), (), (), ()),
        name: str = "seawall",
        tls: tuple[Path, Path] | None = None,
    ) -> None:
        """`hosts` and `prefixes`: of the primary, the replica and the three Sentinels; `tls`: of all."""
        self.name = name
        self.primary = RedisNode(host=hosts[0], prefix=prefixes[0], tls=tls)
        self.replica = RedisNode(
            host=hosts[1],
            prefix=prefixes[1],
            tls=tls,
            options={"replicaof": f"{self.primary.host} {self.primary.port}"},
        )
        monitor = (
            f"sentinel monitor {name} {self.primary.host} {self.primary.port} 2\n"
            f"sentinel down-after-milliseconds {name} 500\n"
            f"sentinel failover-timeout {name} 3000\n"
        )
        self.sentinels = [
            RedisNode(host=host, prefix=prefix, sentinel=monitor, tls=tls)
            for host, prefix in zip(hosts[2:], prefixes[2:], strict=True)
        ]

    def start(self) -> None:
        """Start all of them; returns once the Sentinels know the replica and each other."""
        for node in (self.primary, self.replica, *self.sentinels):
            node.start()
        deadline = time.monotonic() + 30
        while True:
            facts = [node.ask("SENTINEL", "master", self.name).split("\n") for node in self.sentinels]
            known = [dict(zip(fact[::2], fact[1::2], strict=False)) for fact in facts]
            if all(k.get("num-slaves") == "1" and k.get("num-other-sentinels") == "2" for k in known):
                return
            assert time.monotonic() < deadline, known
            time.sleep(0.1)

    @property
    def addresses(self) -> str:
        """The Sentinels as the setting `redis.sentinel` takes them."""
        return ",".join(f"{node.host}:{node.port}" for node in self.sentinels)

    def close(self) -> None:
        """Stop everything."""
        for node in (*self.sentinels, self.replica, self.primary):
            node.close()
