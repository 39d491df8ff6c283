"""A push through a balancer is one trace: over the instance that takes it, and the one that does its jobs."""

from __future__ import annotations

import base64
import json
from collections.abc import Iterator
from pathlib import Path

import httpx
import pytest
from prometheus_client.openmetrics.parser import text_string_to_metric_families

from tests.support.api import Api
from tests.support.cluster import Cluster
from tests.support.collector import Collector, trace_id
from tests.support.digests import digest_of
from tests.support.oci.client import Client
from tests.support.processes import PASSWORD
from tests.support.receiver import Receiver
from tests.support.servers.postgres import Postgres
from tests.support.waiting import until

_MANIFEST = "application/vnd.oci.image.manifest.v1+json"


@pytest.fixture(scope="module")
def collector() -> Iterator[Collector]:
    """Where the instances send their spans."""
    found = Collector()
    yield found
    found.close()


@pytest.fixture(scope="module")
def cluster(
    postgres: Postgres, collector: Collector, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Cluster]:
    """Two instances: the first one serves only, the second one runs the jobs."""
    found = Cluster(
        tmp_path_factory.mktemp("traces"),
        postgres.migrated(),
        count=2,
        settings={
            "SEAWALL_TRACE__ENABLED": "true",
            "SEAWALL_TRACE__ENDPOINT": collector.url,
            "SEAWALL_TRACE__HEADERS": json.dumps({"Authorization": "Bearer c0llector-secret"}),
            # Only what the client samples: the start of the servers is not looked at.
            "SEAWALL_TRACE__SAMPLE_RATE": "0",
            "SEAWALL_LOG__ACCESS": "true",
            "SEAWALL_WEBHOOKS__ALLOW_NETWORKS": '["127.0.0.0/8"]',
        },
    )
    found.instances[1].environment["SEAWALL_JOBS__EMBEDDED"] = "true"
    try:
        found.start()
        yield found
    finally:
        found.close()


def _log(file: Path) -> list[dict[str, object]]:
    return [json.loads(line) for line in file.read_text().splitlines() if line.startswith("{")]


def test_a_push_is_one_trace_from_the_balancer_to_the_webhook(cluster: Cluster, collector: Collector) -> None:
    serving, working = cluster.instances
    hook = Receiver()
    api = Api(serving, cluster.admin)
    project = api.project()
    policy = {
        "name": "ci",
        "enabled": True,
        "event_types": ["PUSH_ARTIFACT"],
        "targets": [
            {"type": "http", "address": hook.url + "&sig=s3cret-sig", "auth_header": "Bearer h00k-secret"}
        ],
    }
    api.made(f"/projects/{project}/webhook/policies", policy)
    trace, balancer = trace_id(), "00000000000000bb"
    client = Client(serving.url, cluster.admin)
    client.http.headers["traceparent"] = f"00-{trace}-{balancer}-01"
    client.http.headers["tracestate"] = "lb=1"
    repo = client.repo(f"{project}/app")
    layer, config = b"layer" * 1000, b"{}"
    for blob in (layer, config):
        assert repo.push_blob(blob).status_code == 201
    manifest = json.dumps(
        {
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
    ).encode()
    assert repo.put_manifest("v1", manifest, _MANIFEST).status_code == 201
    until(lambda: hook.received)
    until(lambda: any(span.name.startswith("job webhook") for span in collector.of(trace)))

    def roots() -> set[str]:
        here = collector.of(trace)
        return {span.parent for span in here} - {span.id for span in here}

    # One tree: what has no parent among the spans has the balancer. Both instances send when they like.
    until(lambda: roots() == {balancer}, roots)
    spans = collector.of(trace)
    names = {span.name for span in spans}
    by_id = {span.id: span for span in spans}
    assert {"PUT /v2/*/manifests", "POST /v2/*/blobs/uploads", "PUT /v2/*/blobs/uploads"} <= names
    assert {"storage commit", "POST 127.0.0.1"} <= names
    assert [name for name in names if name.startswith("db write")]
    [push] = [span for span in spans if span.name == "PUT /v2/*/manifests"]
    assert (push.attributes["http.response.status_code"], push.kind) == (201, 2)
    assert push.attributes["url.path"] == f"/v2/{project}/app/manifests/v1"
    [job] = [span for span in spans if span.name.startswith("job webhook")]
    assert (job.service, push.service) == ("seawall-jobservice", "seawall")
    assert job.attributes["seawall.status"] == "success"

    # The job's way up to the push leads over the event and its instance.
    above, way = job, []
    while above.parent in by_id:
        above = by_id[above.parent]
        way.append(above.name)
    assert way[-1] == "PUT /v2/*/manifests"
    assert any(name.startswith("event ") for name in way)
    assert above.instance != job.instance

    # The webhook carries it on, and so do the lines of the log.
    sent = hook.received[0].headers
    [post] = [span for span in spans if span.name == "POST 127.0.0.1"]
    assert sent["traceparent"] == f"00-{trace}-{post.id}-01"
    lines = [line for line in _log(serving.log) if line.get("trace_id") == trace]
    assert [line for line in lines if line["event"] == "request" and line["span_id"] == push.id]
    until(lambda: [i for i in _log(working.log) if i.get("trace_id") == trace and i["event"] == "job ended"])

    # No secret is in anything that was sent.
    raw = b"".join(collector.raw)
    basic = base64.b64encode(f"admin:{PASSWORD}".encode())
    for secret in (PASSWORD.encode(), basic, b"c0llector-secret", b"h00k-secret", b"s3cret-sig"):
        assert secret not in raw
    assert collector.headers[0]["authorization"] == "Bearer c0llector-secret"
    hook.close()


def test_a_slow_request_is_found_by_its_exemplar(cluster: Cluster) -> None:
    url = cluster.instances[0].url
    trace = trace_id()
    header = {"traceparent": f"00-{trace}-00000000000000bb-01"}
    accept = {"Accept": "application/openmetrics-text; version=1.0.0"}
    assert httpx.get(f"{url}/service/jwks", headers=header).status_code == 200
    answer = httpx.get(f"{url}/metrics", headers=accept)
    assert answer.headers["content-type"].startswith("application/openmetrics-text")
    parsed = text_string_to_metric_families(answer.text)  # type: ignore[no-untyped-call]
    families = {family.name: family for family in parsed}
    samples = families["seawall_http_request_seconds"].samples
    [found] = [item for item in samples if item.labels.get("route") == "/service/jwks" and item.exemplar]
    assert found.exemplar is not None
    assert found.exemplar.labels == {"trace_id": trace}
    assert 0 < found.exemplar.value <= float(found.labels["le"])
    assert trace not in httpx.get(f"{url}/metrics").text


def test_statements_are_measured_by_kind(cluster: Cluster) -> None:
    url = cluster.instances[0].url

    def counts() -> dict[str, float]:
        text = httpx.get(f"{url}/metrics?comp=core").text
        return {
            kind: float(line.rpartition(" ")[2])
            for kind in ("read", "write", "commit")
            for line in text.splitlines()
            if line.startswith(f'seawall_database_statement_seconds_count{{kind="{kind}"}}')
        }

    before = counts()
    Api(cluster.instances[0], cluster.admin).project()
    after = counts()
    assert all(after[kind] > before[kind] for kind in ("read", "write", "commit")), (before, after)


def test_odd_headers_of_a_client_change_no_answer(cluster: Cluster, collector: Collector) -> None:
    url = cluster.instances[0].url

    def seen() -> int:
        # Those of earlier requests may still arrive.
        return sum(span.attributes.get("url.path") == "/v2/" for span in collector.spans)

    before = seen()
    for value in ("", "x" * 8000, "00-" + "0" * 32 + "-" + "0" * 16 + "-01", "00-\xff", "ff-1-1-1"):
        answer = httpx.get(
            f"{url}/v2/", headers=[(b"traceparent", value.encode("latin-1")), (b"tracestate", b"," * 4000)]
        )
        assert answer.status_code == 401
    twice = [("traceparent", f"00-{trace_id()}-00000000000000bb-01")] * 2
    assert httpx.get(f"{url}/v2/", headers=twice).status_code == 401
    # With a rate of 0 a trace that begins here is not recorded.
    assert seen() == before


def test_a_collector_that_fails_is_seen_in_metrics_only(cluster: Cluster, collector: Collector) -> None:
    url = cluster.instances[0].url
    collector.status = 400

    def failed() -> float:
        lines = httpx.get(f"{url}/metrics?comp=core").text.splitlines()
        [line] = [i for i in lines if i.startswith('seawall_trace_spans_total{result="failed"}')]
        return float(line.rpartition(" ")[2])

    try:
        header = {"traceparent": f"00-{trace_id()}-00000000000000bb-01"}
        assert httpx.get(f"{url}/v2/", headers=header).status_code == 401
        until(lambda: failed() >= 1)
    finally:
        collector.status = 200
