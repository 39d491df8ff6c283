"""Spans and their context: what is taken of a header, what is recorded, and what is sent."""

from __future__ import annotations

import subprocess
import sys
import threading
import time
from collections.abc import Iterator

import pytest
from hypothesis import given
from hypothesis import strategies as st

from seawall.infra import otlp, tracing
from seawall.infra.settings import TraceSettings
from tests.support.collector import Collector, decode
from tests.support.waiting import until

_TRACE = "0af7651916cd43dd8448eb211c80319c"
_PARENT = f"00-{_TRACE}-b7ad6b7169203331-01"


@pytest.fixture
def spans() -> Iterator[list[tracing.Span]]:
    """What is recorded."""
    found: list[tracing.Span] = []
    tracing.start(found.append)
    yield found
    tracing.stop()


@pytest.mark.parametrize(
    "value",
    [
        "",
        "00",
        _PARENT.upper(),
        _PARENT + "-",
        _PARENT + "-more",
        _PARENT.replace("00-", "ff-", 1),
        f"00-{'0' * 32}-b7ad6b7169203331-01",
        f"00-{_TRACE}-{'0' * 16}-01",
        f"00-{_TRACE}-b7ad6b7169203331-0",
        f"00-{_TRACE}-b7ad6b7169203331-01\n",
        f"00-{_TRACE}-b7ad6b716920333g-01",
        f"01-{_TRACE}-b7ad6b7169203331-01" + "-x" * 200,
        "00-" + "١" * 32 + "-b7ad6b7169203331-01",
    ],
)
def test_a_traceparent_that_is_not_valid_begins_a_trace(value: str) -> None:
    assert tracing.read(value) is None


def test_a_later_version_of_traceparent_is_read() -> None:
    found = tracing.read(f"cc-{_TRACE}-b7ad6b7169203331-03-what-the-future-brings")
    assert found is not None
    assert (f"{found.trace_id:032x}", found.sampled) == (_TRACE, True)


def test_two_traceparents_are_none() -> None:
    assert tracing.parent_of([(b"traceparent", _PARENT.encode())] * 2) is None


@pytest.mark.parametrize(
    ("values", "kept"),
    [
        ([b"a=1,b=2"], "a=1,b=2"),
        ([b"a=1", b" b=2 "], "a=1,b=2"),
        ([b"tenant@vendor=x y"], "tenant@vendor=x y"),
        ([b"a=1,a=2"], ""),
        ([b"A=1"], ""),
        ([b"a=1\r\nx: y"], ""),
        ([b"a=" + b"x" * 600], ""),
        ([b",".join(b"k%d=1" % n for n in range(33))], ""),
        ([b"no-value"], ""),
    ],
)
def test_a_tracestate_is_carried_if_it_is_valid(values: list[bytes], kept: str) -> None:
    headers = [(b"traceparent", _PARENT.encode()), *((b"tracestate", item) for item in values)]
    found = tracing.parent_of(headers)
    assert found is not None
    assert found.state == kept


@given(st.lists(st.tuples(st.sampled_from([b"traceparent", b"tracestate"]), st.binary(max_size=600))))
def test_no_header_raises(headers: list[tuple[bytes, bytes]]) -> None:
    found = tracing.parent_of(headers)
    assert found is None or len(found.state) <= 512


def test_a_request_goes_on_with_the_trace_of_its_balancer(spans: list[tracing.Span]) -> None:
    with tracing.incoming("GET /v2/", [(b"traceparent", _PARENT.encode()), (b"tracestate", b"a=1")]):
        headers: dict[str, str] = {}
        with tracing.span("inner"):
            tracing.inject(headers)
            logged = tracing.log_context(None, "info", {"event": "x"})
    inner, outer = spans
    assert [inner.name, outer.name] == ["inner", "GET /v2/"]
    assert f"{outer.trace_id:032x}" == _TRACE
    assert outer.parent_id == 0xB7AD6B7169203331
    assert inner.parent_id == outer.span_id
    assert headers == {"traceparent": f"00-{_TRACE}-{inner.span_id:016x}-01", "tracestate": "a=1"}
    assert logged == {"event": "x", "trace_id": _TRACE, "span_id": f"{inner.span_id:016x}"}


def test_what_the_balancer_does_not_sample_is_not_recorded_but_goes_on(spans: list[tracing.Span]) -> None:
    with tracing.incoming("GET /v2/", [(b"traceparent", (_PARENT[:-1] + "0").encode())]):
        assert tracing.span("inner") is tracing.NOTHING
        assert (tracing.traceparent() or "").startswith(f"00-{_TRACE}-")
        assert (tracing.traceparent() or "").endswith("-00")
    assert spans == []


def test_a_share_of_the_traces_is_recorded() -> None:
    found: list[tracing.Span] = []
    tracing.start(found.append, 0.25, follow=False)
    for _ in range(2000):
        # `follow` is off: what the client says does not matter.
        with tracing.incoming("GET", [(b"traceparent", _PARENT.encode())]):
            pass
    tracing.stop()
    assert 350 < len(found) < 650
    assert len({span.trace_id for span in found}) == len(found)


def test_work_without_a_root_has_no_span(spans: list[tracing.Span]) -> None:
    with tracing.span("poll"), tracing.transaction("read", len, "sqlite"):
        assert tracing.traceparent() is None
    assert spans == []


def test_a_task_that_outlives_its_request_for_long_leaves_the_trace(
    spans: list[tracing.Span], monkeypatch: pytest.MonkeyPatch
) -> None:
    with tracing.incoming("GET", []) as root:
        later = tracing.carried(tracing.traceparent)
        carried = tracing.carried(lambda: tracing.span("late"))
    assert later() is not None
    assert isinstance(root, tracing.Span)
    root.ended -= 31 * 10**9
    assert later() is None
    assert carried() is tracing.NOTHING


def test_a_transaction_is_named_as_its_function(spans: list[tracing.Span]) -> None:
    def link_blob() -> None: ...

    with tracing.incoming("GET", []):
        for fn in (link_blob, lambda: None):
            with tracing.transaction("write", fn, "sqlite"):
                pass
    assert spans[0].name == "db write link_blob"
    assert spans[1].name == "db write test_a_transaction_is_named_as_its_function"


def test_a_failure_has_a_kind_and_no_text(spans: list[tracing.Span]) -> None:
    with pytest.raises(ValueError, match="hunter2"), tracing.incoming("GET", []):
        raise ValueError("password hunter2")
    (seen,) = decode(otlp.message(otlp.resource({"service.name": "x", "service.instance.id": "y"}), spans))
    assert seen.failed
    assert seen.attributes == {"error.type": "ValueError"}


def test_the_message_is_what_opentelemetry_reads(spans: list[tracing.Span]) -> None:
    attributes: dict[str, tracing.Value] = {"s": "ü" * 1000, "b": True, "i": -5, "f": 0.25, "odd": "\ud800"}
    with tracing.incoming("GET", [(b"traceparent", _PARENT.encode()), (b"tracestate", b"a=1")], **attributes):
        time.sleep(0.01)
    (seen,) = decode(otlp.message(otlp.resource({"service.name": "x", "service.instance.id": "y"}), spans))
    assert (seen.trace, seen.parent, seen.state, seen.kind) == (_TRACE, "b7ad6b7169203331", "a=1", 2)
    assert seen.attributes == {"s": "ü" * 256, "b": True, "i": -5, "f": 0.25, "odd": "?"}
    assert 0.009 < seen.seconds < 10


def _sent(result: str) -> float:
    from prometheus_client import REGISTRY

    return REGISTRY.get_sample_value("seawall_trace_spans_total", {"result": result}) or 0.0


@pytest.fixture(scope="module", autouse=True)
def _counting() -> None:
    from seawall.infra import telemetry

    telemetry.start()


@pytest.fixture
def collector() -> Iterator[Collector]:
    """A collector of the test's own."""
    found = Collector()
    yield found
    found.close()


def _settings(url: str, **more: object) -> TraceSettings:
    return TraceSettings.model_validate({"enabled": True, "endpoint": url, **more})


def test_spans_reach_the_collector_with_its_headers(collector: Collector) -> None:
    sender = otlp.Sender(
        _settings(collector.url, headers={"Authorization": "Bearer x"}, namespace="prod"), "seawall"
    )
    with tracing.incoming("GET /v2/", []):
        pass
    sender.close()
    assert [span.name for span in collector.spans] == ["GET /v2/"]
    assert collector.headers[0]["authorization"] == "Bearer x"
    assert collector.headers[0]["content-type"] == "application/x-protobuf"


def test_a_collector_that_hangs_blocks_nobody_and_what_is_too_much_is_counted(collector: Collector) -> None:
    collector.gate = threading.Event()
    before = _sent("dropped")
    sender = otlp.Sender(_settings(collector.url, queue=512), "seawall")
    started = time.perf_counter()
    for _ in range(3000):
        with tracing.incoming("GET", []):
            pass
    assert time.perf_counter() - started < 5
    # Of 3,000 a batch is on its way, and 512 wait.
    assert 3000 - 2 * 512 - 512 <= _sent("dropped") - before <= 3000 - 512
    started = time.perf_counter()
    sender.close()
    assert time.perf_counter() - started < 4


def test_a_collector_that_is_away_or_refuses_costs_its_spans_only(collector: Collector) -> None:
    collector.status = 400
    sender = otlp.Sender(_settings(collector.url), "seawall")
    with tracing.incoming("GET", []):
        pass
    until(lambda: collector.headers)
    assert not collector.spans
    collector.status = 200
    with tracing.incoming("GET again", []):
        pass
    sender.close()
    assert [span.name for span in collector.spans] == ["GET again"]


def test_without_tracing_nothing_of_it_is_imported() -> None:
    code = (
        "import sys, threading\n"
        "from seawall.process import server, worker, traces\n"
        "from seawall.infra.settings import Settings\n"
        "from seawall.infra import tracing\n"
        "traces.begin(Settings(), 'seawall')()\n"
        "assert not tracing.started()\n"
        "assert tracing.span('x') is tracing.NOTHING\n"
        "assert tracing.carried(len) is len\n"
        "heavy = ('opentelemetry.sdk', 'opentelemetry.exporter', 'seawall.infra.otlp')\n"
        "wrong = [name for name in sys.modules if name.startswith(heavy)]\n"
        "assert not wrong, wrong\n"
        "assert not [t for t in threading.enumerate() if t.name == 'trace-export']\n"
    )
    subprocess.run([sys.executable, "-c", code], check=True, timeout=120)


@pytest.mark.parametrize(
    ("given_", "reason"),
    [
        ({"enabled": True}, "enabled needs endpoint"),
        ({"endpoint": "collector:4318"}, "must be a URL"),
        ({"endpoint": "http://user:secret@collector"}, "has a user in it"),
        ({"headers": {"a b": "c"}}, "is not a header"),
        ({"headers": {"a": "c\r\nx: y"}}, "is not a header"),
        ({"sample_rate": 2}, "less than or equal to 1"),
    ],
)
def test_settings_that_cannot_be_meant_are_refused(given_: dict[str, object], reason: str) -> None:
    with pytest.raises(ValueError, match=reason):
        TraceSettings.model_validate(given_)


def test_the_usual_path_is_added_to_an_endpoint() -> None:
    assert _settings("http://c:4318").url() == "http://c:4318/v1/traces"
    assert _settings("http://c:4318/otlp/v1/traces").url() == "http://c:4318/otlp/v1/traces"
