"""A PostgreSQL primary with a streaming replica, as an operator would run them, on loopback.

Replication is synchronous (`synchronous_standby_names = '*'`) unless told otherwise: then a commit that was
acknowledged is on the replica too, so promoting it loses nothing.
"""

from __future__ import annotations

import contextlib
import os
import secrets
import shutil
import signal
import subprocess
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path

import psycopg
from psycopg import sql

from seawall.infra.db import migrate
from tests.support.processes import free_port
from tests.support.waiting import until


def _as_postgres(*command: str) -> list[str]:
    # PostgreSQL refuses to run as root.
    return [*(["runuser", "-u", "postgres", "--"] if os.getuid() == 0 else []), *command]


class PostgresNode:
    """One server: data directory, address, process."""

    def __init__(self, root: Path, *, host: str = "127.0.0.1", port: int | None = None) -> None:
        binaries = sorted(Path("/usr/lib/postgresql").glob("*/bin"))
        assert binaries, "PostgreSQL is not installed; run .ci/packages.sh"
        self.bin = binaries[-1]
        self.root = root
        self.data = root / "data"
        self.host = host
        self.port = port or free_port(host)
        self.options: dict[str, str] = {}
        self.process: subprocess.Popen[bytes] | None = None
        root.mkdir(parents=True, exist_ok=True)
        if os.getuid() == 0:
            shutil.chown(root, "postgres", "postgres")

    def run(self, *command: str, check: bool = True) -> subprocess.CompletedProcess[str]:
        """Run one of PostgreSQL's own programs as its user."""
        return subprocess.run(
            _as_postgres(str(self.bin / command[0]), *command[1:]),
            check=check,
            capture_output=True,
            text=True,
            cwd="/",
            timeout=120,
        )

    def init(self) -> None:
        """Make an empty cluster whose superuser is `seawall`, who may also stream it."""
        self.run("initdb", "-D", str(self.data), "-A", "trust", "-U", "seawall", "-E", "UTF8", "--no-sync")
        with (self.data / "pg_hba.conf").open("a") as hba:
            hba.write("host all all all trust\nhost replication all all trust\n")

    def start(self, prefix: tuple[str, ...] = (), *, wait: bool = True) -> None:
        """Start; `prefix` goes before the command (such as `ip netns exec NAME`)."""
        given = {
            "port": str(self.port),
            "listen_addresses": self.host,
            "unix_socket_directories": str(self.root),
            "max_connections": "200",
            # A replica notices at once that it was promoted, also while its primary is away.
            "wal_retrieve_retry_interval": "200ms",
            # Shared memory in files below the data directory: kill -9 then leaves nothing in /dev/shm.
            "dynamic_shared_memory_type": "mmap",
            **self.options,
        }
        arguments = [part for key, value in given.items() for part in ("-c", f"{key}={value}")]
        with (self.root / "server.log").open("ab") as log:
            self.process = subprocess.Popen(
                [
                    *prefix,
                    *_as_postgres(str(self.bin / "postgres"), "-D", str(self.data), *arguments),
                ],
                stdout=log,
                stderr=log,
                stdin=subprocess.DEVNULL,
                cwd="/",
                start_new_session=True,
            )
        if wait:
            self.wait()

    def wait(self, seconds: float = 60) -> None:
        """Wait until the server takes connections (through its socket, so in any network namespace)."""
        deadline = time.monotonic() + seconds
        while self.run("pg_isready", "-h", str(self.root), "-p", str(self.port), check=False).returncode:
            assert self.process is not None
            assert self.process.poll() is None, self.log()
            assert time.monotonic() < deadline, self.log()
            time.sleep(0.05)

    def sql(self, statement: str, database: str = "postgres") -> str:
        """Run a statement through the server's socket; returns what psql prints, unaligned."""
        command = ("psql", "-h", str(self.root), "-p", str(self.port), "-U", "seawall", "-d", database)
        return self.run(*command, "-XAtq", "-v", "ON_ERROR_STOP=1", "-c", statement).stdout.strip()

    def log(self) -> str:
        """The end of the server's log."""
        return (self.root / "server.log").read_text()[-4000:]

    def _pid(self) -> int | None:
        with contextlib.suppress(FileNotFoundError, ValueError, IndexError):
            return int((self.data / "postmaster.pid").read_text().split("\n")[0])
        return None

    def freeze(self) -> None:
        """SIGSTOP the postmaster and every backend: the kernel goes on acknowledging what is sent to them."""
        self._signal(signal.SIGSTOP)

    def thaw(self) -> None:
        """Undo `freeze`."""
        self._signal(signal.SIGCONT)
        # runuser stops itself when its child is stopped.
        if self.process is not None:
            os.kill(self.process.pid, signal.SIGCONT)

    def _signal(self, number: signal.Signals) -> None:
        pid = self._pid()
        assert pid is not None
        for victim in [pid, *_children(pid)]:
            with contextlib.suppress(ProcessLookupError):
                os.kill(victim, number)

    def kill(self) -> None:
        """kill -9 the postmaster and every backend at once, as a power cut would."""
        self._end(signal.SIGKILL)

    def stop(self, mode: str = "fast") -> None:
        """Stop in PostgreSQL's `fast` or `immediate` way."""
        self._end(signal.SIGINT if mode == "fast" else signal.SIGQUIT)

    def _end(self, sig: signal.Signals) -> None:
        if self.process is None:
            return
        os.kill(self.process.pid, signal.SIGCONT)
        if sig == signal.SIGKILL:
            # The postmaster leads its own session (setsid in its children), so by parent instead of group.
            pid = self._pid()
            for victim in [pid, *_children(pid)] if pid else []:
                with contextlib.suppress(ProcessLookupError):
                    os.kill(victim, signal.SIGKILL)
        else:
            pid = self._pid()
            if pid is not None:
                with contextlib.suppress(ProcessLookupError):
                    os.kill(pid, sig)
        try:
            self.process.wait(60)
        except subprocess.TimeoutExpired:
            os.killpg(self.process.pid, signal.SIGKILL)
            self.process.wait()
        self.process = None


def _children(pid: int) -> list[int]:
    found = []
    for entry in Path("/proc").iterdir():
        if entry.name.isdigit():
            with contextlib.suppress(OSError, IndexError, ValueError):
                parent = int((entry / "stat").read_text().rsplit(")", 1)[1].split()[1])
                if parent == pid:
                    found.append(int(entry.name))
    return found


class PostgresPair:
    """A primary and its streaming replica.

    `start`, then `database()` for the URL (both hosts in it) of a new database. `promote()` makes the replica
    the primary; `rejoin()` then makes the old primary its replica.
    """

    def __init__(
        self,
        root: Path | None = None,
        *,
        hosts: tuple[str, str] = ("127.0.0.1", "127.0.0.1"),
        ports: tuple[int | None, int | None] = (None, None),
        prefixes: tuple[tuple[str, ...], tuple[str, ...]] = ((), ()),
        synchronous: bool = True,
    ) -> None:
        """`hosts`, `ports`: addresses of the two servers; `prefixes`: see PostgresNode.start."""
        self.root = root or Path(tempfile.mkdtemp(prefix="seawall-pair-"))
        self.root.chmod(0o755)
        self.primary = PostgresNode(self.root / "a", host=hosts[0], port=ports[0])
        self.replica = PostgresNode(self.root / "b", host=hosts[1], port=ports[1])
        self._order = (self.primary, self.replica)
        self._prefix = dict(zip((id(self.primary), id(self.replica)), prefixes, strict=True))
        self._synchronous = synchronous

    def start(self) -> None:
        """Make both clusters and start them; returns once the replica streams."""
        self.primary.init()
        self.primary.start(self._prefix[id(self.primary)])
        self._follow()

    def _follow(self) -> None:
        """Make `replica` a fresh copy of `primary`, start it, wait until it streams."""
        shutil.rmtree(self.replica.data, ignore_errors=True)
        source = f"host={self.primary.host} port={self.primary.port} user=seawall"
        command = [
            *self._prefix[id(self.replica)],
            *_as_postgres(
                str(self.replica.bin / "pg_basebackup"),
                *(
                    "-d",
                    source,
                    "-D",
                    str(self.replica.data),
                    "-R",
                    "-X",
                    "stream",
                    "-c",
                    "fast",
                    "--no-sync",
                ),
            ),
        ]
        done = subprocess.run(command, capture_output=True, text=True, cwd="/", timeout=120)
        assert done.returncode == 0, done.stderr
        self.replica.start(self._prefix[id(self.replica)])
        until(
            lambda: (
                self.primary.sql("SELECT count(*) FROM pg_stat_replication WHERE state = 'streaming'") == "1"
            ),
            lambda: self.replica.log(),
        )
        if self._synchronous:
            self.primary.sql("ALTER SYSTEM SET synchronous_standby_names = '*'")
            self.primary.sql("SELECT pg_reload_conf()")
            until(
                lambda: self.primary.sql("SELECT max(sync_state) FROM pg_stat_replication") == "sync",
                lambda: self.replica.log(),
            )

    def promote(self) -> None:
        """Make the replica the primary (the old one should be stopped or cut off); the names swap."""
        # Without this, its commits would wait for a replica of its own that is not there.
        auto = self.replica.data / "postgresql.auto.conf"
        lines = [line for line in auto.read_text().splitlines() if "synchronous_standby_names" not in line]
        auto.write_text("\n".join(lines) + "\n")
        self.replica.run("pg_ctl", "-D", str(self.replica.data), "-w", "promote")
        self.primary, self.replica = self.replica, self.primary

    def rejoin(self) -> None:
        """Start the former primary, now `replica`, as a fresh copy of the new one."""
        self.replica.kill()
        self._follow()

    def database(self) -> str:
        """URL of a new, empty database; it names both hosts."""
        name = f"t{secrets.token_hex(6)}"
        self.primary.sql(f"CREATE DATABASE {name}")
        hosts = ",".join(f"{node.host}:{node.port}" for node in self._order)
        return f"postgresql://seawall@{hosts}/{name}"

    def close(self) -> None:
        """Stop both and remove their data."""
        for node in self._order:
            node.kill()
        shutil.rmtree(self.root, ignore_errors=True)


class Postgres:
    """A PostgreSQL server of the tests' own, on loopback, with data that go away afterwards."""

    def __init__(self, root: Path) -> None:
        binaries = sorted(Path("/usr/lib/postgresql").glob("*/bin"))
        assert binaries, "PostgreSQL is not installed; run .ci/packages.sh"
        self.bin = binaries[-1]
        self.root = root
        self.port = free_port()
        self._template = ""

    def _as_postgres(self, *command: str) -> None:
        # PostgreSQL refuses to run as root.
        prefix = ["runuser", "-u", "postgres", "--"] if os.getuid() == 0 else []
        subprocess.run([*prefix, *command], check=True, capture_output=True, cwd="/")

    def start(self) -> None:
        """Make a cluster and start it."""
        if os.getuid() == 0:
            shutil.chown(self.root, "postgres", "postgres")
        data = str(self.root / "data")
        made = ("-A", "trust", "-U", "seawall", "-E", "UTF8", "--no-sync")
        self._as_postgres(str(self.bin / "initdb"), "-D", data, *made)
        # Its data outlive no crash of the machine. Some hundred databases stay to the end: autovacuum would
        # look through each of them once a minute.
        options = f"-p {self.port} -c listen_addresses=127.0.0.1 -k {self.root}"
        options += " -c fsync=off -c full_page_writes=off -c autovacuum=off"
        self._as_postgres(
            str(self.bin / "pg_ctl"), "-D", data, "-o", options, "-l", f"{data}.log", "-w", "start"
        )

    def stop(self) -> None:
        """Stop the server."""
        self._as_postgres(str(self.bin / "pg_ctl"), "-D", str(self.root / "data"), "-m", "immediate", "stop")

    def database(self, template: str = "template1") -> str:
        """URL of a new database: empty, or a copy of one that nobody uses."""
        name = f"t{secrets.token_hex(6)}"
        server = f"postgresql://seawall@127.0.0.1:{self.port}/"
        with psycopg.connect(f"{server}postgres", autocommit=True) as connection:
            names = (sql.Identifier(name), sql.Identifier(template))
            connection.execute(sql.SQL("CREATE DATABASE {} TEMPLATE {}").format(*names))
        return server + name

    def migrated(self) -> str:
        """URL of a new database with Seawall's tables: a copy of one that this server makes once."""
        if not self._template:
            url = self.database()
            migrate.upgrade(url)
            self._template = url.rpartition("/")[2]
        return self.database(self._template)


@contextlib.contextmanager
def running_postgres() -> Iterator[Postgres]:
    """A server in a folder of its own, which goes with it."""
    # PostgreSQL's user must be able to enter the folder.
    root = Path(tempfile.mkdtemp(prefix="seawall-pg-"))
    root.chmod(0o755)
    server = Postgres(root)
    server.start()
    try:
        yield server
    finally:
        server.stop()
        shutil.rmtree(root, ignore_errors=True)
