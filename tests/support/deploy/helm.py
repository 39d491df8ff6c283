"""The Helm chart and its client."""

from __future__ import annotations

import importlib.util
import os
import subprocess
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import yaml

from tests.support.processes import ROOT

CHART = ROOT / "deploy" / "helm" / "seawall"


def _generate() -> Any:
    """The module `deploy/helm/generate.py`, which is in no package."""
    spec = importlib.util.spec_from_file_location("chart_generate", CHART.parent / "generate.py")
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


generate = _generate()


class Objects(list[dict[str, Any]]):
    """Manifests of one rendering."""

    def one(self, kind: str, name: str = "") -> dict[str, Any]:
        """The object of a kind that has this name, or the only one. Raises ValueError."""
        names = (f"release-seawall-{name}" if name else "release-seawall", name)
        (found,) = [d for d in self if d["kind"] == kind and d["metadata"]["name"] in names]
        return found

    def named(self, kind: str, name: str) -> bool:
        """Whether there is such an object."""
        return any(d["kind"] == kind and d["metadata"]["name"] == f"release-seawall-{name}" for d in self)

    def kinds(self, kind: str) -> list[dict[str, Any]]:
        """All objects of a kind."""
        return [d for d in self if d["kind"] == kind]

    def pod(self, component: str) -> dict[str, Any]:
        """The pod of a Deployment or StatefulSet: its `spec`."""
        kind = "StatefulSet" if component in ("database", "redis") else "Deployment"
        spec: dict[str, Any] = self.one(kind, component)["spec"]["template"]["spec"]
        return spec

    def container(self, component: str) -> dict[str, Any]:
        """The first container of `pod`."""
        found: dict[str, Any] = self.pod(component)["containers"][0]
        return found

    def environment(self, component: str) -> dict[str, dict[str, Any]]:
        """Variables of `container` by name; fails the test when a name is there twice."""
        items = self.container(component)["env"]
        found = {item["name"]: item for item in items}
        assert len(found) == len(items), [item["name"] for item in items]
        return found

    def config(self) -> dict[str, Any]:
        """seawall.yml."""
        found: dict[str, Any] = yaml.safe_load(self.one("ConfigMap")["data"]["seawall.yml"])
        return found


@dataclass(frozen=True)
class Helm:
    """The helm binary, with a home of its own."""

    binary: Path
    home: Path
    _rendered: dict[tuple[str, ...], Objects] = field(default_factory=dict)

    def run(self, *args: str, kubeconfig: Path | None = None) -> subprocess.CompletedProcess[str]:
        """Run helm with `args`; it reaches no cluster but the one of `kubeconfig`."""
        cluster = str(kubeconfig or os.devnull)
        environment = {"HOME": str(self.home), "PATH": "/usr/bin:/bin", "KUBECONFIG": cluster}
        return subprocess.run(
            [self.binary, *args], capture_output=True, text=True, timeout=60, env=environment, check=False
        )

    def template(self, *args: str) -> str:
        """Rendered manifests; fails the test when helm refuses."""
        result = self.run("template", "release", str(CHART), "--namespace", "registry", *args)
        assert result.returncode == 0, result.stderr
        return result.stdout

    def objects(self, *args: str) -> Objects:
        """Rendered manifests, parsed; rendered once for the same arguments. Do not change them."""
        found = self._rendered.get(args)
        if found is None:
            documents = yaml.load_all(self.template(*args), Loader=yaml.CSafeLoader)
            found = self._rendered[args] = Objects([document for document in documents if document])
        return found

    def settings(self, *settings: str, values: str = "") -> Objects:
        """`objects` with `--set` words and the name of a scenario in `ci/`."""
        files = ["-f", str(CHART / "ci" / f"{values}.yaml")] if values else []
        return self.objects(*files, *[word for item in settings for word in ("--set", item)])

    def refusal(self, *args: str) -> str:
        """What helm says when it refuses; fails the test when it does not."""
        result = self.run("template", "release", str(CHART), *args)
        assert result.returncode != 0, "helm accepted it"
        return result.stderr
