"""Do what the command line asks: measure, print, write."""

from __future__ import annotations

import sys
from typing import TYPE_CHECKING, Any

from benchmarks import (
    endurance,
    many_models,
    marks,
    model_server,
    overhead,
    report,
    side_by_side,
    start_up,
)
from benchmarks.cast import on_stage
from benchmarks.field import MODELS, Field
from benchmarks.measurement import ratios, rows
from benchmarks.photos import make_photos
from benchmarks.processes import costs

if TYPE_CHECKING:
    from collections.abc import Callable

    from benchmarks.command_line import Options

    Document = dict[str, Any]

LIGHT_PHOTO = 0.3
"""Megapixels of the photo for what is not about photos."""


class Run:
    """One run of the benchmark; `document` is what it writes down."""

    def __init__(self, options: Options) -> None:
        self.options = options
        self.field = Field(options.cache, options.cache / "logs", ours_env={})
        self.marks: list[marks.Mark] = []
        self.document: Document = {"machine": report.machine(), "options": options_json(options)}
        self.photos = {
            photo.megapixels: photo
            for photo in make_photos(options.cache / "photos", {*options.megapixels, LIGHT_PHOTO})
        }

    def measure(self) -> None:
        """Measure part after part; what is done is written at once."""
        parts: dict[str, Callable[[], None]] = {
            "side-by-side": self._side_by_side,
            "overhead": self._overhead,
            "model-server": self._model_server,
            "many-models": self._many_models,
            "start-up": self._start_up,
            "endurance": self._endurance,
        }
        self.field.export()
        for name in self.options.parts:
            print(f"-- {name}", file=sys.stderr)
            parts[name]()
            self.document["marks"] = report.marks_json(self.marks)
            report.write_json(self.options.results, self.document)

    def _side_by_side(self) -> None:
        options = self.options
        matrix = side_by_side.Matrix(
            models=[model for model in MODELS if model.name in options.models],
            photos=[self.photos[size] for size in options.megapixels],
            clients=options.clients,
            rounds=options.rounds,
            seconds=options.seconds,
        )
        with on_stage(self.field, options.contenders) as cast:
            samples = side_by_side.measure(matrix, cast.contenders)
            memory = {one.name: costs(one.pids) for one in cast.contenders}
        medians, relations = rows(samples), ratios(samples)
        self.marks += marks.of_side_by_side(medians, relations)
        self.document |= {
            "rows": medians,
            "ratios": relations,
            "start_up_seconds": cast.start_up_seconds,
            "costs": memory,
        }
        print(report.rows_table(medians), report.ratios_table(relations), sep="\n\n")
        print(report.costs_table(memory, cast.start_up_seconds), end="\n\n")
        if options.plot:
            from benchmarks.plot import draw  # noqa: PLC0415 - matplotlib is slow to import

            draw(medians, options.plot)

    def _overhead(self) -> None:
        options = self.options
        photos = [self.photos[size] for size in options.megapixels]
        figures = overhead.measure(
            self.field, photos, rounds=options.rounds, seconds=options.seconds
        )
        self.marks += marks.of_overhead(figures)
        self.document["overhead"] = figures

    def _model_server(self) -> None:
        options = self.options
        figures = model_server.measure(self.field, rounds=options.rounds, seconds=options.seconds)
        self.marks += marks.of_model_server(figures)
        self.document["model_server"] = figures

    def _many_models(self) -> None:
        options = self.options
        figures = many_models.measure(
            self.field, self.photos[LIGHT_PHOTO], rounds=options.rounds, seconds=options.seconds
        )
        self.marks += marks.of_many_models(figures)
        self.document["many_models"] = figures

    def _start_up(self) -> None:
        options = self.options
        figures = start_up.measure(
            self.field, self.photos[LIGHT_PHOTO], rounds=options.rounds, seconds=options.seconds
        )
        self.marks += marks.of_start_up(figures)
        self.document["start_up"] = figures

    def _endurance(self) -> None:
        photo, requests = self.photos[LIGHT_PHOTO], self.options.requests
        figures = endurance.measure(self.field, photo, requests=requests)
        self.marks += marks.of_endurance(figures)
        self.document["endurance"] = figures


def options_json(options: Options) -> Document:
    """What was asked for, without this machine's paths."""
    keys = ("parts", "contenders", "models", "megapixels", "clients", "rounds", "seconds")
    return {key: getattr(options, key) for key in keys}


def run(options: Options) -> int:
    """Measure and print; missed marks are told, not failed on."""
    this = Run(options)
    this.measure()
    print(report.marks_table(this.marks))
    print(f"written: {options.results}")
    return 0
