"""How requests are joined into batches."""

from __future__ import annotations

from dataclasses import dataclass

from serving.cpus import schedulable_cpus
from serving.errors import InvalidArgument


@dataclass(frozen=True)
class BatchingParameters:
    """How to batch; the names are those of the real server's parameters file."""

    max_batch_size: int = 1000
    batch_timeout_micros: int = 0
    max_enqueued_batches: int = 10
    num_batch_threads: int = schedulable_cpus()
    allowed_batch_sizes: tuple[int, ...] = ()
    pad_variable_length_inputs: bool = False
    enable_large_batch_splitting: bool = False
    max_execution_batch_size: int = 0
    thread_pool_name: str = "model_server_batch_threads"

    def __post_init__(self) -> None:
        self._check_limits()
        self._check_allowed_batch_sizes()

    def _check_limits(self) -> None:
        _check_positive("num_batch_threads", self.num_batch_threads)
        _check_positive("input_batch_size_limit (max_batch_size)", self.max_batch_size)
        if self.batch_timeout_micros < 0:
            raise InvalidArgument(
                f"batch_timeout_micros must be non-negative; was {self.batch_timeout_micros}"
            )
        if self.max_enqueued_batches or self.enable_large_batch_splitting:
            _check_positive("max_enqueued_batches", self.max_enqueued_batches)
        _check_positive("max_execution_batch_size", self.execution_size)
        if self.execution_size > self.max_batch_size:
            raise InvalidArgument(
                "When enable_large_batch_splitting is true, input_batch_size_limit "
                "(max_batch_size) must be greater than or equal to max_execution_batch_size."
            )

    def _check_allowed_batch_sizes(self) -> None:
        sizes = self.allowed_batch_sizes
        if list(sizes) != sorted(set(sizes)):
            raise InvalidArgument("allowed_batch_sizes entries must be monotonically increasing")
        # Which of both it has to be where large batches are split depends on the real server's version.
        if sizes and sizes[-1] not in (self.execution_size, self.max_batch_size):
            raise InvalidArgument(
                "Last entry in allowed_batch_sizes must match max_batch_size; "
                f"last entry was {sizes[-1]}; expected {self.execution_size}"
            )

    @property
    def execution_size(self) -> int:
        """The most rows that are run at once."""
        if self.enable_large_batch_splitting and self.max_execution_batch_size:
            return self.max_execution_batch_size
        return self.max_batch_size

    @property
    def queue_length(self) -> int:
        """The most batches that wait; as the real server has it, 0 is 1."""
        return self.max_enqueued_batches or 1

    def padded_size(self, rows: int) -> int:
        """The smallest allowed size that holds `rows`."""
        return next((size for size in self.allowed_batch_sizes if size >= rows), rows)


def _check_positive(name: str, value: int) -> None:
    if value < 1:
        raise InvalidArgument(f"{name} must be positive; was {value}")
