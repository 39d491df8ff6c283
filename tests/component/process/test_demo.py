"""`seawall demo`: what it pushes is there and can be pulled; what is wrong is one line."""

from __future__ import annotations

import json
import subprocess
from pathlib import Path

from seawall.install import demo
from tests.support.processes import PASSWORD, free_port
from tests.support.registry import Registry


def run(registry: Registry, *arguments: str, password: str = PASSWORD) -> subprocess.CompletedProcess[str]:
    return registry.cli("demo", *arguments, stdin=password + "\n")


def test_pushes_what_clients_pull(registry: Registry, tmp_path: Path) -> None:
    done = run(registry, "library/first-push", "--url", registry.url)
    assert done.returncode == 0, done.stderr
    index = demo.build().index
    assert f"pushed: {registry.host}/library/first-push:1.0 ({index.digest})" in done.stdout
    pull = ["skopeo", "copy", "-q", "--all", "--src-tls-verify=false", "--preserve-digests"]
    source = f"docker://{registry.host}/library/first-push:1.0"
    subprocess.run([*pull, source, f"oci:{tmp_path}/pulled:1.0"], check=True, timeout=240)
    pulled = json.loads((tmp_path / "pulled" / "index.json").read_text())["manifests"][0]
    assert pulled["digest"] == index.digest
    found = registry.api(
        "GET", "/projects/library/repositories/first-push/artifacts?with_accessory=true"
    ).json()
    assert [item["type"] for item in found[0]["accessories"]] == ["sbom.cyclonedx"]
    # Again: all is there already.
    assert run(registry, "library/first-push", "--url", registry.url).returncode == 0


def test_faults_are_one_line(registry: Registry) -> None:
    nowhere = f"http://127.0.0.1:{free_port()}"
    for arguments, password, said in (
        (["library/x", "--url", registry.url], "wrong", "401"),
        (["no-project/x", "--url", registry.url], PASSWORD, "seawall project create no-project"),
        (["library/x", "--url", registry.url], "", "no password of admin: set SEAWALL_PASSWORD"),
        (["library", "--url", registry.url], PASSWORD, "project/repository"),
        (["library/x", "--url", registry.url, "--tag", "a b"], PASSWORD, "is not a tag"),
        (["library/x", "--url", "127.0.0.1:80"], PASSWORD, "must start with http"),
        (["library/x", "--url", nowhere], PASSWORD, f"{nowhere}: nothing listens at 127.0.0.1"),
    ):
        done = run(registry, *arguments, password=password)
        assert done.returncode == 1, (arguments, done.stdout)
        assert "Traceback" not in done.stderr
        last = done.stderr.strip().splitlines()[-1]
        assert last.startswith("seawall: "), last
        assert said in last, last
