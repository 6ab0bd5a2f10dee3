"""How long three exported models take from the command to being ready, and what the router then holds in memory."""

from __future__ import annotations

import statistics
from dataclasses import dataclass
from functools import partial
from typing import TYPE_CHECKING

from benchmarks.contenders import photo_body
from benchmarks.field import MODELS, TINY
from benchmarks.load import Client, drive
from benchmarks.ours import start_ours
from benchmarks.processes import resident_mb

if TYPE_CHECKING:
    from benchmarks.field import Field
    from benchmarks.ours import Ours
    from benchmarks.photos import Photo

NAMES = [*(model.name for model in MODELS), TINY]
CLIENTS = 16


@dataclass(frozen=True, slots=True)
class Figures:
    """Medians over the starts."""

    seconds: float
    router_mb: float
    """Resident set of the router's largest process after some requests, in MB."""


def measure(field: Field, photo: Photo, *, rounds: int, seconds: float) -> Figures:
    """Start, ask for a while, stop; again and again."""
    found = [_start(field, photo, seconds) for _ in range(rounds)]
    return Figures(
        seconds=statistics.median(one.seconds for one in found),
        router_mb=statistics.median(one.router_mb for one in found),
    )


def _start(field: Field, photo: Photo, seconds: float) -> Figures:
    models_file = field.models_file("start_up", field.tables())
    ours = start_ours(field, "start_up", models_file, NAMES)
    try:
        return Figures(ours.start_up_seconds, _router_mb(ours, photo, seconds))
    finally:
        ours.stop()


def _router_mb(ours: Ours, photo: Photo, seconds: float) -> float:
    client = partial(Client, ours.port, f"/{MODELS[0].name}/predict/", photo_body(photo))
    drive(client, clients=CLIENTS, seconds=seconds)
    return max(map(resident_mb, ours.pids("router")))
