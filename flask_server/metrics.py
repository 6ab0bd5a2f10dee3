"""What Prometheus reads at `/metrics`: counted in every worker, added up when it is read.

Each worker counts in files of its own, which lie mapped into its memory in one folder (prometheus_client's
multiprocess mode). Whoever answers `/metrics` adds up what all workers wrote, those that ended included.
"""

from __future__ import annotations

import os
from contextlib import nullcontext
from functools import partial
from typing import TYPE_CHECKING

from flask import Response, g

from flask_server.access import METRICS
from flask_server.facts import facts
from flask_server.measures import the_metrics

if TYPE_CHECKING:
    from contextlib import AbstractContextManager

    from flask import Flask
    from prometheus_client import CollectorRegistry

    from flask_server.facts import RequestFacts
    from flask_server.measures import Metrics
    from flask_server.router import Router

FOLDER_VARIABLE = "PROMETHEUS_MULTIPROC_DIR"
_WATCHED = ("queue", "upstream")


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


def forget_process(pid: int) -> None:
    """Show nothing as under way in a worker that has ended; what it counted stays."""
    from prometheus_client import multiprocess  # noqa: PLC0415 - see measures.py

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
    from prometheus_client import CONTENT_TYPE_LATEST, generate_latest  # noqa: PLC0415 - see measures.py

    return Response(generate_latest(_gathered(metrics)), content_type=CONTENT_TYPE_LATEST)


def _gathered(metrics: Metrics) -> CollectorRegistry:
    """The values of this process, or those that all workers wrote into the folder."""
    if FOLDER_VARIABLE not in os.environ:
        return metrics.registry
    from prometheus_client import CollectorRegistry, multiprocess  # noqa: PLC0415 - see measures.py

    registry = CollectorRegistry()
    multiprocess.MultiProcessCollector(registry)  # type: ignore[no-untyped-call]  # has no types
    return registry
