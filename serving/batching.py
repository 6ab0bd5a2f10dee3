"""A servable whose calls wait for each other's company.

As TensorFlow Serving's batching session: https://www.tensorflow.org/tfx/serving/serving_config
(section "Batching Configuration"). Unlike it, a request without rows is refused instead of
waiting for ever.
"""

from __future__ import annotations

import time
from typing import TYPE_CHECKING, Any

import numpy as np

from serving.batcher import Task
from serving.deep_arrays import DeepArray
from serving.errors import Code, InvalidArgument, ServingError

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from serving.batcher import Batcher
    from serving.batching_parameters import BatchingParameters
    from serving.servable import Array, Servable, Signature


class BatchingServable:
    """A servable whose calls wait for each other's company."""

    def __init__(
        self, servable: Servable, batcher: Batcher, parameters: BatchingParameters | None = None
    ) -> None:
        """Batch the calls of `servable` by its own parameters, or else the batcher's."""
        self._servable = servable
        self._batcher = batcher
        self._parameters = parameters or batcher.parameters
        self.signatures: Mapping[str, Signature] = servable.signatures

    def run(
        self, signature_name: str, inputs: Mapping[str, Array], timeout_seconds: float | None
    ) -> dict[str, Array]:
        """See `Servable.run`; the timeout covers the wait."""
        if any(isinstance(array, DeepArray) for array in inputs.values()):
            return self._servable.run(signature_name, inputs, timeout_seconds)
        rows = self._rows(inputs)
        size = self._parameters.execution_size
        tasks = [
            Task(
                {n: a[i : i + size] for n, a in inputs.items()},
                min(size, rows - i),
                timeout_seconds,
            )
            for i in range(0, rows, size)
        ]
        self._batcher.submit(self._servable, signature_name, tasks, self._parameters)
        parts = _results(tasks, timeout_seconds)
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

    def _rows(self, inputs: Mapping[str, Array]) -> int:
        most = self._parameters.max_batch_size
        if any(array.ndim == 0 for array in inputs.values()):
            raise InvalidArgument("Batching Run() input tensors must have at least one dimension")
        counts = {len(array) for array in inputs.values()}
        if len(counts) > 1:
            raise InvalidArgument("Batching Run() input tensors must have equal 0th-dimension size")
        rows = counts.pop() if counts else 0
        if not rows:
            raise InvalidArgument("Batching Run() input tensors must have at least one row")
        if rows > most:
            raise InvalidArgument(
                f"Task size {rows} is larger than maximum input batch size {most}"
            )
        return rows


def _results(tasks: Sequence[Task], timeout_seconds: float | None) -> list[dict[str, Array]]:
    """Wait for all parts of a request; when one fails, those that have not begun are let go."""
    deadline = None if timeout_seconds is None else time.monotonic() + timeout_seconds
    try:
        return [task.result.result(_seconds_to(deadline)) for task in tasks]
    except TimeoutError:
        if tasks[0].result.cancel():  # not even its first part has begun
            message = "Run() timeout exceeded while waiting in batching queue"
            raise ServingError(message, Code.RESOURCE_EXHAUSTED) from None
        message = "Timed out waiting for notification"
        raise ServingError(message, Code.DEADLINE_EXCEEDED) from None
    finally:
        for task in tasks:
            task.result.cancel()  # of one that is done it changes nothing


def _seconds_to(deadline: float | None) -> float | None:
    return None if deadline is None else max(0.0, deadline - time.monotonic())
