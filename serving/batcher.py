"""The queue and the threads behind batching: what waits together is run together.

Requests whose rows differ in shape go into different batches instead of failing each other, and a
batch that fails is run again request by request. Source of the rules and messages: TensorFlow
Serving's batching session.
"""

from __future__ import annotations

import logging
import threading
import time
from collections import deque
from concurrent.futures import Future
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Protocol

import numpy as np

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

    from serving.batching_parameters import BatchingParameters
    from serving.servable import Array, Servable

    Key = tuple[Any, ...]

logger = logging.getLogger(__name__)


class BatchMetrics(Protocol):
    """Who wants to know of batches."""

    def request_came(self, rows: int) -> None:
        """A request of so many rows is to be batched."""

    def batch_ran(self, waited_seconds: Sequence[float], rows: int, padded_rows: int) -> None:
        """A batch of as many requests as there are waits was run, of so many rows and with padding."""


@dataclass
class Task:
    """A request that waits: its rows, and where the answer goes."""

    inputs: Mapping[str, Array]
    rows: int
    timeout_seconds: float | None
    result: Future[dict[str, Array]] = field(default_factory=Future)
    arrived: float = field(default_factory=time.monotonic)


@dataclass
class _Batch:
    servable: Servable
    signature_name: str
    parameters: BatchingParameters
    tasks: list[Task] = field(default_factory=list)
    rows: int = 0

    def add(self, task: Task) -> None:
        self.tasks.append(task)
        self.rows += task.rows


class Batcher:
    """The threads that run batches; one for all models."""

    def __init__(self, parameters: BatchingParameters, metrics: BatchMetrics | None = None) -> None:
        """Start the threads.

        Args:
            parameters: how many threads; and how to batch, where a servable has no parameters of its own.
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

    def submit(
        self,
        servable: Servable,
        signature_name: str,
        tasks: Sequence[Task],
        parameters: BatchingParameters,
    ) -> None:
        """Queue a request, all its parts or none; each but the last fills a batch.

        Raises:
            Unavailable: too many batches wait already.
        """
        rows = sum(task.rows for task in tasks)
        if self._metrics is not None:
            self._metrics.request_came(rows)
        key = (id(servable), signature_name, *_shape_key(tasks[0].inputs, parameters))
        with self._arrived:
            queue = self._queues.get(key, deque())
            new_batches = len(tasks) - _fits(queue, tasks[0])
            if len(queue) + new_batches > parameters.queue_length:
                raise _full(queue, rows, parameters)
            self._queues[key] = queue
            for task in tasks:
                if not _fits(queue, task):
                    queue.append(_Batch(servable, signature_name, parameters))
                queue[-1].add(task)
            self._arrived.notify(len(tasks))

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
        return min(map(_due_in, self._queues.values()))

    def _take(self) -> _Batch:
        key = min(self._queues, key=lambda k: _due_in(self._queues[k]))
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
            rows = sum(task.rows for task in waiting)
            waits = [now - task.arrived for task in waiting]
            self._metrics.batch_ran(waits, rows, batch.parameters.padded_size(rows))
        error = self._failure_of(batch, waiting)
        if error is not None:
            self._run_apart(batch, waiting, error)

    def _failure_of(self, batch: _Batch, tasks: Sequence[Task]) -> ServingError | None:
        """Run tasks in one call; whatever goes wrong, this thread must go on and nobody wait for ever."""
        try:
            self._run_together(batch, tasks)
        except ServingError as error:
            return error
        except Exception:
            logger.exception("a batch of %s", batch.signature_name)
            return Internal("The batch could not be run.")
        return None

    def _run_together(self, batch: _Batch, tasks: Sequence[Task]) -> None:
        rows = sum(task.rows for task in tasks)
        padded = batch.parameters.padded_size(rows)
        inputs = _joined([task.inputs for task in tasks], padded)
        timeouts = [task.timeout_seconds for task in tasks]
        timeout = None if None in timeouts else max(t for t in timeouts if t is not None)
        outputs = batch.servable.run(batch.signature_name, inputs, timeout)
        _check_outputs(outputs, padded)
        start = 0
        for task in tasks:
            end = start + task.rows
            task.result.set_result({name: array[start:end] for name, array in outputs.items()})
            start = end

    def _run_apart(self, batch: _Batch, tasks: Sequence[Task], error: ServingError) -> None:
        if len(tasks) == 1 or error.code is Code.DEADLINE_EXCEEDED:
            for task in tasks:
                task.result.set_exception(error)
            return
        for task in tasks:
            own = self._failure_of(batch, [task])
            if own is not None:
                task.result.set_exception(own)


def _shape_key(inputs: Mapping[str, Array], parameters: BatchingParameters) -> Key:
    if parameters.pad_variable_length_inputs:
        return tuple((name, array.ndim) for name, array in inputs.items())
    return tuple((name, array.shape[1:]) for name, array in inputs.items())


def _fits(queue: deque[_Batch], task: Task) -> bool:
    return bool(queue) and queue[-1].rows + task.rows <= queue[-1].parameters.execution_size


def _full(queue: deque[_Batch], rows: int, parameters: BatchingParameters) -> Unavailable:
    message = "The batch scheduling queue to which this task was submitted is full; "
    size, most = parameters.execution_size, parameters.queue_length
    if not parameters.enable_large_batch_splitting:
        return Unavailable(
            f"{message}currently {len(queue)} batches enqueued and max_enqueued_batches is {most}"
        )
    begun = queue[-1].rows if queue else 0
    room = (most - len(queue)) * size + (size - begun if queue else 0)
    return Unavailable(
        f"{message}task size is {rows} but scheduling capacity is only {room} "
        f"(num_enqueued_batches={len(queue)}, max_enqueued_batches={most}, "
        f"open_batch_size={begun}, max_execution_batch_size={size})"
    )


def _due_in(queue: deque[_Batch]) -> float:
    first = queue[0]
    due = first.tasks[0].arrived + first.parameters.batch_timeout_micros / 1e6
    is_full = len(queue) > 1 or first.rows >= first.parameters.execution_size
    return min(0.0, due - time.monotonic()) if is_full else due - time.monotonic()


def _joined(requests: Sequence[Mapping[str, Array]], rows: int) -> dict[str, Array]:
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
