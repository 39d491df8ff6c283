"""Commands of docs/install that need a cluster, run as far as is possible without one."""

from __future__ import annotations

import base64
import shlex
from pathlib import Path
from typing import Any

import pytest
import yaml

from tests.support.deploy.docs import Page
from tests.support.deploy.helm import Helm
from tests.support.processes import ROOT


def lines(block: str) -> list[list[str]]:
    return [shlex.split(line) for line in block.replace("\\\n", " ").splitlines() if line.strip()]


@pytest.mark.parametrize("page", ["kubernetes.md", "two-data-centers.md"])
def test_secrets_satisfy_the_values(helm: Helm, page: str, tmp_path: Path) -> None:
    """Every secret that the page's values name is made by the page's commands, with the key that is read."""
    document = Page(page)
    made: dict[str, set[str]] = {}
    for block in document.all("sh"):
        for words in lines(block):
            if words[:4] == ["kubectl", "create", "secret", "generic"]:
                keys = {word.split("=", 2)[1] for word in words if word.startswith("--from-literal=")}
                keys |= {word.split("=", 2)[1] for word in words if word.startswith("--from-file=")}
                made.setdefault(words[4], set()).update(keys)
    assert made
    for arguments in installs(document, tmp_path):
        for manifest in yaml.safe_load_all(helm.template(*arguments)):
            if manifest and manifest["kind"] == "Deployment":
                for name, key in references(manifest["spec"]["template"]["spec"]):
                    if not name.startswith("release-seawall"):
                        assert key in made.get(name, ()), f"{page} makes no secret {name} with {key}"


def references(pod: dict[str, Any]) -> list[tuple[str, str]]:
    found = [
        (item["valueFrom"]["secretKeyRef"]["name"], item["valueFrom"]["secretKeyRef"]["key"])
        for container in pod["containers"]
        for item in container.get("env", ())
        if "secretKeyRef" in item.get("valueFrom", ())
        and not item["valueFrom"]["secretKeyRef"].get("optional")
    ]
    for volume in pod["volumes"]:
        for source in volume.get("projected", {}).get("sources", ()):
            found += [(source["secret"]["name"], item["key"]) for item in source["secret"]["items"]]
    return found


def installs(document: Page, folder: Path) -> list[list[str]]:
    """Arguments of each `helm install` and `helm upgrade` of a page, its values files written to `folder`."""
    for block in document.all("yaml"):
        if "externalURL" in block:
            (folder / "my-values.yaml").write_text(block)
    result = []
    for block in document.all("sh"):
        for words in lines(block):
            # What renders only (`--dry-run`) is run by test_helm.py.
            if words[:2] in (["helm", "install"], ["helm", "upgrade"]) and "--dry-run=client" not in words:
                assert words[3] == "deploy/helm/seawall"
                result.append([
                    str(folder / word if (folder / word).is_file() else ROOT / word)
                    if word.endswith(".yaml")
                    else word
                    for word in words[4:]
                    if not word.startswith("--kube-context")
                ])  # fmt: skip
    return result


@pytest.mark.parametrize(("page", "number"), [("kubernetes.md", 4), ("two-data-centers.md", 2)])
def test_installs_render(helm: Helm, page: str, number: int, tmp_path: Path) -> None:
    found = installs(Page(page), tmp_path)
    assert len(found) == number
    for arguments in found:
        assert "kind: Deployment" in helm.template(*arguments)


def test_master_key_command() -> None:
    """The command that the pages give for a master key makes what Seawall takes."""
    import subprocess

    made = subprocess.run(["sh", "-c", "head -c 32 /dev/urandom | base64"], capture_output=True, check=True)
    assert len(base64.b64decode(made.stdout)) == 32
