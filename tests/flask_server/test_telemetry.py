"""Spans: their tree, their place in the caller's trace, and their way to a collector."""

from __future__ import annotations

import threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import TYPE_CHECKING

import pytest
import urllib3
from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import ExportTraceServiceRequest
from opentelemetry.sdk.trace import TracerProvider
from opentelemetry.sdk.trace.export import SimpleSpanProcessor
from opentelemetry.sdk.trace.export.in_memory_span_exporter import InMemorySpanExporter
from opentelemetry.trace import StatusCode

from flask_server import create_app, telemetry, tracing
from flask_server.settings import Settings
from tests.flask_server.conftest import encoded
from tests.processes import free_port, running

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

    from flask.testing import FlaskClient

    from tests.flask_server.toy_model_server import ToyModelServer

PATH = "/colours/predict/"
RED = encoded((255, 51, 0))
STAGES = ["receive", "queue", "decode", "preprocess", "upstream"]
TRACE, CALLER = "0af7651916cd43dd8448eb211c80319c", "b7ad6b7169203331"


@pytest.fixture
def exporter() -> InMemorySpanExporter:
    """Keeps the spans that end."""
    return InMemorySpanExporter()


@pytest.fixture
def traced(client: FlaskClient, exporter: InMemorySpanExporter) -> FlaskClient:
    """A client of a router whose spans are kept."""
    provider = TracerProvider(shutdown_on_exit=False)
    provider.add_span_processor(SimpleSpanProcessor(exporter))
    tracer = provider.get_tracer("test")
    tracing.init_app(client.application, lambda: tracer)
    return client


def test_a_request_and_its_stages(traced: FlaskClient, exporter: InMemorySpanExporter) -> None:
    """A request is a span with its facts, and its stages are spans below it."""
    traced.post(PATH, data=RED, headers={"X-Request-Id": "r-1"})
    *stages, whole = exporter.get_finished_spans()
    assert whole.name == "POST /colours/predict/"
    expected = {
        "http.request.method": "POST",
        "http.route": PATH,
        "http.response.status_code": 200,
        "router.model": "colours",
        "router.model_version": 1,
        "router.request_id": "r-1",
    }
    assert dict(whole.attributes or {}) == expected
    assert [span.name for span in stages] == STAGES
    for span in stages:
        assert span.parent
        assert whole.context
        assert span.parent.span_id == whole.context.span_id


def test_the_trace_goes_on(
    traced: FlaskClient, exporter: InMemorySpanExporter, toy: ToyModelServer
) -> None:
    """The caller's trace is continued, and model server and answer are told of the request's span."""
    parent = f"00-{TRACE}-{CALLER}-01"
    response = traced.post(PATH, data=RED, headers={"traceparent": parent, "tracestate": "a=1"})
    whole = exporter.get_finished_spans()[-1]
    assert whole.parent
    assert f"{whole.parent.span_id:016x}" == CALLER
    told = f"00-{TRACE}-{whole.get_span_context().span_id:016x}-01"
    assert response.headers["traceparent"] == told
    assert toy.model.requests[-1]["headers"]["traceparent"] == told
    assert toy.model.requests[-1]["headers"]["tracestate"] == "a=1"


def test_failures_show(
    traced: FlaskClient, exporter: InMemorySpanExporter, toy: ToyModelServer
) -> None:
    """A failure of ours makes the span an error; one of the client's only names the problem."""
    toy.model.answer = (500, b"x")
    traced.post(PATH, data=RED)
    whole = exporter.get_finished_spans()[-1]
    assert whole.status.status_code == StatusCode.ERROR
    traced.get("/no/such/route")
    whole = exporter.get_finished_spans()[-1]
    assert whole.name == "GET"
    assert whole.status.status_code == StatusCode.UNSET
    assert (whole.attributes or {})["error.type"] == "Not Found"


@pytest.mark.parametrize(
    ("env", "expected"),
    [
        ({}, False),
        ({"OTEL_EXPORTER_OTLP_ENDPOINT": "http://c:4318"}, True),
        ({"OTEL_EXPORTER_OTLP_TRACES_ENDPOINT": "http://c:4318/v1/traces"}, True),
        ({"OTEL_EXPORTER_OTLP_ENDPOINT": "http://c", "OTEL_SDK_DISABLED": "true"}, False),
        ({"OTEL_EXPORTER_OTLP_ENDPOINT": "http://c", "OTEL_TRACES_EXPORTER": "none"}, False),
    ],
)
def test_when_it_is_wanted(env: dict[str, str], expected: bool) -> None:
    """Spans are made where a collector is named, unless that is switched off."""
    assert telemetry.wanted(env) is expected


def test_without_the_packages(
    models_file: Callable[..., Path],
    monkeypatch: pytest.MonkeyPatch,
    caplog: pytest.LogCaptureFixture,
) -> None:
    """Where a collector is named but the packages are missing, the log says what to install and all else works."""
    monkeypatch.setenv("OTEL_EXPORTER_OTLP_ENDPOINT", "http://127.0.0.1:4318")
    monkeypatch.setattr("importlib.util.find_spec", lambda _: None)
    app = create_app(Settings(models_file=models_file(colours={})))
    assert "pip install opentelemetry-sdk" in caplog.text
    assert app.test_client().get("/livez").status_code == 200


class Collector(ThreadingHTTPServer):
    """Takes spans as an OpenTelemetry collector does: protobuf over HTTP."""

    def __init__(self) -> None:
        self.requests: list[ExportTraceServiceRequest] = []
        super().__init__(("127.0.0.1", 0), _CollectorHandler)


class _CollectorHandler(BaseHTTPRequestHandler):
    server: Collector

    def log_message(self, *_: object) -> None:
        """Say nothing."""

    def do_POST(self) -> None:
        body = self.rfile.read(int(self.headers["Content-Length"]))
        self.server.requests.append(ExportTraceServiceRequest.FromString(body))
        self.send_response(200)
        self.send_header("Content-Length", "0")
        self.end_headers()


@pytest.fixture
def collector() -> Iterator[Collector]:
    """A running collector."""
    server = Collector()
    thread = threading.Thread(target=server.serve_forever, args=(0.01,))
    thread.start()
    yield server
    server.shutdown()
    thread.join()
    server.server_close()


@pytest.mark.slow
def test_spans_reach_a_collector(
    collector: Collector, models_file: Callable[..., Path], toy: ToyModelServer, tmp_path: Path
) -> None:
    """The real router with two workers sends every span, the last ones when it stops."""
    port = free_port()
    env = {
        "MODELS_FILE": str(models_file(colours={"upstream": [toy.url]})),
        "PORT": str(port),
        "WORKERS": "2",
        "DRAIN_SECONDS": "0",
        "OTEL_EXPORTER_OTLP_ENDPOINT": f"http://127.0.0.1:{collector.server_port}",
    }
    headers = {"traceparent": f"00-{TRACE}-{CALLER}-01", "Connection": "close"}
    with running("-m", "flask_server", log=tmp_path / "log", env=env) as program:
        program.wait_for(f"http://127.0.0.1:{port}/livez")
        for _ in range(10):
            url = f"http://127.0.0.1:{port}{PATH}"
            assert urllib3.request("POST", url, body=RED, headers=headers).status == 200
        assert program.stop() == 0, program.output()
    sent = [part for request in collector.requests for part in request.resource_spans]
    services = {one.value.string_value for part in sent for one in part.resource.attributes}
    assert "keras-front-door-router" in services
    spans = [span for part in sent for scope in part.scope_spans for span in scope.spans]
    mine = [span.name for span in spans if span.trace_id.hex() == TRACE]
    assert sorted(set(mine)) == sorted({*STAGES, "POST /colours/predict/"})
    assert mine.count("POST /colours/predict/") == mine.count("upstream") == 10
