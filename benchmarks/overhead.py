"""What the whole service costs besides decoding, resizing and the run: it is asked for models that compute next to nothing."""

from __future__ import annotations

import contextlib
import subprocess
from typing import TYPE_CHECKING

from benchmarks.contenders import InProcess, Service
from benchmarks.field import BLANKS
from benchmarks.measurement import overheads
from benchmarks.ours import start_ours
from benchmarks.processes import Program
from benchmarks.side_by_side import Matrix
from benchmarks.side_by_side import measure as measure_side_by_side

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from benchmarks.contenders import Contender
    from benchmarks.field import Field
    from benchmarks.measurement import Overhead
    from benchmarks.photos import Photo

CLIENTS = 4


def measure(
    field: Field, photos: Sequence[Photo], *, rounds: int, seconds: float
) -> list[Overhead]:
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
