"""Requests that wait together run together."""

from __future__ import annotations

import threading
import time
from concurrent.futures import ThreadPoolExecutor
from typing import TYPE_CHECKING

import numpy as np
import pytest

from serving.batcher import Batcher, Task
from serving.batching import BatchingServable
from serving.batching_parameters import BatchingParameters
from serving.errors import Code, InvalidArgument, ServingError, Unavailable
from serving.monitoring import Metrics
from serving.servable import Signature
from tests.processes import wait_until
from tests.serving.toy import Toy, spec, times

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from serving.servable import Array


class Alone(BatchingServable):
    """The only servable of its batcher."""

    def __init__(self, toy: Toy, batcher: Batcher) -> None:
        super().__init__(toy, batcher)
        self.only_batcher = batcher

    def close(self) -> None:
        """End the threads, too."""
        super().close()
        self.only_batcher.close()


def batched(toy: Toy, metrics: Metrics | None = None, **parameters: object) -> BatchingServable:
    """A toy behind a batcher of its own."""
    return Alone(toy, Batcher(BatchingParameters(**parameters), metrics))


def run(servable: BatchingServable, *rows: object, timeout: float | None = 10) -> list[object]:
    """Run the default signature on rows."""
    inputs = {"x": np.array(rows, np.float32)}
    return servable.run("serving_default", inputs, timeout)["y"].tolist()


def together(servable: BatchingServable, requests: list[list[float]]) -> list[object]:
    """What each of several requests at once gets: rows, or the error."""

    def one(rows: list[float]) -> object:
        try:
            return run(servable, *rows)
        except ServingError as error:
            return error.message

    with ThreadPoolExecutor(len(requests)) as pool:
        return list(pool.map(one, requests))


def test_requests_that_wait_are_joined() -> None:
    """Eight requests within the timeout are one call, and each gets its own rows."""
    metrics = Metrics()
    toy = times(2)
    servable = batched(toy, metrics, max_batch_size=8, batch_timeout_micros=2_000_000)
    assert together(servable, [[float(i)] for i in range(8)]) == [[2.0 * i] for i in range(8)]
    assert len(toy.calls) == 1
    told = metrics.text().decode()
    batching = ":tensorflow:serving:batching_session:"
    assert f"{batching}wrapped_run_count{{}} 1\n" in told
    assert f'{batching}queuing_latency_count{{thread_pool_name=""}} 8\n' in told
    assert f"{batching}input_batch_size_count{{}} 8\n" in told
    servable.close()


def test_batches_are_padded_to_an_allowed_size() -> None:
    """The graph sees an allowed size, the client only its own rows."""
    metrics = Metrics()
    toy = times(2)
    servable = batched(toy, metrics, max_batch_size=8, allowed_batch_sizes=(2, 4, 8))
    assert run(servable, 1, 2, 3) == [2, 4, 6]
    assert toy.calls[0]["x"].tolist() == [1, 2, 3, 1]
    told = metrics.text().decode()
    batching = ":tensorflow:serving:batching_session:"
    assert f"{batching}input_batch_size_sum{{}} 3.0\n" in told
    assert f"{batching}processed_batch_size_sum{{}} 4.0\n" in told
    assert f'{batching}padding_size_sum{{execution_batch_size="4"}} 1.0\n' in told
    servable.close()


def test_an_error_stays_with_its_request() -> None:
    """One request that the graph refuses does not spoil those it was batched with."""

    def positive(inputs: Mapping[str, Array]) -> dict[str, Array]:
        if (inputs["x"] < 0).any():
            raise InvalidArgument("x must be positive")
        return {"y": inputs["x"]}

    toy = Toy({"serving_default": (Signature({"x": spec()}, {"y": spec()}), positive)})
    servable = batched(toy, max_batch_size=4, batch_timeout_micros=2_000_000)
    answers = together(servable, [[1.0], [-1.0], [2.0], [3.0]])
    assert answers == [[1.0], "x must be positive", [2.0], [3.0]]
    servable.close()


def test_a_mistake_stays_with_its_request(caplog: pytest.LogCaptureFixture) -> None:
    """An error that nobody expects is told to its request alone, and the one thread goes on."""

    def alone_or_not(inputs: Mapping[str, Array]) -> dict[str, Array]:
        if len(inputs["x"]) > 1:
            raise InvalidArgument("not together")
        if inputs["x"][0] < 0:
            raise MemoryError
        return {"y": inputs["x"]}

    toy = Toy({"serving_default": (Signature({"x": spec()}, {"y": spec()}), alone_or_not)})
    servable = batched(toy, max_batch_size=2, batch_timeout_micros=500_000, num_batch_threads=1)
    could_not = "The batch could not be run."
    assert together(servable, [[-1.0], [2.0]]) == [could_not, [2.0]]
    assert "MemoryError" in caplog.text
    assert run(servable, 3) == [3]
    servable.close()


def test_rows_of_different_shapes_do_not_meet() -> None:
    """Without padding, shapes are batched apart; with it, the shorter rows are filled up."""
    toy = times(1)
    servable = batched(toy, max_batch_size=2, batch_timeout_micros=50_000)
    with ThreadPoolExecutor(2) as pool:
        short, long = pool.submit(run, servable, [1, 2]), pool.submit(run, servable, [1, 2, 3])
        assert [short.result(), long.result()] == [[[1, 2]], [[1, 2, 3]]]
    assert len(toy.calls) == 2
    servable.close()
    padded = batched(
        times(1), max_batch_size=2, batch_timeout_micros=2_000_000, pad_variable_length_inputs=True
    )
    with ThreadPoolExecutor(2) as pool:
        short, long = pool.submit(run, padded, [5, 2]), pool.submit(run, padded, [1, 2, 3])
        assert [short.result(), long.result()] == [[[5, 2, 5]], [[1, 2, 3]]]
    padded.close()


@pytest.mark.parametrize(
    ("inputs", "message"),
    [
        ({"x": np.array(1.0)}, "input tensors must have at least one dimension"),
        ({"x": np.zeros(3), "z": np.zeros(1)}, "equal 0th-dimension size"),
        ({"x": np.zeros(9)}, "Task size 9 is larger than maximum input batch size 8"),
        ({"x": np.zeros(0)}, "at least one row"),
    ],
)
def test_refusals(inputs: dict[str, Array], message: str) -> None:
    """What cannot be batched is refused, an empty batch too."""
    servable = batched(times(1), max_batch_size=8)
    with pytest.raises(InvalidArgument, match=message):
        servable.run("serving_default", inputs, 10)
    servable.close()


@pytest.mark.parametrize(
    ("result", "message"),
    [
        (np.array(1.0), "Batched output tensor has 0 dimensions"),
        (np.zeros(1), "does not equal the sum"),
    ],
)
def test_outputs_must_have_the_rows(result: Array, message: str) -> None:
    """Outputs that cannot be shared out are an error."""
    signature = Signature({"x": spec()}, {"y": spec()})
    servable = batched(Toy({"serving_default": (signature, lambda _: {"y": result})}))
    with pytest.raises(ServingError, match=message) as error:
        run(servable, 1, 2)
    assert error.value.code is Code.FAILED_PRECONDITION
    servable.close()


def test_large_requests_are_split_where_asked_for() -> None:
    """With splitting, a request larger than one execution is run in parts; max_batch_size stays the most that one may hold."""
    toy = times(2)
    servable = batched(
        toy, max_batch_size=100, enable_large_batch_splitting=True, max_execution_batch_size=4
    )
    assert run(servable, *range(10)) == [2.0 * i for i in range(10)]
    assert [len(call["x"]) for call in toy.calls] == [4, 4, 2]
    with pytest.raises(InvalidArgument, match="Task size 101 is larger than maximum input batch"):
        run(servable, *range(101))
    servable.close()


def test_a_full_queue_and_a_deadline() -> None:
    """Beyond the enqueued batches it is UNAVAILABLE; who waits too long for a turn gets RESOURCE_EXHAUSTED."""
    go = threading.Event()

    def slow(inputs: Mapping[str, Array]) -> dict[str, Array]:
        go.wait(10)
        return {"y": inputs["x"]}

    toy = Toy({"serving_default": (Signature({"x": spec()}, {"y": spec()}), slow)})
    servable = batched(toy, max_batch_size=1, max_enqueued_batches=1, num_batch_threads=1)
    with ThreadPoolExecutor(2) as pool:
        running = pool.submit(run, servable, 1)
        while not toy.calls:
            pass
        waiting = pool.submit(run, servable, 2, timeout=0.2)
        assert waiting.exception(10).code is Code.RESOURCE_EXHAUSTED
        full = "is full; currently 1 batches enqueued and max_enqueued_batches is 1"
        with pytest.raises(ServingError, match=full):
            run(servable, 3)
        go.set()
        assert running.result() == [1]
    servable.close()


def working(work: Callable[[float], object]) -> Toy:
    """A toy that does some work for the one row of each call."""

    def function(inputs: Mapping[str, Array]) -> dict[str, Array]:
        work(inputs["x"].item())
        return {"y": inputs["x"]}

    return Toy({"serving_default": (Signature({"x": spec()}, {"y": spec()}), function)})


BY_ROW = {
    "max_batch_size": 8,
    "enable_large_batch_splitting": True,
    "max_execution_batch_size": 1,
    "num_batch_threads": 1,
}


def rows_run(toy: Toy) -> list[float]:
    """The one row of each call."""
    return [call["x"].item() for call in toy.calls]


def test_the_parts_of_a_request_share_its_timeout() -> None:
    """The timeout covers all parts, and once it is over those that have not begun do not run."""
    toy = working(lambda _: time.sleep(0.3))
    servable = batched(toy, **BY_ROW)
    with pytest.raises(ServingError) as error:
        run(servable, 1, 2, 3, 4, timeout=0.45)
    assert error.value.code is Code.DEADLINE_EXCEEDED
    assert run(servable, 9) == [9]
    assert 4 not in rows_run(toy)
    servable.close()


def test_a_part_that_fails_ends_its_request() -> None:
    """Nobody needs the other parts then, and those that have not begun do not run."""
    is_told = threading.Event()

    def work(row: float) -> None:
        if row == 2:
            raise InvalidArgument("two")
        if row == 3:
            is_told.wait(10)

    toy = working(work)
    servable = batched(toy, **BY_ROW)
    with pytest.raises(InvalidArgument, match="two"):
        run(servable, 1, 2, 3, 4)
    is_told.set()
    assert run(servable, 9) == [9]
    assert 4 not in rows_run(toy)
    servable.close()


def test_a_request_is_queued_whole_or_not_at_all() -> None:
    """Where there is no room for all parts of a request, none of them runs."""
    go = threading.Event()
    toy = working(lambda _: go.wait(10))
    parameters = BatchingParameters(max_enqueued_batches=2, **BY_ROW)
    batcher = Batcher(parameters)

    def submit(*rows: float) -> list[Task]:
        tasks = [Task({"x": np.array([row], np.float32)}, 1, 10) for row in rows]
        batcher.submit(toy, "serving_default", tasks, parameters)
        return tasks

    full = "is full; task size is 3 but scheduling capacity is only 2 .num_enqueued_batches=0"
    with pytest.raises(Unavailable, match=full):
        submit(1, 2, 3)
    taken = submit(4)
    wait_until(lambda: bool(toy.calls), seconds=10, what="it runs")
    taken += submit(5)
    with pytest.raises(Unavailable):
        submit(6, 7)
    go.set()
    assert [task.result.result(10)["y"].item() for task in taken] == [4, 5]
    assert rows_run(toy) == [4, 5]
    batcher.close()


def test_a_servable_may_have_parameters_of_its_own() -> None:
    """The threads are shared, and how to batch is each servable's own affair."""
    batcher = Batcher(BatchingParameters(max_batch_size=8, num_batch_threads=1))
    toys = times(2), times(3)
    own = BatchingParameters(max_batch_size=2, allowed_batch_sizes=(2,), num_batch_threads=5)
    first, second = BatchingServable(toys[0], batcher), BatchingServable(toys[1], batcher, own)
    assert (run(first, 1), run(second, 1)) == ([2], [3])
    assert [toy.calls[0]["x"].tolist() for toy in toys] == [[1], [1, 1]]
    assert run(first, 1, 2, 3) == [2, 4, 6]
    with pytest.raises(InvalidArgument, match="maximum input batch size 2"):
        run(second, 1, 2, 3)
    batcher.close()


def test_parameters_are_checked() -> None:
    """Allowed sizes grow, and end with the largest batch."""
    with pytest.raises(InvalidArgument, match="monotonically"):
        BatchingParameters(max_batch_size=4, allowed_batch_sizes=(4, 2))
    with pytest.raises(InvalidArgument, match="must match max_batch_size"):
        BatchingParameters(max_batch_size=8, allowed_batch_sizes=(2, 4))
    for largest in (1, 8):  # with splitting, the real server's versions differ
        BatchingParameters(allowed_batch_sizes=(largest,), **BY_ROW)


@pytest.mark.parametrize(
    ("parameters", "message"),
    [
        ({"num_batch_threads": 0}, "num_batch_threads must be positive; was 0"),
        (
            {"max_batch_size": 0},
            r"input_batch_size_limit \(max_batch_size\) must be positive; was 0",
        ),
        ({"max_batch_size": -1}, "must be positive; was -1"),
        ({"batch_timeout_micros": -1}, "batch_timeout_micros must be non-negative; was -1"),
        ({"max_enqueued_batches": -1}, "max_enqueued_batches must be positive; was -1"),
        ({**BY_ROW, "max_enqueued_batches": 0}, "max_enqueued_batches must be positive; was 0"),
        ({**BY_ROW, "max_execution_batch_size": -1}, "max_execution_batch_size must be positive"),
        ({**BY_ROW, "max_execution_batch_size": 9}, "greater than or equal to max_execution_batch"),
    ],
)
def test_limits_that_serve_nobody_are_refused(parameters: dict[str, int], message: str) -> None:
    """What would refuse every request, or let it wait for ever, is told at the start."""
    with pytest.raises(InvalidArgument, match=message):
        BatchingParameters(**parameters)


def test_a_queue_of_no_batches_holds_one() -> None:
    """Without splitting, 0 enqueued batches are taken for 1, as the real server has it."""
    servable = batched(times(2), max_enqueued_batches=0)
    assert run(servable, 1) == [2]
    servable.close()
