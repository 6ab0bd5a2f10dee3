"""Many requests at once: whether one fails, and whether memory grows."""

from __future__ import annotations

from dataclasses import dataclass
from functools import partial
from typing import TYPE_CHECKING

from benchmarks.contenders import photo_body
from benchmarks.field import MODELS
from benchmarks.load import Client, drive
from benchmarks.ours import start_ours
from benchmarks.processes import resident_mb

if TYPE_CHECKING:
    from pathlib import Path

    from benchmarks.field import Field
    from benchmarks.ours import Ours
    from benchmarks.photos import Photo

MODEL = MODELS[0]
CLIENTS = 16
PORTIONS = 10
ROLES = ("router", "model server")


@dataclass(frozen=True, slots=True)
class Figures:
    """What was seen."""

    requests: int
    failures: int
    first_mb: dict[str, float]
    """Role -> resident set of its processes after the first tenth of the requests, in MB."""
    last_mb: dict[str, float]
    """The same after the last."""

    @property
    def growth(self) -> float:
        """By how much all of it together grew, as a share."""
        return sum(self.last_mb.values()) / sum(self.first_mb.values()) - 1


def measure(field: Field, photo: Photo, *, requests: int) -> Figures:
    """Send the requests in ten portions, one straight after the other."""
    ours = start_ours(field, "endurance", _models_file(field), [MODEL.name])
    try:
        return _figures(ours, photo, requests // PORTIONS)
    finally:
        ours.stop()


def _figures(ours: Ours, photo: Photo, portion: int) -> Figures:
    client = partial(Client, ours.port, f"/{MODEL.name}/predict/", photo_body(photo))
    memory: list[dict[str, float]] = []
    answered = failures = 0
    for _ in range(PORTIONS):
        load = drive(client, clients=CLIENTS, seconds=0, least=portion)
        answered += len(load.latencies_ms)
        failures += load.failures
        memory.append({role: sum(map(resident_mb, ours.pids(role))) for role in ROLES})
    return Figures(answered + failures, failures, memory[0], memory[-1])


def _models_file(field: Field) -> Path:
    return field.models_file("endurance", field.tables()[:1])
