"""The chart's set-up of nodes for pulls without imagePullSecrets: what it installs works there."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import kubernetes_validate
import yaml

from tests.support.deploy.helm import Helm

ON = ("kubelet.enabled=true", "externalURL=https://registry.example.com:5443")


def test_off_unless_wanted(helm: Helm) -> None:
    assert not helm.objects().kinds("DaemonSet")


def test_what_is_installed_works(helm: Helm, tmp_path: Path) -> None:
    daemons = helm.settings(*ON, "kubelet.robot=robot$ci+pull").one("DaemonSet", "kubelet")
    kubernetes_validate.validate(daemons, "1.29", strict=True)
    pod: dict[str, Any] = daemons["spec"]["template"]["spec"]
    labels = daemons["spec"]["template"]["metadata"]["labels"]
    assert daemons["spec"]["selector"]["matchLabels"].items() <= labels.items()
    assert pod["tolerations"] == [{"operator": "Exists"}]
    [install] = pod["initContainers"]
    [mount] = install["volumeMounts"]
    [volume] = pod["volumes"]
    assert (mount["name"], volume["hostPath"]["path"]) == (volume["name"], "/var/lib/seawall")
    # The image's shell and command, with this folder for the node's.
    node = tmp_path / "node"
    node.mkdir()
    words = [*install["command"], install["args"][0].replace("/node/", f"{node}/"), *install["args"][1:]]
    path = f"{Path(sys.executable).parent}:{os.environ['PATH']}"
    # A second time, as when the pod starts again.
    for _ in range(2):
        subprocess.run(words, check=True, env={**os.environ, "PATH": path}, timeout=120)
    [provider] = yaml.safe_load((node / "credentials.yaml").read_text())["providers"]
    assert provider["matchImages"] == ["registry.example.com:5443"]
    assert provider["tokenAttributes"]["serviceAccountTokenAudience"] == "registry.example.com:5443"
    request = {
        "apiVersion": provider["apiVersion"],
        "kind": "CredentialProviderRequest",
        "image": "registry.example.com:5443/ci/app:1.0",
        "serviceAccountToken": "eyJ.e.x",
    }
    answer = subprocess.run(
        [node / "bin" / provider["name"], *provider["args"]],
        input=json.dumps(request),
        capture_output=True,
        text=True,
        check=True,
    )
    assert json.loads(answer.stdout)["auth"] == {
        "registry.example.com:5443": {"username": "robot$ci+pull", "password": "eyJ.e.x"}
    }
    assert sorted(item.name for item in node.rglob("*") if item.is_file()) == [
        "credentials.yaml",
        "seawall-credential-provider",
    ]


def test_the_audience_can_be_another(helm: Helm) -> None:
    daemons = helm.settings(*ON, "kubelet.audience=seawall").one("DaemonSet", "kubelet")
    [install] = daemons["spec"]["template"]["spec"]["initContainers"]
    assert install["args"][1:] == [
        "install",
        "--url=https://registry.example.com:5443",
        "--audience=seawall",
    ]
