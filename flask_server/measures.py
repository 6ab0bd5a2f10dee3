"""Everything that the router counts: one set of Prometheus' metrics for each process."""

from __future__ import annotations

from dataclasses import dataclass, field
from functools import cache, partial
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram

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
    shadow_images: Counter
    shadow_seconds: Histogram
    replicas_shown: dict[str, bool] = field(default_factory=dict)
    """What `replica_failing` says here, by URL."""


@cache
def the_metrics() -> Metrics:
    """The one set of metrics of this process, which outlives the application when models are read again."""
    # Where its values live (files or this process alone) is decided by the environment when it is first imported.
    from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram  # noqa: PLC0415

    registry = CollectorRegistry()
    counter = partial(Counter, registry=registry)
    gauge = partial(Gauge, registry=registry, multiprocess_mode="livesum")
    sizes = partial(Histogram, labelnames=["model"], registry=registry)
    seconds = partial(Histogram, buckets=_SECONDS, registry=registry)
    version = ["model", "version"]
    outcome = [*version, "outcome"]
    return Metrics(
        registry=registry,
        requests=counter("router_requests", "Requests answered", [*version, "status"]),
        problems=counter("router_problems", "Requests that failed", ["model", "problem"]),
        key_requests=counter("router_key_requests", "Requests with a valid API key", ["key"]),
        in_flight=gauge("router_requests_in_flight", "Requests being answered now"),
        in_stage=gauge(
            "router_stage_in_flight",
            "Requests that wait now (queue), or are at a model server now (upstream)",
            ["model", "stage"],
        ),
        request_seconds=seconds("router_request_seconds", "Whole requests", version),
        stage_seconds=seconds("router_stage_seconds", "Their stages", [*version, "stage"]),
        image_bytes=sizes("router_image_bytes", "Encoded images", buckets=_BYTES),
        image_pixels=sizes("router_image_pixels", "Decoded images", buckets=_PIXELS),
        replica_failing=gauge(
            "router_replica_failing", "Workers that set a model server aside", ["upstream"]
        ),
        shadow_images=counter("router_shadow_images", "Images that shadows were asked", outcome),
        shadow_seconds=seconds("router_shadow_seconds", "Answers of shadows", version),
    )
