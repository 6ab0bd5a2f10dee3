"""A span for each request and each of its stages. The only file that imports OpenTelemetry; see telemetry.py."""

from __future__ import annotations

import os
import threading
from functools import cache, partial
from typing import TYPE_CHECKING

from flask import g, request
from opentelemetry.exporter.otlp.proto.http.trace_exporter import OTLPSpanExporter
from opentelemetry.sdk.resources import Resource
from opentelemetry.sdk.trace import TracerProvider
from opentelemetry.sdk.trace.export import BatchSpanProcessor
from opentelemetry.trace import SpanKind, Status, StatusCode, set_span_in_context
from opentelemetry.trace.propagation.tracecontext import TraceContextTextMapPropagator

from flask_server.facts import facts

if TYPE_CHECKING:
    from collections.abc import Callable
    from contextlib import AbstractContextManager

    from flask import Flask, Response
    from opentelemetry.trace import Span, Tracer

    from flask_server.facts import RequestFacts

_SERVICE = "keras-front-door-router"
_PROPAGATOR = TraceContextTextMapPropagator()
_lock = threading.Lock()


def init_app(app: Flask, get_tracer: Callable[[], Tracer]) -> None:
    """Make spans for the requests of `app`.

    Args:
        app: The application.
        get_tracer: Called with each request, so that threads of the exporter start in the worker and not before its fork.
    """
    app.before_request(partial(_begin, get_tracer))
    app.after_request(_end)


def tracer() -> Tracer:
    """This process' tracer, which sends spans by OTLP over HTTP as the environment says."""
    with _lock:
        return _made_tracer()


@cache
def _made_tracer() -> Tracer:
    named = "OTEL_SERVICE_NAME" in os.environ
    provider = TracerProvider(resource=Resource.create({} if named else {"service.name": _SERVICE}))
    provider.add_span_processor(BatchSpanProcessor(OTLPSpanExporter()))
    return provider.get_tracer("flask_server")


def _begin(get_tracer: Callable[[], Tracer]) -> None:
    carrier = {name: request.headers.get(name, "") for name in ("traceparent", "tracestate")}
    span = get_tracer().start_span(
        f"{request.method} {request.url_rule.rule if request.url_rule else ''}".rstrip(),
        context=_PROPAGATOR.extract(carrier),
        kind=SpanKind.SERVER,
    )
    g.span = span
    told: dict[str, str] = {}
    _PROPAGATOR.inject(told, set_span_in_context(span))
    facts().traceparent = told["traceparent"]
    facts().watchers.append(partial(_watch_stage, get_tracer(), span))


def _watch_stage(
    tracer: Tracer, parent: Span, _: RequestFacts, stage: str
) -> AbstractContextManager[Span]:
    return tracer.start_as_current_span(stage, context=set_span_in_context(parent))


def _end(response: Response) -> Response:
    """Finish the request's span; the names are OpenTelemetry's semantic conventions for HTTP, and our own."""
    span: Span | None = g.pop("span", None)
    if span is None:
        return response
    current = facts()
    known = {
        "http.request.method": request.method,
        "http.route": request.url_rule.rule if request.url_rule else None,
        "http.response.status_code": response.status_code,
        "router.model": current.model,
        "router.model_version": current.version,
        "router.key": current.key_name,
        "router.request_id": current.request_id,
        "error.type": current.problem,
    }
    span.set_attributes({name: value for name, value in known.items() if value is not None})
    if response.status_code >= 500:
        span.set_status(Status(StatusCode.ERROR, current.problem))
    span.end()
    return response
