"""Clean Debian roots in a network namespace that reaches nothing: the hosts an air-gapped site has."""

from __future__ import annotations

import contextlib
import os
import shlex
import signal
import subprocess
import time
from pathlib import Path

HARBOR_YML = "/opt/bundle/harbor.yml"


class Network:
    """A network namespace with a loopback device only, and one address for each host on it."""

    def __init__(self, name: str, addresses: list[str]) -> None:
        self.name = name
        self.prefix = ("ip", "netns", "exec", name)
        subprocess.run(["ip", "netns", "add", name], check=True)
        self.run("ip", "link", "set", "lo", "up")
        for address in addresses:
            self.run("ip", "address", "add", f"{address}/32", "dev", "lo")

    def run(self, *command: str, timeout: float = 120, check: bool = True) -> str:
        """Run a command of this machine in the namespace; returns what it prints."""
        done = subprocess.run(
            [*self.prefix, *command], capture_output=True, text=True, timeout=timeout, check=False
        )
        assert not check or done.returncode == 0, f"{shlex.join(command)}: {done.stdout}{done.stderr}"
        return done.stdout

    def close(self) -> None:
        """Remove the namespace."""
        subprocess.run(["ip", "netns", "delete", self.name], check=False)


def debian_archive(archive: Path) -> None:
    """Write a tar of a minimal Debian with Python, from the package archive that this machine uses."""
    codename = next(
        line.partition("=")[2].strip()
        for line in Path("/etc/os-release").read_text().splitlines()
        if line.startswith("VERSION_CODENAME=")
    )
    subprocess.run(
        ["mmdebstrap", "--quiet", "--variant=required", "--include=python3", codename, str(archive)],
        check=True,
        capture_output=True,
        timeout=400,
    )


class Host:
    """One host: a root folder, an address, a folder shared with the other hosts as /shared."""

    def __init__(self, network: Network, root: Path, address: str, shared: Path) -> None:
        self.network = network
        self.root = root
        self.address = address
        self._shared = shared
        self._processes: list[subprocess.Popen[bytes]] = []
        (root / "shared").mkdir(exist_ok=True)

    def _command(self, script: str) -> list[str]:
        # The mounts live in the namespace that `ip netns exec` makes, so they end with the process.
        enter = (
            f"mount --bind {self._shared} {self.root}/shared && mount -t proc proc {self.root}/proc "
            f"&& exec chroot {self.root} /bin/sh -c {shlex.quote(script)}"
        )
        return [*self.network.prefix, "/bin/sh", "-c", enter]

    @property
    def _environment(self) -> dict[str, str]:
        return {"PATH": "/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin", "LANG": "C.UTF-8"}

    def run(self, script: str, *, check: bool = True) -> subprocess.CompletedProcess[str]:
        """Run a shell script as root on the host."""
        done = subprocess.run(
            self._command(script),
            capture_output=True,
            text=True,
            timeout=240,
            check=False,
            env=self._environment,
        )
        assert not check or done.returncode == 0, f"{script}: {done.stdout}{done.stderr}"
        return done

    def write_harbor_yml(self, text: str) -> None:
        """Write the host's harbor.yml."""
        (self.root / HARBOR_YML.lstrip("/")).write_text(text)

    def start_units(self) -> None:
        """Start what the installed systemd units say, as systemd would: command, user, environment."""
        for name in ("seawall", "seawall-jobservice"):
            unit = (self.root / f"etc/systemd/system/{name}.service").read_text()
            values = dict(line.split("=", 1) for line in unit.splitlines() if "=" in line)
            environment = values["EnvironmentFile"].lstrip("-")
            script = (
                f"set -a; . {environment}; set +a; mkdir -p /var/log/seawall; "
                f"exec setpriv --reuid={values['User']} --regid={values['Group']} --init-groups "
                "--inh-caps=+net_bind_service --ambient-caps=+net_bind_service "
                f"{values['ExecStart']} >>/var/log/{name}.out 2>&1"
            )
            self._processes.append(
                subprocess.Popen(self._command(script), env=self._environment, start_new_session=True)
            )

    def wait_ready(self, port: int = 80) -> None:
        """Wait until the server says it is ready."""
        deadline = time.monotonic() + 90
        url = f"http://{self.address}:{port}/readyz"
        while "ok" not in self.network.run("curl", "-s", "-m", "3", url, check=False):
            assert all(process.poll() is None for process in self._processes), self.log()
            assert time.monotonic() < deadline, self.log()
            time.sleep(0.2)

    def log(self) -> str:
        """What the server printed."""
        return (self.root / "var/log/seawall.out").read_text()[-4000:]

    def kill(self) -> None:
        """kill -9 everything that runs on the host."""
        for process in self._processes:
            with contextlib.suppress(ProcessLookupError):
                os.killpg(process.pid, signal.SIGKILL)
            process.wait()
        self._processes.clear()

    def remove(self) -> None:
        """Stop the host and delete its root."""
        self.kill()
        subprocess.run(["rm", "-rf", str(self.root)], check=False)
