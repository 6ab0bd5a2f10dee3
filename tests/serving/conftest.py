"""Small SavedModels, and the running server that serves them, for the tests that need TensorFlow."""

from __future__ import annotations

from contextlib import contextmanager
from typing import TYPE_CHECKING

import pytest

from tests.processes import free_port, running

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

    from tests.processes import Program

    SaveVersion = Callable[[Path, int], Path]


@pytest.fixture(scope="session")
def save_version() -> SaveVersion:
    """Write version N of a model that multiplies by N, beside first and then renamed."""
    import tensorflow as tf  # noqa: PLC0415  # fast tests share this file

    def save(base_path: Path, number: int) -> Path:
        module = tf.Module()
        module.factor = tf.Variable(float(number))
        scores = tf.function(
            lambda x: {"y": x * module.factor},
            input_signature=[tf.TensorSpec([None, 3], tf.float32, "x")],
        )
        beside = base_path / f"tmp.{number}"
        tf.saved_model.save(module, str(beside), {"serving_default": scores})
        return beside.rename(base_path / str(number))

    return save


class ModelServer:
    """A running `python -m serving`."""

    def __init__(self, program: Program, rest_port: int, grpc_port: int) -> None:
        self.program = program
        self.rest_port = rest_port
        self.grpc_port = grpc_port
        self.url = f"http://127.0.0.1:{rest_port}/v1/models"


@contextmanager
def serving(log: Path, *flags: str, ready: str | None = None) -> Iterator[ModelServer]:
    """Run the model server; with `ready`, wait until that model has a status."""
    ports = free_port(), free_port()
    flags = (
        *("-m", "serving", "--rest_api_host=127.0.0.1"),
        *(f"--rest_api_port={ports[0]}", f"--port={ports[1]}", *flags),
    )
    with running(*flags, log=log) as program:
        server = ModelServer(program, *ports)
        if ready is not None:
            program.wait_for(f"{server.url}/{ready}", seconds=120)
        yield server
