"""What happened, counted: metrics under the real server's names, as Prometheus text.

TensorFlow's names contain `/`; in Prometheus each becomes `:`. The one name of our own is
`:tensorflow:serving:version_request_count`, which tells versions of a model apart.
Source of names and buckets: TensorFlow Serving, and recorded answers.
"""

from __future__ import annotations

import threading
import time
from bisect import bisect_right
from contextlib import contextmanager
from typing import TYPE_CHECKING

from serving.errors import Code, ServingError

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping, Sequence

    from serving.lifecycle import InUse
    from serving.servable import Array, Servable


def exponential_buckets(scale: float, growth: float, count: int) -> tuple[float, ...]:
    """Upper bounds that grow by a factor."""
    return tuple(scale * growth**index for index in range(count))


_LABELS_MAX = 10_000  # clients choose model names; memory must not grow with them
_LATENCY_MICROS = exponential_buckets(10, 1.8, 33)  # up to about twenty minutes
_QUEUING_MICROS = exponential_buckets(100, 1.2, 52)  # up to about a second
_ROWS = exponential_buckets(1, 2, 14)
_RUNTIME = "TF1"  # what the real server calls sessions


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
        # As TensorFlow counts: a value at a bound belongs to the bucket above.
        bucket = bisect_right(self._bounds, value)
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

    def __init__(self, observe_run: Callable[[float], None]) -> None:
        self.version: int | None = None
        self._observe_run = observe_run

    def using(self, used: InUse) -> Servable:
        """Remember the version; what is given back runs it, and tells how long that took."""
        self.version = used.version
        return _Timed(used.servable, self._observe_run)


class _Timed:
    """A servable whose runs are timed, if they do not fail."""

    def __init__(self, servable: Servable, observe: Callable[[float], None]) -> None:
        self._servable = servable
        self._observe = observe
        self.signatures = servable.signatures
        self.metadata, self.describe, self.close = (
            servable.metadata,
            servable.describe,
            servable.close,
        )

    def run(
        self, signature_name: str, inputs: Mapping[str, Array], timeout_seconds: float | None
    ) -> dict[str, Array]:
        """See `Servable.run`."""
        start = time.perf_counter()
        outputs = self._servable.run(signature_name, inputs, timeout_seconds)
        self._observe(_micros_since(start))
        return outputs


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
        self.runtime = Histogram(
            f"{serving}runtime_latency", _LATENCY_MICROS, "model_name", "API", "runtime"
        )
        self.warmup = Histogram(
            f"{serving}model_warmup_latency", _LATENCY_MICROS, "model_path", "status"
        )
        self.loads = Counter(f"{saved_model}load_attempt_count", "model_path", "status")
        self.load_micros = Counter(f"{saved_model}load_latency", "model_path")
        batching = f"{serving}batching_session:"
        self.batches = Counter(f"{batching}wrapped_run_count")
        self.queuing = Histogram(f"{batching}queuing_latency", _QUEUING_MICROS, "thread_pool_name")
        self.input_rows = Histogram(f"{batching}input_batch_size", _ROWS)
        self.processed_rows = Histogram(f"{batching}processed_batch_size", _ROWS)
        self.padding_rows = Histogram(f"{batching}padding_size", _ROWS, "execution_batch_size")

    @contextmanager
    def measuring(self, model: str, api: str, entrypoint: str) -> Iterator[Seen]:
        """Count what happens in the block as one request.

        Args:
            model: the model's name.
            api: `predict`, `classify`, …; nothing for a look at a model.
            entrypoint: `REST`, or `GRPC`, where the real server takes no time of what fails.
        """
        seen = Seen(lambda micros: self.runtime.observe(micros, model, api.capitalize(), _RUNTIME))
        code = Code.INTERNAL
        start = time.perf_counter()
        try:
            yield seen
            code = Code.OK
        except ServingError as error:
            code = error.code
            raise
        finally:
            if code is Code.OK or entrypoint == "REST":
                self.latency.observe(_micros_since(start), model, api, entrypoint)
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
            self.load_micros.add(round(_micros_since(start)), path)
            self.loads.add(1, path, status)

    def warmed_up(self, path: str, seconds: float) -> None:
        """Count a version's warm-up."""
        self.warmup.observe(seconds * 1e6, path, "OK")

    def request_came(self, rows: int) -> None:
        """Count a request that is to be batched; see `batcher.BatchMetrics`."""
        self.input_rows.observe(rows)

    def batch_ran(self, waited_seconds: Sequence[float], rows: int, padded_rows: int) -> None:
        """Count one batch; see `batcher.BatchMetrics`."""
        self.batches.add(1)
        self.processed_rows.observe(padded_rows)
        self.padding_rows.observe(padded_rows - rows, str(padded_rows))
        for seconds in waited_seconds:
            # The real server does not name its threads here.
            self.queuing.observe(seconds * 1e6, "")

    def text(self) -> bytes:
        """All of it, for Prometheus."""
        metrics = [item for item in vars(self).values() if isinstance(item, Counter | Histogram)]
        lines = (line for item in sorted(metrics, key=lambda m: m.name) for line in item.lines())
        # What is no UTF-8 in a model's name came from a client's URL, and goes out as it came in.
        return "".join(f"{line}\n" for line in lines).encode("utf-8", "surrogateescape")


def _micros_since(start: float) -> float:
    return (time.perf_counter() - start) * 1e6


def _labels(names: Sequence[str], values: Sequence[str]) -> str:
    pairs = (f'{n}="{_escaped(v)}"' for n, v in zip(names, values, strict=True))
    return f"{{{','.join(pairs)}}}"


def _escaped(value: str) -> str:
    return value.replace("\\", r"\\").replace('"', r"\"").replace("\n", r"\n")


def _number(value: float) -> str:
    return f"{value:g}"
