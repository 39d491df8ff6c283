"""A real S3 server: OpenStack Swift with its S3 API, one node on loopback.

Proxy, account, container and object server are the ones from PyPI (`swift`), each one process, with their
data in one directory whose filesystem must know user extended attributes (ext4, xfs, btrfs do).
"""

from __future__ import annotations

import contextlib
import getpass
import os
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from datetime import timedelta
from pathlib import Path
from typing import Any

import httpx
import obstore
from obstore.store import S3Store

from tests.support.processes import free_port

_BIN = Path(sys.executable).parent
_ACCESS_KEY = "test:tester"
_SECRET_KEY = "testing"

_COMMON = """[DEFAULT]
bind_ip = {bind}
bind_port = {port}
workers = 0
user = {user}
swift_dir = {conf}
devices = {devices}
mount_check = false
disable_fallocate = true
fallocate_reserve = 0
log_level = WARNING
"""
_PROXY = """
[pipeline:main]
pipeline = catch_errors s3api tempauth bulk slo dlo proxy-server

[app:proxy-server]
use = egg:swift#proxy
account_autocreate = true

[filter:catch_errors]
use = egg:swift#catch_errors

[filter:s3api]
use = egg:swift#s3api
location = us-east-1
# Listing parts and buckets ends at these; the ones Amazon documents.
max_upload_part_num = 10000

[filter:tempauth]
use = egg:swift#tempauth
user_test_tester = testing .admin

[filter:bulk]
use = egg:swift#bulk

[filter:slo]
use = egg:swift#slo
max_manifest_segments = 10000

[filter:dlo]
use = egg:swift#dlo
"""
_SERVER = """
[pipeline:main]
pipeline = {kind}-server

[app:{kind}-server]
use = egg:swift#{kind}
"""


class SwiftServer:
    """One S3 endpoint. `start`, `stop` (data stay), `close` (data go); `bucket()` makes a new bucket."""

    access_key = _ACCESS_KEY
    secret_key = _SECRET_KEY
    region = "us-east-1"

    def __init__(self, root: Path | None = None, *, host: str = "127.0.0.1", port: int | None = None) -> None:
        """`host`: address the S3 port listens on; the servers behind it stay on 127.0.0.1."""
        self.root = root or Path(tempfile.mkdtemp(prefix="seawall-swift-"))
        self.host = host
        self.port = port or free_port(host)
        self.url = f"http://{host}:{self.port}"
        self._conf = self.root / "conf"
        self._devices = self.root / "devices"
        self._ports = {kind: free_port("127.0.0.1") for kind in ("account", "container", "object")}
        self._processes: list[subprocess.Popen[bytes]] = []
        self._buckets = 0

    def start(self, prefix: tuple[str, ...] = ()) -> None:
        """Start the four servers and wait until the S3 port answers.

        `prefix`: command words put before each, such as `ip netns exec NAME`.
        """
        if not self._conf.exists():
            self._configure()
        log = (self.root / "swift.log").open("ab")
        with log:
            for kind in ("account", "container", "object", "proxy"):
                self._processes.append(
                    subprocess.Popen(
                        [
                            *prefix,
                            sys.executable,
                            str(_BIN / f"swift-{kind}-server"),
                            str(self._conf / f"{kind}.conf"),
                        ],
                        stdout=log,
                        stderr=log,
                        stdin=subprocess.DEVNULL,
                        start_new_session=True,
                        env={**os.environ, "EVENTLET_NO_GREENDNS": "yes"},
                    )
                )
        if not prefix:
            self.wait()

    def wait(self, seconds: float = 60) -> None:
        """Wait until all four answer; from inside the namespace they run in, if any."""
        deadline = time.monotonic() + seconds
        targets = [f"{self.url}/"]
        targets += [f"http://127.0.0.1:{port}/healthcheck" for port in self._ports.values()]
        for target in targets:
            while True:
                with contextlib.suppress(httpx.HTTPError):
                    httpx.get(target, timeout=5)
                    break
                dead = [process for process in self._processes if process.poll() is not None]
                assert not dead, "swift ended: " + (self.root / "swift.log").read_text()[-4000:]
                assert time.monotonic() < deadline, (self.root / "swift.log").read_text()[-4000:]
                time.sleep(0.05)

    def stop(self, sig: signal.Signals = signal.SIGKILL) -> None:
        """Stop the servers; the data stay for the next `start`."""
        for process in self._processes:
            with contextlib.suppress(ProcessLookupError):
                os.killpg(process.pid, sig)
        for process in self._processes:
            process.wait()
        self._processes = []

    def close(self) -> None:
        """Stop and remove the data."""
        self.stop()
        shutil.rmtree(self.root, ignore_errors=True)

    def store(self, bucket: str, *, url: str | None = None, **config: Any) -> Any:
        """An obstore client of a bucket, at another address if `url` says so."""
        return S3Store(
            bucket,
            endpoint=url or self.url,
            access_key_id=_ACCESS_KEY,
            secret_access_key=_SECRET_KEY,
            region=self.region,
            client_options={"allow_http": True},
            **config,
        )

    def bucket(self) -> str:
        """Name of a new, empty bucket."""
        self._buckets += 1
        name = f"seawall-{os.getpid()}-{self._buckets}"
        # PUT of an empty path in the bucket is S3's CreateBucket.
        url = obstore.sign(self.store(name), "PUT", "", timedelta(minutes=1))
        answer = httpx.put(url, timeout=30)
        assert answer.status_code == 200, answer.text
        return name

    def settings(self, bucket: str) -> dict[str, str]:
        """Environment that points a Seawall at `bucket`."""
        return {
            "SEAWALL_STORAGE__DRIVER": "s3",
            "SEAWALL_STORAGE__S3__BUCKET": bucket,
            "SEAWALL_STORAGE__S3__REGION": self.region,
            "SEAWALL_STORAGE__S3__REGIONENDPOINT": self.url,
            "SEAWALL_STORAGE__S3__ACCESSKEY": _ACCESS_KEY,
            "SEAWALL_STORAGE__S3__SECRETKEY": _SECRET_KEY,
        }

    def _configure(self) -> None:
        self._conf.mkdir(parents=True)
        (self._devices / "d1").mkdir(parents=True)
        (self._conf / "swift.conf").write_text(
            "[swift-hash]\nswift_hash_path_suffix = tests\n\n"
            "[storage-policy:0]\nname = default\ndefault = yes\n\n"
            "[swift-constraints]\nmax_file_size = 5368709122\n"
        )
        values = {
            "user": getpass.getuser(),
            "conf": self._conf,
            "devices": self._devices,
        }
        (self._conf / "proxy.conf").write_text(
            _COMMON.format(bind=self.host, port=self.port, **values) + _PROXY
        )
        script = ["from swift.common.ring import RingBuilder"]
        for kind, port in self._ports.items():
            (self._conf / f"{kind}.conf").write_text(
                _COMMON.format(bind="127.0.0.1", port=port, **values) + _SERVER.format(kind=kind)
            )
            device = {
                "id": 0,
                "region": 1,
                "zone": 1,
                "ip": "127.0.0.1",
                "port": port,
                "device": "d1",
                "weight": 1,
                "replication_ip": "127.0.0.1",
                "replication_port": port,
            }
            script += [
                "builder = RingBuilder(1, 1, 1)",
                f"builder.add_dev({device!r})",
                "builder.rebalance()",
                f"builder.get_ring().save({str(self._conf / f'{kind}.ring.gz')!r})",
            ]
        # In a process of its own: importing swift changes the interpreter it is imported into.
        subprocess.run([sys.executable, "-c", "\n".join(script)], check=True, capture_output=True)
