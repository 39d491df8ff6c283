"""Metrics as they are shown: those of this instance, and what Harbor's dashboards call some of them.

Sources of the names: Harbor's `src/lib/metric` and `src/pkg/exporter`, and the `/metrics` of CNCF
Distribution (`registry_http_*`, `registry_storage_*`).
"""

from __future__ import annotations

import os
from collections import defaultdict
from collections.abc import Callable, Iterable, Iterator, Mapping
from typing import Any

from prometheus_client import REGISTRY, CollectorRegistry, multiprocess
from prometheus_client.metrics_core import GaugeMetricFamily, Metric
from prometheus_client.samples import Exemplar

from seawall.infra import exemplars
from seawall.infra.telemetry import Family
from seawall.infra.temporary import METRICS_VARIABLE, ensure
from seawall.web.harbor.schedules import STATUS, vendor_of

# Handlers of CNCF Distribution, by our routes.
_HANDLERS = {
    "/v2/": "base",
    "/v2/*/manifests": "manifest",
    "/v2/*/blobs": "blob",
    "/v2/*/blobs/uploads": "blob_upload",
    "/v2/*/tags/list": "tags",
    "/v2/*/referrers": "referrers",
}
_ACTIONS = {"put": "PutContent", "read": "Reader", "open": "Writer", "size": "Stat", "delete": "Delete"}

Translate = Callable[[dict[str, str]], dict[str, str] | None]


class Collected:
    """Families in the shape in which prometheus_client writes a registry."""

    def __init__(self, families: Iterable[Metric]) -> None:
        self._families = list(families)

    def collect(self) -> Iterator[Metric]:
        """See prometheus_client.registry.Collector."""
        return iter(self._families)


def of_instance() -> list[Metric]:
    """Every family of this instance (its processes together), Harbor's names included."""
    registry = REGISTRY
    folder = os.environ.get(METRICS_VARIABLE)
    if folder:
        ensure(folder)
        # Each server process counts for itself; the answer is their sum, whichever one is asked.
        registry = CollectorRegistry()
        multiprocess.MultiProcessCollector(registry)  # type: ignore[no-untyped-call]
    found = {family.name: family for family in registry.collect()}
    if exemplars.HISTOGRAM in found:
        _exemplify(found[exemplars.HISTOGRAM])
    return [*found.values(), *_harbors(found)]


def _exemplify(histogram: Metric) -> None:
    """Add the newest exemplars to its buckets; they are shown to who asks for OpenMetrics."""
    newest = exemplars.newest()
    if not newest:
        return
    for at, sample in enumerate(histogram.samples):
        labels = sample.labels
        if sample.name.endswith("_bucket"):
            seen = newest.get((labels["method"], labels["route"], labels["le"]))
            if seen is not None:
                trace_id, seconds, moment = seen
                histogram.samples[at] = sample._replace(
                    exemplar=Exemplar({"trace_id": trace_id}, seconds, moment)
                )


def of_cluster(families: Iterable[Family], *, named: bool) -> list[Metric]:
    """Figures of the whole cluster; without `named`, only those that name nothing that users chose."""
    result: list[Metric] = []
    for family in families:
        if not named and not {"project_name", "policy", "registry", "node"}.isdisjoint(family.labels):
            continue
        metric = GaugeMetricFamily(family.name, family.help, labels=family.labels)
        for values, value in family.samples:
            metric.add_metric(values, value)
        result.append(metric)
    return result


def gauge(name: str, text: str, samples: Mapping[Any, float], labels: tuple[str, ...] = ()) -> Metric:
    """A family that is made for one answer."""
    return of_cluster([Family(name, text, labels, tuple(samples.items()))], named=True)[0]


def _harbors(found: dict[str, Metric]) -> Iterator[Metric]:
    def request(labels: dict[str, str]) -> dict[str, str] | None:
        handler = _HANDLERS.get(labels["route"])
        if handler is None:
            return None
        method = labels["method"].lower()
        if handler == "blob_upload" and method != "post":
            handler = "blob_upload_chunk"
        named = {"handler": handler, "method": method}
        return {**named, "code": labels["status"]} if "status" in labels else named

    def storage(labels: dict[str, str]) -> dict[str, str] | None:
        action = _ACTIONS.get(labels["action"])
        return None if action is None else {"driver": labels["driver"], "action": action}

    def job(labels: dict[str, str]) -> dict[str, str]:
        return {"type": vendor_of(labels["kind"]), "status": STATUS.get(labels["status"], labels["status"])}

    yield from _renamed(found, "seawall_http_requests", "registry_http_requests", request)
    yield from _renamed(
        found, "seawall_http_request_seconds", "registry_http_request_duration_seconds", request
    )
    yield from _renamed(found, "seawall_storage_seconds", "registry_storage_action_seconds", storage)
    yield from _renamed(found, "seawall_job_seconds", "harbor_jobservice_task_process_time_seconds", job)
    active = found.get("seawall_http_requests_active")
    if active is not None:
        total = sum(sample.value for sample in active.samples)
        yield gauge("harbor_core_http_inflight_requests", "Requests being served", {(): total})
    tasks = Metric("harbor_jobservice_task", "Jobs that ended", "counter")
    sums: dict[tuple[tuple[str, str], ...], float] = defaultdict(float)
    for sample in found["seawall_job_seconds"].samples if "seawall_job_seconds" in found else ():
        if sample.name.endswith("_count"):
            sums[tuple(job(sample.labels).items())] += sample.value
    for labels, value in sums.items():
        tasks.add_sample("harbor_jobservice_task_total", dict(labels), value)
    yield tasks


def _renamed(found: dict[str, Metric], name: str, other: str, translate: Translate) -> Iterator[Metric]:
    """The family `name` once more as `other`, its labels translated; None leaves a sample out."""
    family = found.get(name)
    if family is None:
        return
    sums: dict[tuple[str, tuple[tuple[str, str], ...]], float] = defaultdict(float)
    for sample in family.samples:
        if sample.name.endswith("_created"):
            continue
        rest: dict[str, Any] = {key: value for key, value in sample.labels.items() if key == "le"}
        translated = translate(sample.labels)
        if translated is not None:
            key = (sample.name.removeprefix(name), tuple({**translated, **rest}.items()))
            sums[key] += sample.value
    metric = Metric(other, family.documentation, family.type)
    for (suffix, labels), value in sums.items():
        metric.add_sample(other + suffix, dict(labels), value)
    yield metric
