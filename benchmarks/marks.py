"""The aims that a run can tell about: which are reached, with the figures."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Sequence

    from benchmarks import endurance, many_models, model_server, start_up
    from benchmarks.measurement import Overhead, Ratio, Row, Setting

LEAST_OF_LIMIT = {"inception_v3": 0.92, "mobilenet_v2": 0.80}
LEAST_OF_SEED = {"inception_v3": 3.0, "mobilenet_v2": 8.0}
LEAST_OF_FASTAPI = {"inception_v3": 1.0, "mobilenet_v2": 1.1}
MOST_BEYOND_MS = 2.5


@dataclass(frozen=True, slots=True)
class Mark:
    """One aim and what was measured for it."""

    number: int
    what: str
    measured: float
    bound: float
    at_least: bool

    @property
    def reached(self) -> bool:
        """Whether the figure is on the right side of the bound."""
        return self.measured >= self.bound if self.at_least else self.measured <= self.bound


def of_side_by_side(rows: Sequence[Row], ratios: Sequence[Ratio]) -> Iterator[Mark]:
    """Marks 1 to 4, as far as their settings were measured."""
    for ratio in ratios:
        yield from _of_ratio(ratio)
    by_key = {(row.setting, row.contender): row for row in rows}
    for (setting, contender), row in by_key.items():
        limit = by_key.get((setting, "LIMIT"))
        if contender == "OURS" and limit:
            yield from _of_costs(setting, row, limit)


def _of_ratio(ratio: Ratio) -> Iterator[Mark]:
    setting = ratio.setting
    what = f"throughput {ratio.over}/{ratio.under}, {_words(setting)}"
    match ratio.under, setting.megapixels, setting.clients:
        case "LIMIT", 1.2, 4:
            yield Mark(1, what, ratio.value, LEAST_OF_LIMIT[setting.model], at_least=True)
        case "SEED", 4.3, _:
            yield Mark(2, what, ratio.value, LEAST_OF_SEED[setting.model], at_least=True)
        case "FASTAPI", _, 4 | 16:
            yield Mark(2, what, ratio.value, LEAST_OF_FASTAPI[setting.model], at_least=True)


def _of_costs(setting: Setting, ours: Row, limit: Row) -> Iterator[Mark]:
    if setting.clients == 4:
        cost = ours.cpu_ms["router"] + ours.cpu_ms["model server"] - limit.cpu_total_ms
        what = f"processor time beyond LIMIT (ms), {_words(setting)}"
        yield Mark(3, what, cost, MOST_BEYOND_MS, at_least=False)
    if setting.clients == 1:
        what = f"p50 beyond LIMIT (ms), {_words(setting)}"
        yield Mark(4, what, ours.p50_ms - limit.p50_ms, 4.0, at_least=False)


def of_overhead(figures: Iterable[Overhead]) -> Iterator[Mark]:
    """Mark 3 again, where no model's run that takes longer or shorter beside others is in the way."""
    for one in figures:
        what = f"processor time beyond decoding and resizing (ms), {_words(one.setting)}"
        yield Mark(3, what, one.beyond_ms, MOST_BEYOND_MS, at_least=False)


def of_model_server(figures: model_server.Figures) -> Iterator[Mark]:
    """Mark 5."""
    floats = "model server, JSON floats: processor time over bare parse and run"
    yield Mark(5, floats, figures.floats_ratio, 1.5, at_least=False)
    pixels = "model server, pixels: processor time beyond the run (ms)"
    yield Mark(5, pixels, figures.pixels_extra_ms, 1.0, at_least=False)
    tiny = "model server, tiny model at 4 clients: requests a second"
    yield Mark(5, tiny, figures.tiny_throughput, 1500, at_least=True)


def of_many_models(figures: many_models.Figures) -> Iterator[Mark]:
    """Mark 6."""
    yield Mark(6, "p50 with 100 models over that with 3", figures.ratio, 1.05, at_least=False)


def of_start_up(figures: start_up.Figures) -> Iterator[Mark]:
    """Mark 7."""
    yield Mark(7, "router's resident set (MB a worker)", figures.router_mb, 80, at_least=False)
    yield Mark(7, "start to ready, three models (s)", figures.seconds, 12, at_least=False)


def of_endurance(figures: endurance.Figures) -> Iterator[Mark]:
    """Mark 8."""
    yield Mark(8, f"failures in {figures.requests} requests", figures.failures, 0, at_least=False)
    yield Mark(8, "growth in memory (share)", figures.growth, 0.05, at_least=False)


def _words(setting: Setting) -> str:
    clients = "1 client" if setting.clients == 1 else f"{setting.clients} clients"
    return f"{setting.model}, {setting.megapixels} MP, {clients}"
