"""The Helm chart and its client."""

from __future__ import annotations

import os
import subprocess
from dataclasses import dataclass
from pathlib import Path

from tests.support.processes import ROOT

CHART = ROOT / "deploy" / "helm" / "seawall"


@dataclass(frozen=True)
class Helm:
    """The helm binary, with a home of its own."""

    binary: Path
    home: Path

    def run(self, *args: str) -> subprocess.CompletedProcess[str]:
        """Run helm with `args`; it never reaches a cluster."""
        environment = {"HOME": str(self.home), "PATH": "/usr/bin:/bin", "KUBECONFIG": os.devnull}
        return subprocess.run(
            [self.binary, *args], capture_output=True, text=True, timeout=60, env=environment, check=False
        )

    def template(self, *args: str) -> str:
        """Rendered manifests; fails the test when helm refuses."""
        result = self.run("template", "release", str(CHART), "--namespace", "registry", *args)
        assert result.returncode == 0, result.stderr
        return result.stdout

    def refusal(self, *args: str) -> str:
        """What helm says when it refuses; fails the test when it does not."""
        result = self.run("template", "release", str(CHART), *args)
        assert result.returncode != 0, "helm accepted it"
        return result.stderr
