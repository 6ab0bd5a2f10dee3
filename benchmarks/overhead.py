"""What the whole service costs besides decoding, resizing and the run: it is asked for models that compute next to nothing."""

from __future__ import annotations

import contextlib
import subprocess
from dataclasses import dataclass
from typing import TYPE_CHECKING

from benchmarks.contenders import InProcess, Service
from benchmarks.field import BLANKS
from benchmarks.measurement import rows
from benchmarks.ours import start_ours
from benchmarks.processes import Program
from benchmarks.side_by_side import Matrix
from benchmarks.side_by_side import measure as measure_side_by_side

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Sequence

    from benchmarks.contenders import Contender
    from benchmarks.field import Field
    from benchmarks.measurement import Sample, Setting
    from benchmarks.photos import Photo

CLIENTS = 4


@dataclass(frozen=True, slots=True)
class Figures:
    """Processor milliseconds a request in one setting: medians over the rounds."""

    setting: Setting
    decode_ms: float
    """Of a program that decodes and resizes with the router's own functions."""
    router_ms: float
    model_server_ms: float

    @property
    def overhead_ms(self) -> float:
        """Router and model server without that."""
        return self.router_ms + self.model_server_ms - self.decode_ms


def measure(field: Field, photos: Sequence[Photo], *, rounds: int, seconds: float) -> list[Figures]:
    """Let the service and the bare decoding take turns."""
    matrix = Matrix(BLANKS, photos, clients=[CLIENTS], rounds=rounds, seconds=seconds)
    with _contenders(field) as contenders:
        return list(overheads(measure_side_by_side(matrix, contenders)))


@contextlib.contextmanager
def _contenders(field: Field) -> Iterator[list[Contender]]:
    models_file = field.models_file("overhead", field.blank_tables())
    decode = Program(
        ("-m", "benchmarks.programs.decode"),
        field.logs / "decode.log",
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
    )
    with contextlib.ExitStack() as stack:
        stack.callback(decode.stop)
        decode.hear()  # ready
        ours = start_ours(field, "overhead", models_file, [blank.name for blank in BLANKS])
        stack.callback(ours.stop)
        yield [
            InProcess("DECODE", {blank.name: decode for blank in BLANKS}),
            Service("OURS", ours.port, [ours.program.pid]),
        ]


def overheads(samples: Iterable[Sample]) -> Iterator[Figures]:
    """Take from what OURS costs what DECODE costs, setting by setting."""
    by_key = {(row.contender, row.setting): row for row in rows(samples)}
    for (contender, setting), row in by_key.items():
        if contender == "OURS":
            yield Figures(
                setting,
                decode_ms=by_key["DECODE", setting].cpu_total_ms,
                router_ms=row.cpu_ms["router"],
                model_server_ms=row.cpu_ms["model server"],
            )
