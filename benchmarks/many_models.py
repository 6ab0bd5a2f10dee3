"""Whether a request takes longer when there are a hundred models instead of three."""

from __future__ import annotations

import statistics
from contextlib import ExitStack
from dataclasses import dataclass
from functools import partial
from typing import TYPE_CHECKING

from benchmarks.contenders import photo_body
from benchmarks.load import Client, drive
from benchmarks.ours import start_ours
from benchmarks.processes import free_port

if TYPE_CHECKING:
    from benchmarks.field import Field
    from benchmarks.ours import Ours
    from benchmarks.photos import Photo

FEW, MANY = 3, 100
SERVERS = 3


@dataclass(frozen=True, slots=True)
class Figures:
    """Latency at one client: medians over the rounds of each round's p50."""

    few_p50_ms: float
    many_p50_ms: float
    ratio: float
    """Many over few, the median over the rounds."""


def measure(field: Field, photo: Photo, *, rounds: int, seconds: float) -> Figures:
    """Ask two deployments in turn, which run side by side."""
    with ExitStack() as stack:
        few, many = (_deployed(field, count, stack) for count in (FEW, MANY))
        _p50(few, FEW, photo, seconds)
        _p50(many, MANY, photo, seconds)
        pairs = [
            (_p50(few, FEW, photo, seconds), _p50(many, MANY, photo, seconds))
            for _ in range(rounds)
        ]
    return Figures(
        few_p50_ms=statistics.median(pair[0] for pair in pairs),
        many_p50_ms=statistics.median(pair[1] for pair in pairs),
        ratio=statistics.median(many_ms / few_ms for few_ms, many_ms in pairs),
    )


def _deployed(field: Field, count: int, stack: ExitStack) -> Ours:
    """The tiny model under `count` names on a few model servers."""
    urls = [f"http://127.0.0.1:{free_port()}" for _ in range(SERVERS)]
    tables = [field.tiny_table(f"model_{i}", urls[i % SERVERS]) for i in range(count)]
    models_file = field.models_file(f"models_{count}", tables)
    ours = start_ours(field, f"models_{count}", models_file, [f"model_{i}" for i in range(count)])
    stack.callback(ours.stop)
    return ours


def _p50(ours: Ours, count: int, photo: Photo, seconds: float) -> float:
    """Ask for the model in the middle of the file."""
    route = f"/model_{count // 2}/predict/"
    client = partial(Client, ours.port, route, photo_body(photo))
    return drive(client, clients=1, seconds=seconds).percentile_ms(50)
