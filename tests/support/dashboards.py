"""Pictures of the dashboards, from a started cluster of three instances under load.

    python -m tests.support.dashboards [SECONDS]

starts PostgreSQL, three instances and Prometheus, pushes and pulls for SECONDS (120), evaluates the queries
of `deploy/observability/dashboards` as Grafana would, and writes `docs/images/dashboard-NAME.png`. No package
index that is used here has Grafana, so a plain page draws the panels: their layout, titles, units and legends
are those of Grafana's models, the look is not.
"""

from __future__ import annotations

import html
import json
import math
import os
import secrets
import subprocess
import sys
import tempfile
import threading
import time
from pathlib import Path
from typing import Any

import httpx
import yaml
from playwright.sync_api import sync_playwright

from tests.support.api import Api
from tests.support.cluster import Cluster
from tests.support.digests import digest_of
from tests.support.oci.client import Client
from tests.support.processes import ROOT, free_port
from tests.support.receiver import Receiver
from tests.support.registry import Registry
from tests.support.servers.postgres import running_postgres
from tests.support.waiting import until

MODELS = ROOT / "deploy" / "observability"
IMAGES = ROOT / "docs" / "images"
CHROMIUM = "/usr/bin/chromium-headless-shell"
_MANIFEST = "application/vnd.oci.image.manifest.v1+json"
_COLOURS = ("#3274d9", "#e0752d", "#37872d", "#c4162a", "#8f3bb8", "#b08f00", "#00858a", "#7a7a7a")
_COLUMN, _ROW = 50, 32
_STYLE = (
    "body{margin:12px;font:13px 'DejaVu Sans',sans-serif;background:#f4f5f5}",
    "h1{font-size:18px;margin:0 0 10px}.grid{position:relative}",
    ".panel{position:absolute;background:#fff;border:1px solid #dcdcdc;padding:4px;",
    "box-sizing:border-box;overflow:hidden}.none{color:#999;text-align:center;padding-top:20px}",
    ".stat{font-size:26px;color:#37872d;padding-top:18px;text-align:center}",
    "svg text{font-size:11px;fill:#555}table{width:100%}td:last-child{text-align:right}",
)


def load(cluster: Cluster, project: str, number: int, ended: threading.Event) -> None:
    """Push and pull images until `ended`; now and then ask for what is not there."""
    instances = cluster.instances
    turn = 0
    while not ended.wait(0.05):
        turn += 1
        instance = instances[(turn + number) % len(instances)]
        try:
            with Client(instance.url, cluster.admin) as client:
                repo = client.repo(f"{project}/app{number}")
                layer = secrets.token_bytes(20_000 * (1 + turn % 7))
                config = json.dumps({"turn": turn, "number": number}).encode()
                for blob in (layer, config):
                    repo.push_blob(blob)
                manifest = {
                    "schemaVersion": 2,
                    "mediaType": _MANIFEST,
                    "config": {
                        "mediaType": "application/vnd.oci.image.config.v1+json",
                        "digest": digest_of(config),
                        "size": len(config),
                    },
                    "layers": [
                        {
                            "mediaType": "application/vnd.oci.image.layer.v1.tar",
                            "digest": digest_of(layer),
                            "size": len(layer),
                        }
                    ],
                }
                repo.put_manifest(f"v{turn % 20}", json.dumps(manifest).encode(), _MANIFEST)
                for _ in range(4):
                    repo.get_manifest(f"v{turn % 20}")
                    repo.get_blob(digest_of(layer))
                repo.get_manifest("missing")
                # What was replicated comes back through the proxy project.
                client.repo(f"cache/{project}/app{number}").get_manifest(f"v{turn % 20}")
            if turn % 5 == 0:
                httpx.get(f"{instance.url}/service/token", auth=("nobody", "wrong"), timeout=30)
        except httpx.HTTPError:
            continue


def mirrored(api: Api, site: Api, url: str, who: tuple[str, str], project: str) -> None:
    """Replicate `project` to the registry at `url` by its pushes, and put a proxy project before that one."""
    site.made("/projects", {"project_name": project, "metadata": {"public": "true"}})
    endpoint = {"name": "site-b", "type": "harbor", "url": url, "insecure": True}
    credential = {"type": "basic", "access_key": who[0], "access_secret": who[1]}
    number = api.made("/registries", {**endpoint, "credential": credential})
    policy = {
        "name": "to-site-b",
        "dest_registry": {"id": number},
        "filters": [{"type": "name", "value": f"{project}/**"}],
        "trigger": {"type": "event_based"},
        "enabled": True,
        "override": True,
    }
    api.made("/replication/policies", policy)
    api.made("/projects", {"project_name": "cache", "registry_id": number, "metadata": {"public": "true"}})


def prometheus(folder: Path, cluster: Cluster) -> tuple[subprocess.Popen[bytes], str]:
    """Prometheus with the rules, which scrapes the instances every two seconds; its URL."""
    rules = yaml.safe_load((MODELS / "rules.yaml").read_text())
    for group in rules["groups"]:
        group["interval"] = "2s"
    (folder / "rules.yaml").write_text(yaml.safe_dump(rules))
    targets = [item.host for item in cluster.instances]
    config = {
        "global": {"scrape_interval": "2s", "evaluation_interval": "2s"},
        "rule_files": [str(folder / "rules.yaml")],
        "scrape_configs": [{"job_name": "seawall", "static_configs": [{"targets": targets}]}],
    }
    (folder / "prometheus.yml").write_text(yaml.safe_dump(config))
    port = free_port()
    process = subprocess.Popen(
        [
            "prometheus",
            f"--config.file={folder / 'prometheus.yml'}",
            f"--storage.tsdb.path={folder / 'data'}",
            f"--web.listen-address=127.0.0.1:{port}",
        ],
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
    )
    url = f"http://127.0.0.1:{port}"

    def ready() -> bool:
        try:
            return httpx.get(f"{url}/-/ready").status_code == 200
        except httpx.HTTPError:
            return False

    until(ready)
    return process, url


Series = tuple[str, list[tuple[float, float]]]


def asked(url: str, panel: dict[str, Any], begin: float, end: float, names: dict[str, str]) -> list[Series]:
    """What the queries of a panel give: (legend, points)."""
    found: list[Series] = []
    for target in panel["targets"]:
        query = target["expr"]
        for name, value in names.items():
            query = query.replace(f"${name}", value).replace(f"${{{name}}}", value)
        answer = httpx.get(
            f"{url}/api/v1/query_range",
            params={"query": query, "start": begin, "end": end, "step": max(1, round((end - begin) / 120))},
            timeout=60,
        )
        assert answer.status_code == 200, (query, answer.text)
        for item in answer.json()["data"]["result"]:
            legend = target.get("legendFormat") or ""
            for label, value in item["metric"].items():
                legend = legend.replace(f"{{{{{label}}}}}", value)
            points = [(float(at), float(value)) for at, value in item["values"]]
            found.append((legend.strip(), [p for p in points if math.isfinite(p[1])]))
    return found


def told(value: float, unit: str) -> str:
    """A number as Grafana shows it."""
    if unit in ("bytes", "Bps", "decbytes"):
        for name in ("B", "KiB", "MiB", "GiB", "TiB"):
            if abs(value) < 1024 or name == "TiB":
                return f"{value:.3g} {name}" + ("/s" if unit == "Bps" else "")
            value /= 1024
    if unit == "percentunit":
        return f"{value * 100:.3g} %"
    if unit == "s":
        return f"{value * 1000:.3g} ms" if abs(value) < 1 else f"{value:.3g} s"
    return f"{value:.3g}" + {"reqps": "/s", "ops": "/s"}.get(unit, "")


def drawn(panel: dict[str, Any], series: list[Series], begin: float, end: float) -> str:
    """A panel as HTML."""
    place = panel["gridPos"]
    width, height = place["w"] * _COLUMN - 12, place["h"] * _ROW - 12
    unit = panel["fieldConfig"]["defaults"].get("unit", "none")
    style = f"left:{place['x'] * _COLUMN}px;top:{place['y'] * _ROW}px;width:{width}px;height:{height}px"
    title = html.escape(panel["title"])
    series = [item for item in series if item[1]]
    if not series:
        inside = '<div class="none">No data</div>'
    elif panel["type"] in ("stat", "gauge"):
        texts = [(name, told(points[-1][1], unit)) for name, points in series[:4]]
        if len(texts) == 1:
            inside = f'<div class="stat">{html.escape(texts[0][1])}</div>'
        else:
            cells = "".join(f"<tr><td>{html.escape(a)}</td><td>{html.escape(b)}</td></tr>" for a, b in texts)
            inside = f"<table>{cells}</table>"
    elif panel["type"] == "table":
        rows = sorted(series, key=lambda item: -item[1][-1][1])[: max(3, place["h"] - 2)]
        cells = "".join(
            f"<tr><td>{html.escape(name)}</td><td>{html.escape(told(points[-1][1], unit))}</td></tr>"
            for name, points in rows
        )
        inside = f"<table>{cells}</table>"
    else:
        inside = _graph(series, unit, width, height - 26, begin, end)
    return f'<div class="panel" style="{style}"><b>{title}</b>{inside}</div>'


def _graph(series: list[Series], unit: str, width: int, height: int, begin: float, end: float) -> str:
    series = sorted(series, key=lambda item: -max(value for _, value in item[1]))[:8]
    top = max((value for _, points in series for _, value in points), default=0) * 1.1 or 1
    left, lines = 70, (len(series) + 1) // 2
    floor = height - 16 * lines - 8
    parts = [f'<svg width="{width}" height="{height}">']
    for share in (0, 0.5, 1):
        y = floor - share * (floor - 10)
        parts.append(f'<line x1="{left}" x2="{width - 8}" y1="{y}" y2="{y}" stroke="#ddd"/>')
        mark = html.escape(told(top * share, unit))
        parts.append(f'<text x="{left - 6}" y="{y + 4}" text-anchor="end">{mark}</text>')
    for number, (name, points) in enumerate(series):
        colour = _COLOURS[number]
        at = " ".join(
            f"{left + (t - begin) / (end - begin) * (width - left - 8):.1f},"
            f"{floor - value / top * (floor - 10):.1f}"
            for t, value in points
        )
        parts.append(f'<polyline points="{at}" fill="none" stroke="{colour}" stroke-width="1.5"/>')
        x, y = left + (number % 2) * (width - left) // 2, floor + 18 + 16 * (number // 2)
        parts.append(f'<rect x="{x}" y="{y - 8}" width="9" height="9" fill="{colour}"/>')
        room = (width - left) // 2 // 7
        parts.append(f'<text x="{x + 14}" y="{y}">{html.escape(name[:room])}</text>')
    return "".join(parts) + "</svg>"


def page(model: dict[str, Any], url: str, begin: float, end: float, names: dict[str, str]) -> tuple[str, int]:
    """A dashboard as HTML, and its height."""
    panels = [item for item in model["panels"] if item["type"] != "row"]
    bottom = max(item["gridPos"]["y"] + item["gridPos"]["h"] for item in panels) * _ROW
    body = "".join(drawn(item, asked(url, item, begin, end, names), begin, end) for item in panels)
    style = "".join(_STYLE)
    title = html.escape(model["title"])
    text = (
        f"<meta charset=utf-8><style>{style}</style><h1>{title}</h1>"
        f'<div class="grid" style="height:{bottom}px">{body}</div>'
    )
    return text, bottom + 60


def main() -> None:
    """See the module."""
    seconds = float(sys.argv[1]) if len(sys.argv) > 1 else 120
    with tempfile.TemporaryDirectory() as root, running_postgres() as postgres:
        folder = Path(root)
        cluster = Cluster(
            folder,
            postgres.database(),
            settings={
                "SEAWALL_JOBS__EMBEDDED": "true",
                "SEAWALL_METRICS__CLUSTER_SECONDS": "2",
                "SEAWALL_WEBHOOKS__ALLOW_NETWORKS": '["127.0.0.0/8"]',
            },
        )
        hook = Receiver()
        # What the first project is replicated to, and what a proxy project stands before.
        site = Registry(folder / "site")
        ended = threading.Event()
        watcher = None
        try:
            site.start()
            cluster.start()
            api = Api(cluster.instances[0], cluster.admin)
            projects = [f"team-{name}" for name in ("web", "data", "infra")]
            for name in projects:
                api.made("/projects", {"project_name": name, "metadata": {"public": "true"}})
                policy = {
                    "name": "ci",
                    "enabled": True,
                    "event_types": ["PUSH_ARTIFACT"],
                    "targets": [{"type": "http", "address": hook.url}],
                }
                api.made(f"/projects/{name}/webhook/policies", policy)
            mirrored(api, Api(site, site.admin), site.url, site.admin, projects[0])
            watcher, url = prometheus(folder, cluster)
            begin = time.time()
            threads = [
                threading.Thread(target=load, args=(cluster, name, number, ended))
                for number, name in enumerate(projects)
            ]
            for thread in threads:
                thread.start()
            time.sleep(seconds)
            end = time.time()
            names = {
                "namespace": ".*",
                "release": ".*",
                "instance": ".*",
                "project_name": projects[0],
                "datasource": "Prometheus",
            }
            pictures(url, begin, end, names)
            ended.set()
            for thread in threads:
                thread.join()
        finally:
            ended.set()
            if watcher is not None:
                watcher.terminate()
                watcher.wait()
            cluster.close()
            site.close()
            hook.close()


def pictures(url: str, begin: float, end: float, names: dict[str, str]) -> None:
    """Write the picture of each dashboard."""
    IMAGES.mkdir(exist_ok=True)
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=CHROMIUM, args=["--no-sandbox"])
        for path in sorted((MODELS / "dashboards").glob("*.json")):
            text, height = page(json.loads(path.read_text()), url, begin, end, names)
            shown = browser.new_page(viewport={"width": 24 * _COLUMN + 24, "height": height})
            shown.set_content(text)
            file = IMAGES / f"dashboard-{path.stem}.png"
            shown.screenshot(path=file)
            shown.close()
            print(os.path.relpath(file, ROOT), file.stat().st_size)
        browser.close()


if __name__ == "__main__":
    main()
