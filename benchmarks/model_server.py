"""The model server alone: what an answer costs beyond parsing the request and running the model."""

from __future__ import annotations

import base64
import json
import statistics
import subprocess
from contextlib import contextmanager
from dataclasses import dataclass, fields
from functools import partial
from typing import TYPE_CHECKING

import numpy as np

from benchmarks.field import MODELS, TINY, TINY_SIDE
from benchmarks.load import Client, drive
from benchmarks.processes import Program, costs, free_port
from supervisor.server_config import entry, model_config_list

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from benchmarks.field import Field

MODEL = MODELS[0]
SEED = 5
TINY_CLIENTS = 4
FLAGS = ("--tensorflow_intra_op_parallelism=1",)


@dataclass(frozen=True, slots=True)
class Figures:
    """Processor milliseconds a request (medians over the rounds), and the tiny model's requests a second."""

    parse_ms: float
    floats_run_ms: float
    pixels_run_ms: float
    floats_answer_ms: float
    """Of the whole model server, for one image as JSON floats."""
    pixels_answer_ms: float
    """The same, for one image as `pixels`."""
    tiny_throughput: float

    @property
    def floats_ratio(self) -> float:
        """The answer over the bare parse plus the run."""
        return self.floats_answer_ms / (self.parse_ms + self.floats_run_ms)

    @property
    def pixels_extra_ms(self) -> float:
        """The answer less the run."""
        return self.pixels_answer_ms - self.pixels_run_ms


@dataclass(frozen=True, slots=True)
class Served:
    """A running model server with one large model and the tiny one."""

    program: Program
    port: int

    def answer_ms(self, body: bytes, seconds: float) -> float:
        """Its processor time for one request to the large model."""
        client = self._client(MODEL.name, body)
        drive(client, clients=1, seconds=0.5)
        before = self._cpu_seconds()
        load = drive(client, clients=1, seconds=seconds)
        return 1000 * (self._cpu_seconds() - before) / len(load.latencies_ms)

    def tiny_throughput(self, seconds: float) -> float:
        """Requests a second to the tiny model."""
        body = json.dumps({"instances": np.zeros((1, TINY_SIDE, TINY_SIDE, 3)).tolist()}).encode()
        client = self._client(TINY, body)
        return drive(client, clients=TINY_CLIENTS, seconds=seconds).throughput

    def _client(self, model: str, body: bytes) -> partial[Client]:
        return partial(Client, self.port, f"/v1/models/{model}:predict", body)

    def _cpu_seconds(self) -> float:
        return sum(cost.cpu_seconds for cost in costs([self.program.pid]).values())


def measure(field: Field, *, rounds: int, seconds: float) -> Figures:
    """Measure server and bare work in turns."""
    image = _image()
    floats, pixels = _floats_body(image), _pixels_body(image)
    with _served(field) as served:
        found = [
            Figures(
                **_bare(field, image, floats),
                floats_answer_ms=served.answer_ms(floats, seconds),
                pixels_answer_ms=served.answer_ms(pixels, seconds),
                tiny_throughput=served.tiny_throughput(seconds),
            )
            for _ in range(rounds)
        ]
    names = [item.name for item in fields(Figures)]
    return Figures(**{n: statistics.median(getattr(one, n) for one in found) for n in names})


def _bare(field: Field, image: np.ndarray, floats: bytes) -> dict[str, float]:
    floats_file, pixels_file = field.cache / "floats.json", field.cache / "pixels.bin"
    floats_file.write_bytes(floats)
    pixels_file.write_bytes(image.tobytes())
    folder = field.base_path(MODEL.name) / "1"
    arguments = ("-m", "benchmarks.programs.bare", folder, floats_file, pixels_file)
    program = Program(arguments, field.logs / "bare.log", stdout=subprocess.PIPE)
    printed, _ = program.process.communicate()
    return json.loads(printed)


@contextmanager
def _served(field: Field) -> Iterator[Served]:
    config = _config_file(field)
    port = free_port()
    flags = (f"--rest_api_port={port}", "--port=0", f"--model_config_file={config}", *FLAGS)
    program = Program(("-m", "serving", *flags), field.logs / "model_server.log")
    try:
        for name in (MODEL.name, TINY):
            program.wait_for(f"http://127.0.0.1:{port}/v1/models/{name}/metadata")
        yield Served(program, port)
    finally:
        program.stop()


def _config_file(field: Field) -> Path:
    entries = [entry(name, str(field.base_path(name))) for name in (MODEL.name, TINY)]
    path = field.cache / "model_server.config"
    path.write_text(model_config_list(entries), encoding="utf-8")
    return path


def _image() -> np.ndarray:
    random = np.random.default_rng(SEED)
    return random.integers(0, 256, (MODEL.side, MODEL.side, 3), dtype=np.uint8)


def _floats_body(image: np.ndarray) -> bytes:
    scaled = image.astype(np.float32) / np.float32(127.5) - np.float32(1)
    return json.dumps({"instances": [scaled.tolist()]}).encode()


def _pixels_body(image: np.ndarray) -> bytes:
    b64 = base64.b64encode(image.tobytes()).decode()
    return json.dumps({"signature_name": "pixels", "instances": [{"b64": b64}]}).encode()
