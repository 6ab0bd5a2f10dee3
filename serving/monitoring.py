"""What happened, counted: metrics under the real server's names, as Prometheus text.

TensorFlow's names contain `/`; in Prometheus each becomes `:`. The one name of our own is
`:tensorflow:serving:version_request_count`, which tells versions of a model apart.
Source of names and buckets: TensorFlow Serving, and recorded answers.
"""

from __future__ import annotations

import threading
import time
from bisect import bisect_left
from contextlib import contextmanager
from typing import TYPE_CHECKING

from serving.errors import Code, ServingError

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence


def exponential_buckets(scale: float, growth: float, count: int) -> tuple[float, ...]:
    """Upper bounds that grow by a factor."""
    return tuple(scale * growth**index for index in range(count))


_LABELS_MAX = 10_000  # clients choose model names; memory must not grow with them
_LATENCY_MICROS = exponential_buckets(10, 1.8, 33)  # up to about twenty minutes
_QUEUING_MICROS = exponential_buckets(100, 1.2, 52)  # up to about a second


class Counter:
    """A number for each combination of labels, which only grows."""

    def __init__(self, name: str, *labels: str) -> None:
        self.name = name
        self._labels = labels
        self._values: dict[tuple[str, ...], int] = {}
        self._lock = threading.Lock()

    def add(self, amount: int, *label_values: str) -> None:
        """Count `amount` more."""
        with self._lock:
            if label_values not in self._values and len(self._values) >= _LABELS_MAX:
                return
            self._values[label_values] = self._values.get(label_values, 0) + amount

    def value(self, *label_values: str) -> int:
        """The number so far."""
        with self._lock:
            return self._values.get(label_values, 0)

    def lines(self) -> Iterator[str]:
        """Prometheus text."""
        yield f"# TYPE {self.name} counter"
        with self._lock:
            values = sorted(self._values.items())
        for label_values, value in values:
            yield f"{self.name}{_labels(self._labels, label_values)} {value}"


class Histogram:
    """How values are spread over buckets, for each combination of labels."""

    def __init__(self, name: str, bounds: Sequence[float], *labels: str) -> None:
        self.name = name
        self._bounds = bounds
        self._labels = labels
        self._counts: dict[tuple[str, ...], list[int]] = {}
        self._sums: dict[tuple[str, ...], float] = {}
        self._lock = threading.Lock()

    def observe(self, value: float, *label_values: str) -> None:
        """Count one value."""
        bucket = bisect_left(self._bounds, value)
        with self._lock:
            if label_values not in self._counts:
                if len(self._counts) >= _LABELS_MAX:
                    return
                self._counts[label_values] = [0] * (len(self._bounds) + 1)
            self._counts[label_values][bucket] += 1
            self._sums[label_values] = self._sums.get(label_values, 0.0) + value

    def lines(self) -> Iterator[str]:
        """Prometheus text."""
        yield f"# TYPE {self.name} histogram"
        with self._lock:
            counts = sorted((key, list(value)) for key, value in self._counts.items())
            sums = dict(self._sums)
        for label_values, buckets in counts:
            total = 0
            for bound, count in zip([*map(_number, self._bounds), "+Inf"], buckets, strict=True):
                total += count
                labels = _labels((*self._labels, "le"), (*label_values, bound))
                yield f"{self.name}_bucket{labels} {total}"
            labels = _labels(self._labels, label_values)
            yield f"{self.name}_sum{labels} {sums[label_values]}"
            yield f"{self.name}_count{labels} {total}"


class Seen:
    """What a request turns out to be while it is served."""

    version: int | None = None


class Metrics:
    """Every metric of the server."""

    def __init__(self) -> None:
        serving = ":tensorflow:serving:"
        saved_model = ":tensorflow:cc:saved_model:"
        self.requests = Counter(f"{serving}request_count", "model_name", "status")
        self.version_requests = Counter(
            f"{serving}version_request_count", "model_name", "version", "status"
        )
        self.latency = Histogram(
            f"{serving}request_latency", _LATENCY_MICROS, "model_name", "API", "entrypoint"
        )
        self.loads = Counter(f"{saved_model}load_attempt_count", "model_path", "status")
        self.load_micros = Counter(f"{saved_model}load_latency", "model_path")
        self.batches = Counter(f"{serving}batching_session:wrapped_run_count")
        self.queuing = Histogram(
            f"{serving}batching_session:queuing_latency", _QUEUING_MICROS, "thread_pool_name"
        )

    @contextmanager
    def measuring(self, model: str, api: str, entrypoint: str) -> Iterator[Seen]:
        """Count what happens in the block as one request.

        Args:
            model: the model's name.
            api: `predict`, `classify`, …
            entrypoint: `REST` or `GRPC`.
        """
        seen = Seen()
        code = Code.INTERNAL
        start = time.perf_counter()
        try:
            yield seen
            code = Code.OK
        except ServingError as error:
            code = error.code
            raise
        finally:
            self.latency.observe((time.perf_counter() - start) * 1e6, model, api, entrypoint)
            self.requests.add(1, model, code.name)
            if seen.version is not None:
                self.version_requests.add(1, model, str(seen.version), code.name)

    @contextmanager
    def measuring_load(self, path: str) -> Iterator[None]:
        """Count what happens in the block as one attempt to load a version."""
        status = "fail"
        start = time.perf_counter()
        try:
            yield
            status = "success"
        finally:
            self.load_micros.add(round((time.perf_counter() - start) * 1e6), path)
            self.loads.add(1, path, status)

    def batch_ran(self, thread_pool_name: str, waited_seconds: Sequence[float]) -> None:
        """Count one batch; see `batcher.BatchMetrics`."""
        self.batches.add(1)
        for seconds in waited_seconds:
            self.queuing.observe(seconds * 1e6, thread_pool_name)

    def text(self) -> bytes:
        """All of it, for Prometheus."""
        metrics = [item for item in vars(self).values() if isinstance(item, Counter | Histogram)]
        lines = (line for item in sorted(metrics, key=lambda m: m.name) for line in item.lines())
        # What is no UTF-8 in a model's name came from a client's URL, and goes out as it came in.
        return "".join(f"{line}\n" for line in lines).encode("utf-8", "surrogateescape")


def _labels(names: Sequence[str], values: Sequence[str]) -> str:
    if not names:
        return ""
    pairs = (f'{n}="{_escaped(v)}"' for n, v in zip(names, values, strict=True))
    return f"{{{','.join(pairs)}}}"


def _escaped(value: str) -> str:
    return value.replace("\\", r"\\").replace('"', r"\"").replace("\n", r"\n")


def _number(value: float) -> str:
    return f"{value:g}"
