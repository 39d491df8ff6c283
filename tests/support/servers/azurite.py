"""Azurite, Microsoft's own emulator of Azure's Blob service (npm), on loopback."""

from __future__ import annotations

import base64
import contextlib
import fcntl
import hashlib
import hmac
import secrets
import shutil
import subprocess
import tempfile
import time
from email.utils import formatdate
from pathlib import Path

import httpx

from seawall.infra.settings import StorageSettings
from tests.support.processes import free_port

ACCOUNT = "seawalltest"
_HERE = Path(__file__).parent / "node"


def _program() -> Path:
    found = _HERE / "node_modules/.bin/azurite-blob"
    with Path("/tmp/seawall-azurite.lock").open("w") as lock:
        # Of test runs that start together one installs.
        fcntl.flock(lock, fcntl.LOCK_EX)
        if not found.exists():
            argv = ["npm", "ci", "--no-audit", "--no-fund", "--ignore-scripts"]
            subprocess.run(argv, cwd=_HERE, check=True, capture_output=True, timeout=280)
    return found


class AzuriteServer:
    """One account; `container()` makes a container, `settings()` name it."""

    def __init__(self) -> None:
        self.key = base64.b64encode(secrets.token_bytes(32)).decode()
        self.root = Path(tempfile.mkdtemp(prefix="seawall-azurite-"))
        self.port = free_port()
        self.endpoint = f"http://127.0.0.1:{self.port}/{ACCOUNT}"
        self.process: subprocess.Popen[bytes] | None = None

    def start(self) -> None:
        argv = [str(_program()), "--silent", "--blobHost", "127.0.0.1", "--blobPort", str(self.port)]
        argv += ["--location", str(self.root), "--skipApiVersionCheck", "--disableTelemetry"]
        log = self.root / "log"
        with log.open("ab") as output:
            self.process = subprocess.Popen(
                ["setpriv", "--pdeathsig", "TERM", *argv],
                env={"PATH": "/usr/local/bin:/usr/bin:/bin", "AZURITE_ACCOUNTS": f"{ACCOUNT}:{self.key}"},
                stdout=output,
                stderr=output,
            )
        deadline = time.monotonic() + 60
        while time.monotonic() < deadline:
            with contextlib.suppress(httpx.HTTPError):
                httpx.get(self.endpoint)
                return
            assert self.process.poll() is None, log.read_text()
            time.sleep(0.1)
        raise AssertionError("azurite did not start: " + log.read_text())

    def stop(self) -> None:
        if self.process is not None:
            self.process.terminate()
            self.process.wait(20)
        shutil.rmtree(self.root, ignore_errors=True)

    def container(self) -> str:
        """A new, empty container (Put Container, signed by Shared Key)."""
        name = "c" + secrets.token_hex(6)
        headers = {"x-ms-date": formatdate(usegmt=True), "x-ms-version": "2021-08-06"}
        signed = "".join(f"{key}:{value}\n" for key, value in sorted(headers.items()))
        # The account is named twice: once as such, once as the path of an emulator's URL.
        text = f"PUT{chr(10) * 12}{signed}/{ACCOUNT}/{ACCOUNT}/{name}\nrestype:container"
        mac = hmac.new(base64.b64decode(self.key), text.encode(), hashlib.sha256).digest()
        headers["Authorization"] = f"SharedKey {ACCOUNT}:{base64.b64encode(mac).decode()}"
        made = httpx.put(
            f"{self.endpoint}/{name}?restype=container", headers={**headers, "Content-Length": "0"}
        )
        assert made.status_code == 201, made.text
        return name

    def settings(self, container: str, rootdirectory: str = "") -> StorageSettings:
        """The storage settings for a container."""
        azure = {
            "container": container,
            "accountname": ACCOUNT,
            "accountkey": self.key,
            "endpoint": self.endpoint,
            "rootdirectory": rootdirectory,
        }
        return StorageSettings.model_validate({"driver": "azure", "azure": azure})
