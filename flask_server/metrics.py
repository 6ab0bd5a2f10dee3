"""What Prometheus reads at `/metrics`: counted in every worker, added up when it is read.

Each worker counts in files of its own, which lie mapped into its memory in one folder (prometheus_client's
multiprocess mode). Whoever answers `/metrics` adds up what all workers wrote, those that ended included.
"""

from __future__ import annotations

import os
from contextlib import nullcontext
from dataclasses import dataclass, field
from functools import cache, partial
from typing import TYPE_CHECKING

from flask import Response, g

from flask_server.access import METRICS
from flask_server.facts import facts

if TYPE_CHECKING:
    from contextlib import AbstractContextManager

    from flask import Flask
    from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram

    from flask_server.facts import RequestFacts
    from flask_server.router import Router

FOLDER_VARIABLE = "PROMETHEUS_MULTIPROC_DIR"
_WATCHED = ("queue", "upstream")
_SECONDS = (0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 30.0)
_BYTES = tuple(float(2**power) for power in range(10, 26, 2))
_PIXELS = (1e3, 1e4, 1e5, 3e5, 1e6, 3e6, 1e7, 3e7, 1e8)


@dataclass(frozen=True, slots=True)
class Metrics:
    """Everything that is counted. docs/operations.md tells what each means."""

    registry: CollectorRegistry
    requests: Counter
    problems: Counter
    key_requests: Counter
    in_flight: Gauge
    in_stage: Gauge
    request_seconds: Histogram
    stage_seconds: Histogram
    image_bytes: Histogram
    image_pixels: Histogram
    replica_failing: Gauge
    replicas_shown: dict[str, bool] = field(default_factory=dict)
    """What `replica_failing` says here, by URL."""


def init_app(app: Flask, router: Router) -> None:
    """Count what `app` does, and show it."""
    metrics = the_metrics()
    for url in metrics.replicas_shown:  # of an application that this one replaces
        metrics.replica_failing.labels(url).set(0)
    metrics.replicas_shown.clear()
    app.before_request(partial(_begin, metrics))
    app.after_request(partial(_count, metrics, router))
    app.teardown_request(partial(_end, metrics))
    app.add_url_rule(METRICS, endpoint="metrics", view_func=partial(_show, metrics))


@cache
def the_metrics() -> Metrics:
    """The one set of metrics of this process, which outlives the application when models are read again."""
    # Where its values live (files or this process alone) is decided by the environment when it is first imported.
    from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram  # noqa: PLC0415

    registry = CollectorRegistry()
    make_counter = partial(Counter, registry=registry)
    make_gauge = partial(Gauge, registry=registry, multiprocess_mode="livesum")
    make_histogram = partial(Histogram, registry=registry)
    return Metrics(
        registry=registry,
        requests=make_counter(
            "router_requests", "Requests answered", ("model", "version", "status")
        ),
        problems=make_counter("router_problems", "Requests that failed", ("model", "problem")),
        key_requests=make_counter("router_key_requests", "Requests with a valid API key", ("key",)),
        in_flight=make_gauge("router_requests_in_flight", "Requests being answered"),
        in_stage=make_gauge(
            "router_stage_in_flight",
            "Requests that wait now (queue), or are at a model server now (upstream)",
            ("model", "stage"),
        ),
        request_seconds=make_histogram(
            "router_request_seconds", "Whole requests", ("model", "version"), buckets=_SECONDS
        ),
        stage_seconds=make_histogram(
            "router_stage_seconds", "Stages", ("model", "version", "stage"), buckets=_SECONDS
        ),
        image_bytes=make_histogram(
            "router_image_bytes", "Encoded images", ("model",), buckets=_BYTES
        ),
        image_pixels=make_histogram(
            "router_image_pixels", "Decoded images", ("model",), buckets=_PIXELS
        ),
        replica_failing=make_gauge(
            "router_replica_failing", "Workers that set a model server aside", ("upstream",)
        ),
    )


def forget_process(pid: int) -> None:
    """Show nothing as under way in a worker that has ended; what it counted stays."""
    from prometheus_client import multiprocess  # noqa: PLC0415 - as above

    multiprocess.mark_process_dead(pid)  # type: ignore[no-untyped-call]  # has no types


def _begin(metrics: Metrics) -> None:
    metrics.in_flight.inc()
    g.counted = True
    facts().watchers.append(partial(_watch_stage, metrics))


def _watch_stage(
    metrics: Metrics, current: RequestFacts, stage: str
) -> AbstractContextManager[None]:
    if stage not in _WATCHED:
        return nullcontext()
    return metrics.in_stage.labels(current.model or "", stage).track_inprogress()


def _count(metrics: Metrics, router: Router, response: Response) -> Response:
    current = facts()
    model, version = current.model or "", str(current.version or "")
    metrics.requests.labels(model, version, str(response.status_code)).inc()
    if current.problem is not None:
        metrics.problems.labels(model, current.problem).inc()
    if current.key_name is not None:
        metrics.key_requests.labels(current.key_name).inc()
    if model:
        _observe(metrics, current, model, version)
    _look_at_replicas(metrics, router)
    return response


def _observe(metrics: Metrics, current: RequestFacts, model: str, version: str) -> None:
    metrics.request_seconds.labels(model, version).observe(current.total_seconds())
    for stage, seconds in current.stage_seconds.items():
        metrics.stage_seconds.labels(model, version, stage).observe(seconds)
    for size in current.image_bytes:
        metrics.image_bytes.labels(model).observe(size)
    for pixels in current.image_pixels:
        metrics.image_pixels.labels(model).observe(pixels)


def _look_at_replicas(metrics: Metrics, router: Router) -> None:
    for replica in router.pool.all:
        failing = replica.failures > 0
        if metrics.replicas_shown.get(replica.url) is not failing:
            metrics.replicas_shown[replica.url] = failing
            metrics.replica_failing.labels(replica.url).set(float(failing))


def _end(metrics: Metrics, _: BaseException | None) -> None:
    if g.pop("counted", False):
        metrics.in_flight.dec()


def _show(metrics: Metrics) -> Response:
    from prometheus_client import CONTENT_TYPE_LATEST, generate_latest  # noqa: PLC0415 - as above

    return Response(generate_latest(_gathered(metrics)), content_type=CONTENT_TYPE_LATEST)


def _gathered(metrics: Metrics) -> CollectorRegistry:
    """The values of this process, or those that all workers wrote into the folder."""
    if FOLDER_VARIABLE not in os.environ:
        return metrics.registry
    from prometheus_client import CollectorRegistry, multiprocess  # noqa: PLC0415 - as above

    registry = CollectorRegistry()
    multiprocess.MultiProcessCollector(registry)  # type: ignore[no-untyped-call]  # has no types
    return registry
