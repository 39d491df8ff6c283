"""Pods of a rendered chart, started as processes of this host: what a kubelet would do, and no more."""

from __future__ import annotations

import base64
import contextlib
import os
import re
import signal
import subprocess
from pathlib import Path
from typing import Any

import httpx

from tests.support import forked
from tests.support.processes import clean_environment, free_port
from tests.support.waiting import until

Documents = list[dict[str, Any]]
# Secrets of the operator's by name, as `kubectl create secret` makes them: key to content.
Secrets = dict[str, dict[str, str]]


class Pod:
    """One pod of a deployment: its environment and files as its manifest has them, below a folder."""

    def __init__(
        self,
        documents: Documents,
        component: str,
        root: Path,
        *,
        secrets: Secrets,
        claim: Path,
        hosts: dict[str, str],
    ) -> None:
        """`claim`: the folder that is the persistent volume.

        `hosts`: addresses for names that only a cluster has; `{pod}` stands for this pod's own.
        """
        root.mkdir(parents=True)
        self.root = root
        self.port = free_port()
        self.url = f"http://127.0.0.1:{self.port}"
        self.health = 0
        self.process: forked.Forked | subprocess.Popen[bytes] | None = None
        self._hosts = {name: address.replace("{pod}", self.url) for name, address in hosts.items()}
        self._documents = documents
        self._secrets = secrets | {
            item["metadata"]["name"]: {
                key: base64.b64decode(value).decode() for key, value in (item.get("data") or {}).items()
            }
            for item in documents
            if item["kind"] == "Secret"
        }
        (deployment,) = [
            item
            for item in documents
            if item["kind"] == "Deployment" and item["metadata"]["name"].endswith(f"-{component}")
        ]
        spec = deployment["spec"]["template"]["spec"]
        (container,) = spec["containers"]
        volumes = {item["name"]: self._volume(item, claim) for item in spec["volumes"]}
        # Mount paths by length, so that a path inside another one is replaced first.
        self._mounts: dict[str, Path] = {
            item["mountPath"]: volumes[item["name"]] / item.get("subPath", "")
            for item in sorted(container["volumeMounts"], key=lambda item: -len(item["mountPath"]))
        }
        for path in self._mounts.values():
            if path.is_file() and path.suffix == ".yml":
                path.write_text(self._here(path.read_text()))
        self._environment = {item["name"]: self._here(self._value(item)) for item in container["env"]}
        # Two job services share this host's ports.
        if "SEAWALL_JOBS__HEALTH_PORT" in self._environment:
            self.health = free_port()
            self._environment["SEAWALL_JOBS__HEALTH_PORT"] = str(self.health)
        self._arguments = container["args"]

    def _volume(self, volume: dict[str, Any], claim: Path) -> Path:
        folder: Path = self.root / volume["name"]
        if "persistentVolumeClaim" in volume:
            claim.mkdir(exist_ok=True)
            return claim
        folder.mkdir()
        if "configMap" in volume:
            (found,) = [
                item
                for item in self._documents
                if item["kind"] == "ConfigMap" and item["metadata"]["name"] == volume["configMap"]["name"]
            ]
            for name, text in found["data"].items():
                (folder / name).write_text(text)
        sources = volume.get("projected", {}).get("sources", [])
        for source in sources:
            secret = source["secret"]
            for item in secret["items"]:
                (folder / item["path"]).write_text(self._secrets[secret["name"]][item["key"]])
        assert sources or {"configMap", "emptyDir"} & set(volume), volume
        return folder

    def _value(self, item: dict[str, Any]) -> str:
        if "value" in item:
            return str(item["value"])
        if "fieldRef" in item["valueFrom"]:
            assert item["valueFrom"]["fieldRef"] == {"fieldPath": "status.podIP"}
            return "127.0.0.1"
        reference = item["valueFrom"]["secretKeyRef"]
        value: str = self._secrets[reference["name"]][reference["key"]]
        return value

    def _here(self, text: str) -> str:
        # In one pass: this host's folders may have names of the pod's in them.
        paths = "|".join(re.escape(path) for path in self._mounts)
        text = re.sub(
            rf"(?<![\w.])({paths})(?=[/\s\"']|$)",
            lambda found: str(self._mounts[found[1]]),
            text,
            flags=re.MULTILINE,
        )
        text = text.replace("$(POD_IP):8080", f"127.0.0.1:{self.port}")
        for name, address in self._hosts.items():
            text = text.replace(name, address)
        return text

    def relocate(self, name: str, address: str) -> None:
        """Another name that only a cluster has, of something whose address was not known before."""
        self._environment = {key: value.replace(name, address) for key, value in self._environment.items()}

    def command(self, *words: str) -> subprocess.CompletedProcess[str]:
        """`kubectl exec`: a `seawall` command in the pod."""
        return forked.run(*words, environment=clean_environment(**self._environment), cwd=self.root)

    def start(self) -> None:
        """Run the container's command; a core pod listens on a port of its own."""
        listen = ["--host", "127.0.0.1", "--port", str(self.port)] if self._arguments == ["serve"] else []
        with (self.root / "out").open("ab") as out:
            environment = clean_environment(**self._environment)
            self.process = forked.started([*self._arguments, *listen], environment, self.root, out.fileno())

    def wait_ready(self) -> None:
        """Wait until it serves."""

        def ready() -> bool:
            assert self.process is not None
            assert self.process.poll() is None, self.log()
            return httpx.get(f"{self.url}/readyz", timeout=10).status_code == 200

        until(ready, self.log, ignoring=(httpx.HTTPError,))

    def log(self) -> str:
        """The end of what it printed."""
        return (self.root / "out").read_text()[-4000:]

    def kill(self) -> None:
        """As the loss of its node does."""
        if self.process is not None:
            with contextlib.suppress(ProcessLookupError):
                os.killpg(self.process.pid, signal.SIGKILL)
            self.process.wait()
            self.process = None
