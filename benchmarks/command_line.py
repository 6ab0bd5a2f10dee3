"""What to measure."""

from __future__ import annotations

import argparse
from dataclasses import dataclass
from pathlib import Path

from benchmarks.field import MODELS
from benchmarks.photos import SIZES

HERE = Path(__file__).resolve().parent
PARTS = ("side-by-side", "overhead", "model-server", "many-models", "start-up", "endurance")
CONTENDERS = ("LIMIT", "OURS", "SEED", "FASTAPI")
EPILOG = """\
Whole, it takes about half an hour; --quick takes a few minutes and says less. Leave the machine alone meanwhile.
Environment variables of auto_cmd.py are passed on, so a setting is tried with, for example,
  WORKERS=1 MODEL_SERVER_FLAGS=--tensorflow_intra_op_parallelism=2 python -m benchmarks --parts side-by-side
"""


@dataclass(frozen=True, slots=True)
class Options:
    """What the command line says."""

    parts: tuple[str, ...]
    contenders: tuple[str, ...]
    models: tuple[str, ...]
    megapixels: tuple[float, ...]
    clients: tuple[int, ...]
    rounds: int
    seconds: float
    requests: int
    cache: Path
    results: Path
    plot: Path | None


def read_options(arguments: list[str] | None = None) -> Options:
    """Read the command line."""
    given = _parser().parse_args(arguments)
    if given.quick:
        _make_quick(given)
    return Options(
        parts=tuple(given.parts),
        contenders=tuple(given.contenders),
        models=tuple(given.models),
        megapixels=tuple(given.megapixels),
        clients=tuple(given.clients),
        rounds=given.rounds,
        seconds=given.seconds,
        requests=given.requests,
        cache=given.cache.resolve(),
        results=given.results.resolve(),
        plot=given.plot and given.plot.resolve(),
    )


def _make_quick(given: argparse.Namespace) -> None:
    given.megapixels = [size for size in given.megapixels if size in (1.2, 4.3)]
    given.clients = [count for count in given.clients if count == 4]
    given.seconds = min(given.seconds, 2.0)
    given.requests = min(given.requests, 1000)


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="python -m benchmarks",
        description="Measure this project beside its limit, the tutorials' way, and FastAPI.",
        epilog=EPILOG,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    add = parser.add_argument
    add("--quick", action="store_true", help="few settings, short measurements")
    add("--parts", nargs="+", choices=PARTS, default=PARTS)
    add("--contenders", nargs="+", choices=CONTENDERS, default=CONTENDERS)
    names = [model.name for model in MODELS]
    add("--models", nargs="+", choices=names, default=names)
    add("--megapixels", nargs="+", type=float, choices=list(SIZES), default=list(SIZES))
    add("--clients", nargs="+", type=int, default=[1, 4, 16])
    add("--rounds", type=int, default=3, help="medians are taken over so many")
    add("--seconds", type=float, default=3.0, help="of each measurement in each round")
    add("--requests", type=int, default=10_000, help="of the part endurance")
    add("--cache", type=Path, default=HERE / ".cache", help="photos and exports are kept here")
    add("--results", type=Path, default=HERE / "results" / "latest.json", help="JSON to write")
    add("--plot", type=Path, help="SVG to write")
    return parser
