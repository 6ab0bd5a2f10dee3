"""Join requests that wait into one call of the model, and give each its own rows back.

As TensorFlow Serving's batching session does: https://www.tensorflow.org/tfx/serving/serving_config
(section "Batching Configuration"). Unlike it, requests whose rows differ in shape are put into
different batches instead of failing each other, a batch that fails is run again request by request,
and a request without rows is refused instead of waiting for ever.
"""

from __future__ import annotations

import logging
import os
import threading
import time
from collections import deque
from concurrent.futures import Future
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Protocol

import numpy as np

from serving.deep_arrays import DeepArray
from serving.errors import (
    Code,
    FailedPrecondition,
    Internal,
    InvalidArgument,
    ServingError,
    Unavailable,
)

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from serving.servable import Array, Servable, Signature

    Key = tuple[Any, ...]


logger = logging.getLogger(__name__)


@dataclass(frozen=True)
class BatchingParameters:
    """How to batch; the names are those of the real server's parameters file."""

    max_batch_size: int = 1000
    batch_timeout_micros: int = 0
    max_enqueued_batches: int = 10
    num_batch_threads: int = os.cpu_count() or 1
    allowed_batch_sizes: tuple[int, ...] = ()
    pad_variable_length_inputs: bool = False
    enable_large_batch_splitting: bool = False
    max_execution_batch_size: int = 0
    thread_pool_name: str = "model_server_batch_threads"

    def __post_init__(self) -> None:
        sizes = self.allowed_batch_sizes
        if list(sizes) != sorted(set(sizes)):
            raise InvalidArgument("allowed_batch_sizes entries must be monotonically increasing")
        if sizes and sizes[-1] != self.execution_size:
            raise InvalidArgument(
                "Last entry in allowed_batch_sizes must match max_batch_size; "
                f"last was {sizes[-1]}; expected {self.execution_size}"
            )

    @property
    def execution_size(self) -> int:
        """The most rows that are run at once."""
        if self.enable_large_batch_splitting and self.max_execution_batch_size:
            return self.max_execution_batch_size
        return self.max_batch_size

    def padded_size(self, rows: int) -> int:
        """The smallest allowed size that holds `rows`."""
        return next((size for size in self.allowed_batch_sizes if size >= rows), rows)


class BatchMetrics(Protocol):
    """Who wants to know of batches."""

    def batch_ran(self, thread_pool_name: str, waited_seconds: Sequence[float]) -> None:
        """A batch of as many requests as there are waits was run."""


@dataclass
class _Task:
    inputs: Mapping[str, Array]
    rows: int
    timeout_seconds: float | None
    result: Future[dict[str, Array]] = field(default_factory=Future)
    arrived: float = field(default_factory=time.monotonic)


@dataclass
class _Batch:
    servable: Servable
    signature_name: str
    tasks: list[_Task] = field(default_factory=list)
    rows: int = 0

    def add(self, task: _Task) -> None:
        self.tasks.append(task)
        self.rows += task.rows


class Batcher:
    """The threads that run batches; one for all models."""

    def __init__(self, parameters: BatchingParameters, metrics: BatchMetrics | None = None) -> None:
        """Start the threads.

        Args:
            parameters: how to batch.
            metrics: told of each batch.
        """
        self.parameters = parameters
        self._metrics = metrics
        self._arrived = threading.Condition()
        self._queues: dict[Key, deque[_Batch]] = {}
        self._closing = False
        for index in range(parameters.num_batch_threads):
            name = f"{parameters.thread_pool_name}-{index}"
            threading.Thread(target=self._work, name=name, daemon=True).start()

    def submit(self, servable: Servable, signature_name: str, task: _Task) -> None:
        """Queue a request.

        Raises:
            Unavailable: too many batches wait already.
        """
        key = (id(servable), signature_name, *self._shape_key(task.inputs))
        with self._arrived:
            queue = self._queues.setdefault(key, deque())
            room = queue and queue[-1].rows + task.rows <= self.parameters.execution_size
            if not room:
                if len(queue) >= self.parameters.max_enqueued_batches:
                    raise Unavailable(
                        "The batch scheduling queue to which this task was submitted is full"
                    )
                queue.append(_Batch(servable, signature_name))
            queue[-1].add(task)
            self._arrived.notify()

    def _shape_key(self, inputs: Mapping[str, Array]) -> Key:
        if self.parameters.pad_variable_length_inputs:
            return tuple((name, array.ndim) for name, array in inputs.items())
        return tuple((name, array.shape[1:]) for name, array in inputs.items())

    def close(self) -> None:
        """Let the threads end when nothing waits any more."""
        with self._arrived:
            self._closing = True
            self._arrived.notify_all()

    def _work(self) -> None:
        while (batch := self._next_batch()) is not None:
            self._run(batch)

    def _next_batch(self) -> _Batch | None:
        with self._arrived:
            while self._queues or not self._closing:
                wait_seconds = self._seconds_to_next()
                if wait_seconds is not None and wait_seconds <= 0:
                    return self._take()
                self._arrived.wait(wait_seconds)
            return None

    def _seconds_to_next(self) -> float | None:
        """How long until the first batch is due: at once if it is full; None if there is none."""
        if not self._queues:
            return None
        return min(map(self._due_in, self._queues.values()))

    def _due_in(self, queue: deque[_Batch]) -> float:
        first = queue[0]
        due = first.tasks[0].arrived + self.parameters.batch_timeout_micros / 1e6
        is_full = len(queue) > 1 or first.rows >= self.parameters.execution_size
        return min(0.0, due - time.monotonic()) if is_full else due - time.monotonic()

    def _take(self) -> _Batch:
        key = min(self._queues, key=lambda k: self._due_in(self._queues[k]))
        queue = self._queues[key]
        batch = queue.popleft()
        if not queue:
            del self._queues[key]
        return batch

    def _run(self, batch: _Batch) -> None:
        now = time.monotonic()
        waiting = [task for task in batch.tasks if task.result.set_running_or_notify_cancel()]
        if not waiting:
            return
        if self._metrics is not None:
            waits = [now - task.arrived for task in waiting]
            self._metrics.batch_ran(self.parameters.thread_pool_name, waits)
        try:
            self._run_together(batch, waiting)
        except ServingError as error:
            self._run_apart(batch, waiting, error)
        except Exception:  # whatever it is, this thread must go on and nobody wait for ever
            logger.exception("a batch of %s", batch.signature_name)
            for task in waiting:
                task.result.set_exception(Internal("The batch could not be run."))

    def _run_together(self, batch: _Batch, tasks: Sequence[_Task]) -> None:
        rows = sum(task.rows for task in tasks)
        inputs = self._joined([task.inputs for task in tasks], self.parameters.padded_size(rows))
        timeouts = [task.timeout_seconds for task in tasks]
        timeout = None if None in timeouts else max(t for t in timeouts if t is not None)
        outputs = batch.servable.run(batch.signature_name, inputs, timeout)
        _check_outputs(outputs, self.parameters.padded_size(rows))
        start = 0
        for task in tasks:
            end = start + task.rows
            task.result.set_result({name: array[start:end] for name, array in outputs.items()})
            start = end

    def _run_apart(self, batch: _Batch, tasks: Sequence[_Task], error: ServingError) -> None:
        if len(tasks) == 1 or error.code is Code.DEADLINE_EXCEEDED:
            for task in tasks:
                task.result.set_exception(error)
            return
        for task in tasks:
            try:
                self._run_together(batch, [task])
            except ServingError as own:
                task.result.set_exception(own)

    def _joined(self, requests: Sequence[Mapping[str, Array]], rows: int) -> dict[str, Array]:
        return {name: _stacked([one[name] for one in requests], rows) for name in requests[0]}


def _stacked(arrays: Sequence[Array], rows: int) -> Array:
    """Put rows under each other, as large as the largest, and repeat the first up to `rows`."""
    sizes = tuple(map(max, zip(*(array.shape[1:] for array in arrays), strict=True)))
    widened = [_widened(array, sizes) for array in arrays]
    missing = rows - sum(map(len, widened))
    if missing:
        widened.append(np.repeat(widened[0][:1], missing, axis=0))
    return np.concatenate(widened) if len(widened) > 1 else widened[0]


def _widened(array: Array, sizes: tuple[int, ...]) -> Array:
    if array.shape[1:] == sizes:
        return array
    if not array.size:
        raise InvalidArgument("Got empty tensor in batch of non-empty tensors.")
    wider = np.full((len(array), *sizes), array.flat[0], array.dtype)
    wider[tuple(slice(size) for size in array.shape)] = array
    return wider


def _check_outputs(outputs: Mapping[str, Array], rows: int) -> None:
    for array in outputs.values():
        if array.ndim == 0:
            raise FailedPrecondition("Batched output tensor has 0 dimensions")
        if len(array) != rows:
            raise FailedPrecondition(
                "Batched output tensor's 0th dimension does not equal the sum of the 0th "
                "dimension sizes of the input tensors"
            )


class BatchingServable:
    """A servable whose calls wait for each other's company."""

    def __init__(self, servable: Servable, batcher: Batcher, *, owns_batcher: bool = False) -> None:
        """Batch the calls of `servable`; with `owns_batcher`, nobody else's go there."""
        self._owns_batcher = owns_batcher
        self._servable = servable
        self._batcher = batcher
        self.signatures: Mapping[str, Signature] = servable.signatures

    def run(
        self, signature_name: str, inputs: Mapping[str, Array], timeout_seconds: float | None
    ) -> dict[str, Array]:
        """See `Servable.run`; the timeout covers the wait."""
        if any(isinstance(array, DeepArray) for array in inputs.values()):
            return self._servable.run(signature_name, inputs, timeout_seconds)
        rows = self._rows(inputs)
        size = self._batcher.parameters.execution_size
        tasks = [
            _Task(
                {n: a[i : i + size] for n, a in inputs.items()},
                min(size, rows - i),
                timeout_seconds,
            )
            for i in range(0, rows, size)
        ]
        for task in tasks:
            self._batcher.submit(self._servable, signature_name, task)
        parts = [_result(task) for task in tasks]
        if len(parts) == 1:
            return parts[0]
        return {name: np.concatenate([part[name] for part in parts]) for name in parts[0]}

    def metadata(self) -> dict[str, Any]:
        """See `Servable.metadata`."""
        return self._servable.metadata()

    def describe(self, signature_name: str) -> str:
        """See `Servable.describe`."""
        return self._servable.describe(signature_name)

    def close(self) -> None:
        """See `Servable.close`."""
        self._servable.close()
        if self._owns_batcher:
            self._batcher.close()

    def _rows(self, inputs: Mapping[str, Array]) -> int:
        parameters = self._batcher.parameters
        if any(array.ndim == 0 for array in inputs.values()):
            raise InvalidArgument("Batching Run() input tensors must have at least one dimension")
        counts = {len(array) for array in inputs.values()}
        if len(counts) > 1:
            raise InvalidArgument("Batching Run() input tensors must have equal 0th-dimension size")
        rows = counts.pop() if counts else 0
        if not rows:
            raise InvalidArgument("Batching Run() input tensors must have at least one row")
        if rows > parameters.max_batch_size and not parameters.enable_large_batch_splitting:
            raise InvalidArgument(
                f"Task size {rows} is larger than maximum input batch size "
                f"{parameters.max_batch_size}"
            )
        return rows


def _result(task: _Task) -> dict[str, Array]:
    try:
        return task.result.result(task.timeout_seconds)
    except TimeoutError:
        task.result.cancel()
        message = "Timed out waiting for notification"
        raise ServingError(message, Code.DEADLINE_EXCEEDED) from None
