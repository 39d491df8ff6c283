"""Rules, runbooks and dashboards of `deploy/observability` fit one another and what Seawall shows."""

from __future__ import annotations

import importlib.util
import json
import re
import subprocess
from pathlib import Path
from typing import Any

import httpx
import pytest
import typer
import yaml

from seawall.process.commands.main import app
from tests.support.api import Api
from tests.support.processes import ROOT
from tests.support.registry import Registry
from tests.support.waiting import until

FOLDER = ROOT / "deploy" / "observability"
RUNBOOKS = ROOT / "docs" / "runbooks"
RULES: list[dict[str, Any]] = [
    rule for group in yaml.safe_load((FOLDER / "rules.yaml").read_text())["groups"] for rule in group["rules"]
]
ALERTS = {rule["alert"]: rule for rule in RULES if "alert" in rule}
RECORDED = {rule["record"] for rule in RULES if "record" in rule}
# Shown only where there are two sites, peers or an upstream that was asked: looked up in the source instead.
ELSEWHERE = ("seawall_dr_", "seawall_peer_", "seawall_proxy_upstream_up")
WORDS = {"and", "or", "unless", "by", "time", "up"}


def dashboards() -> dict[str, list[str]]:
    """The queries of each dashboard."""
    found: dict[str, list[str]] = {}
    for path in sorted((FOLDER / "dashboards").glob("*.json")):
        model = json.loads(path.read_text())
        queries = [target["expr"] for panel in model["panels"] for target in panel["targets"]]
        for variable in model["templating"]["list"]:
            if variable["type"] == "query":
                query = re.fullmatch(r"label_values\((\w+)(?:\{.*\})?, \w+\)", variable["query"]["query"])
                assert query is not None, variable
                queries.append(query[1])
        found[path.name] = queries
    return found


def names_in(query: str) -> set[str]:
    """Metrics of a PromQL query: words that are no function, label, string or duration."""
    query = re.sub(r'"[^"]*"', "", query)
    query = re.sub(r"\{[^}]*\}|\[[^]]*\]|\b(by|without|on|ignoring) ?\([^)]*\)", " ", query)
    return {word for word in re.findall(r"\b[a-z_][\w:]*\b(?!\s*\()", query) if word not in WORDS}


def test_names_in() -> None:
    query = 'sum by (le) (rate(a_bucket{x="b_total"}[5m])) / on (c) max(d:e:rate5m > 0) and time() - f'
    assert names_in(query) == {"a_bucket", "d:e:rate5m", "f"}


def promtool(*arguments: str, folder: Path = FOLDER) -> str:
    found = subprocess.run(["promtool", *arguments], cwd=folder, capture_output=True, text=True, check=False)
    assert found.returncode == 0, found.stdout + found.stderr
    return found.stdout


def test_rules_and_queries_are_promql(tmp_path: Path) -> None:
    promtool("check", "rules", "rules.yaml")
    queries = [query for found in dashboards().values() for query in found]
    rules = [{"record": f"q{number}", "expr": query} for number, query in enumerate(queries)]
    (tmp_path / "queries.yaml").write_text(yaml.safe_dump({"groups": [{"name": "q", "rules": rules}]}))
    promtool("check", "rules", "queries.yaml", folder=tmp_path)


def test_rules_fire() -> None:
    """Every alert has a case in which it fires; promtool evaluates them."""
    files = ("rules-test.yaml", "rules-test-days.yaml")
    cases = [case for name in files for case in yaml.safe_load((FOLDER / name).read_text())["tests"]]
    fired = {item["alertname"] for case in cases for item in case["alert_rule_test"] if item["exp_alerts"]}
    assert fired == set(ALERTS)
    promtool("test", "rules", *files)


def test_runbooks() -> None:
    """One page an alert, of the same query, and each says what to look at and what to do."""
    pages = {path.stem for path in RUNBOOKS.glob("*.md")} - {"README"}
    assert pages == set(ALERTS)
    index = (RUNBOOKS / "README.md").read_text()
    for name, rule in ALERTS.items():
        text = (RUNBOOKS / f"{name}.md").read_text()
        assert re.findall(r"^## (.*)$", text, re.M) == ["Meaning", "What to look at", "What to do"], name
        assert f"```promql\n{rule['expr']}\n```" in text, name
        assert f"*{rule['labels']['severity']}, after {rule['for']}*" in text, name
        assert rule["annotations"]["runbook_url"] == f"docs/runbooks/{name}.md"
        assert f"[{name}]({name}.md)" in index


def test_commands_of_runbooks_exist() -> None:
    """A page that is read at night must not name a command that there is not."""
    root: Any = typer.main.get_command(app)
    for path in RUNBOOKS.glob("*.md"):
        for words in re.findall(r"`seawall ([a-z -]+)", path.read_text()):
            command = root
            for word in words.split():
                if word.startswith("-") or not hasattr(command, "commands"):
                    break
                command = command.commands.get(word)
                assert command is not None, f"{path.name}: {words}"


def test_generated() -> None:
    """After a change: python deploy/observability/generate.py."""
    spec = importlib.util.spec_from_file_location("observability_generate", FOLDER / "generate.py")
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    files = module.files()
    for path, text in files.items():
        assert path.read_text() == text, path
    for folder in (FOLDER / "dashboards", module.CHART / "dashboards"):
        assert set(folder.iterdir()) <= set(files)


def shown(registry: Registry) -> set[str]:
    """Names of the samples that there are or may be."""
    found = set()
    for line in httpx.get(f"{registry.url}/metrics").text.splitlines():
        if line.startswith("# TYPE "):
            _, _, name, kind = line.split(" ")
            found |= {name} if kind in ("gauge", "counter") else {f"{name}_sum", f"{name}_count"}
            if kind == "histogram":
                found.add(f"{name}_bucket")
    return found


@pytest.fixture
def used(registry: Registry) -> Registry:
    """A registry that has done a little of everything."""
    with Api(registry, registry.admin) as api:
        schedule = {"schedule": {"type": "Manual"}, "parameters": {}}
        assert api.post("/system/gc/schedule", json=schedule).status_code == 201
    digest = "sha256:2cf24dba5fb0a30e26e83b2ac5b9e29e1b161e5c1fa7425e73043362938b9824"
    url = f"{registry.url}/v2/library/thing/blobs/uploads/?digest={digest}"
    assert httpx.post(url, content=b"hello", auth=registry.admin).status_code == 201
    assert httpx.get(f"{registry.url}/service/token", auth=registry.admin).status_code == 200
    until(lambda: "seawall_job_seconds_sum" in shown(registry), "the end of a job")
    return registry


def test_metrics_exist(used: Registry) -> None:
    """Each metric that a rule or a dashboard names is in `/metrics`, or recorded by a rule."""
    there = shown(used) | RECORDED
    source = "".join(path.read_text() for path in (ROOT / "src" / "seawall").rglob("*.py"))
    queries = {"rules.yaml": [rule["expr"] for rule in RULES], **dashboards()}
    missing = {
        f"{file}: {name}"
        for file, found in queries.items()
        for query in found
        for name in names_in(query)
        if name not in there and not (name.startswith(ELSEWHERE) and f'"{name}"' in source)
    }
    assert missing == set()
    # And the page names each metric.
    page = (ROOT / "docs" / "metrics.md").read_text()
    undocumented = {
        name
        for name in there
        if not name.startswith(("seawall_dr_", "seawall_peer_", "seawall:", "harbor_statistics_"))
        and f"`{re.sub('_(bucket|sum|count)$', '', name)}`" not in page
    }
    assert undocumented == set()
