"""Those that are measured side by side: all run at once, and all but one idle."""

from __future__ import annotations

import base64
import json
import os
from dataclasses import dataclass
from functools import partial
from typing import TYPE_CHECKING, Protocol

from benchmarks.load import Client, Load, drive

if TYPE_CHECKING:
    from collections.abc import Mapping

    from benchmarks.field import BenchmarkModel
    from benchmarks.photos import Photo
    from benchmarks.processes import Program

CORES = os.cpu_count() or 1
SPARE = 2
"""LIMIT and FASTAPI decode photos at least so many times larger than needed, as Pillow's own `thumbnail` does."""


@dataclass(frozen=True, slots=True)
class Demand:
    """What a contender is asked for."""

    model: BenchmarkModel
    photo: Photo
    clients: int
    seconds: float
    least: int


class Contender(Protocol):
    """One way to get from photos to labels, running."""

    @property
    def name(self) -> str:
        """What it is called in tables."""

    @property
    def pids(self) -> list[int]:
        """Whose trees do the work."""

    def measure(self, demand: Demand) -> Load:
        """Send photos for a while."""


@dataclass(frozen=True)
class Service:
    """A contender that is asked over HTTP."""

    name: str
    port: int
    pids: list[int]

    def measure(self, demand: Demand) -> Load:
        """Send photos as `{"b64": …}` to the model's route."""
        route = f"/{demand.model.name}/predict/"
        client = partial(Client, self.port, route, photo_body(demand.photo))
        return drive(client, clients=demand.clients, seconds=demand.seconds, least=demand.least)


def photo_body(photo: Photo) -> bytes:
    """What a client of the router sends."""
    return b'{"b64": "' + base64.b64encode(photo.jpeg) + b'"}'


@dataclass(frozen=True)
class InProcess:
    """Programs that do a part of the work without HTTP (`programs/tasks.py`)."""

    name: str
    programs: Mapping[str, Program]
    """One for each model, for TensorFlow's threads are a process's; one may stand for several."""

    @property
    def pids(self) -> list[int]:
        """A process for each program."""
        return list({program.pid for program in self.programs.values()})

    def measure(self, demand: Demand) -> Load:
        """Let as many threads answer as there are clients, but no more than cores."""
        task = {
            "side": demand.model.side,
            "spare": SPARE,
            "photo": str(demand.photo.path),
            "threads": min(demand.clients, CORES),
            "seconds": demand.seconds,
            "least": demand.least,
        }
        program = self.programs[demand.model.name]
        program.tell(json.dumps(task))
        answer = json.loads(program.hear())
        return Load(tuple(answer["latencies_ms"]), answer["seconds"])
