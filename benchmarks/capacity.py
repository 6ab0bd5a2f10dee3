"""How many routers and model servers a load needs: a small queueing simulation, fed with measured processor times.

    .venv/bin/python -m benchmarks.capacity --model mobilenet_v2 --rates 10 1000 100000

A request is worked on by a router's processors and then by a model server's; where all are busy it waits its turn. What
each needs is taken from a run of the benchmark (`benchmarks/results/*.json`), so the answer is in machines like that one.
Not modelled: the network, memory, batching, and that threads of one process disturb each other.
"""

from __future__ import annotations

import argparse
import heapq
import json
import math
import random
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from scripts.command_line import UserError, run, whole_number

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

RESULTS = Path(__file__).with_name("results")
ROUTER, MODEL_SERVER = "router", "model server"
BUSY = 0.7
"""The share of the time that processors should be busy at most: beyond it queues grow quickly."""
_HIGHEST_RATE = 1e7
SPREAD = 0.3
"""Standard deviation of a step's time over its mean."""


class Station:
    """Processors that take work in the order in which it comes."""

    def __init__(self, cores: int) -> None:
        self._free_at = [0.0] * cores

    def serve(self, ready: float, seconds: float) -> float:
        """Take the processor that is free first; return when the work is done."""
        start = max(ready, heapq.heappop(self._free_at))
        heapq.heappush(self._free_at, start + seconds)
        return start + seconds


@dataclass(frozen=True, slots=True)
class Times:
    """Processor seconds that one request takes of each program."""

    router: float
    model_server: float


@dataclass(frozen=True, slots=True)
class Fleet:
    """How many machines of each kind, all with so many processors."""

    routers: int
    model_servers: int
    cores: int

    @property
    def sample(self) -> Fleet:
        """A small part of it: every machine gets the same share of the load, so the part behaves as the whole."""
        parts = max(1, min(self.routers, self.model_servers) // 4)
        return replace(
            self, routers=self.routers // parts, model_servers=self.model_servers // parts
        )


def fleet(
    times: Times, size: Fleet, *, rate: float, requests: int = 20000, seed: int = 0
) -> list[float]:
    """Requests come at random (a Poisson process); each goes to any router, and from there to any model server.

    Returns:
        How many seconds each took, the quickest first.
    """
    luck = random.Random(seed)
    routers = [Station(size.cores) for _ in range(size.routers)]
    servers = [Station(size.cores) for _ in range(size.model_servers)]
    arrivals = list(_arrivals(rate, requests, luck))
    forwarded = sorted(
        (luck.choice(routers).serve(at, _about(times.router, luck)), at) for at in arrivals
    )
    ends = [
        (luck.choice(servers).serve(ready, _about(times.model_server, luck)), at)
        for ready, at in forwarded
    ]
    return sorted(end - at for end, at in ends)


def fleet_for(times: Times, rate: float, *, cores: int) -> Fleet:
    """The arithmetic: processor seconds a second, over those of one machine that may be used; one more may fail."""
    room = cores * BUSY
    needed = (math.ceil(rate * seconds / room) for seconds in (times.router, times.model_server))
    routers, model_servers = (count + 1 for count in needed)
    return Fleet(routers, model_servers, cores)


def cost_per_million(size: Fleet, *, rate: float, core_hour: float) -> float:
    """What a million predictions cost where a processor costs `core_hour` for an hour, whether it is busy or not."""
    hours = 1e6 / rate / 3600
    return hours * (size.routers + size.model_servers) * size.cores * core_hour


def measured(results: Path, *, model: str, megapixels: float) -> list[dict[str, Any]]:
    """The rows of the benchmark for our own programs with one model and photo."""
    try:
        rows = json.loads(results.read_text())["rows"]
    except (ValueError, KeyError, TypeError):
        raise UserError(
            f"{results} holds no results of a benchmark; write some: make bench"
        ) from None
    return [
        row
        for row in rows
        if row["contender"] == "OURS"
        and (row["setting"]["model"], row["setting"]["megapixels"]) == (model, megapixels)
    ]


def times_of(row: dict[str, Any]) -> Times:
    """What the programs took in a measured row."""
    return Times(row["cpu_ms"][ROUTER] / 1000, row["cpu_ms"][MODEL_SERVER] / 1000)


def newest_results() -> Path:
    """Of the results that hold rows, those that were written last."""
    files = [file for file in sorted(RESULTS.glob("*.json")) if _holds_rows(file)]
    if not files:
        raise UserError(f"There are no results in {RESULTS}; run: make bench")
    return max(files, key=lambda file: file.stat().st_mtime)


def _holds_rows(results: Path) -> bool:
    """A benchmark that was run in part need not have any."""
    try:
        return bool(json.loads(results.read_text())["rows"])
    except (ValueError, KeyError, TypeError):
        return False


def quantile(in_order: Sequence[float], share: float) -> float:
    """The value that so large a share lies under."""
    return in_order[int(len(in_order) * share)]


def _arrivals(rate: float, requests: int, luck: random.Random) -> Iterator[float]:
    now = 0.0
    for _ in range(requests):
        now += luck.expovariate(rate)
        yield now


def _about(mean: float, luck: random.Random) -> float:
    """A gamma-distributed time, never negative."""
    shape = 1 / SPREAD**2
    return luck.gammavariate(shape, mean / shape)


def report(times: Times, *, rate: float, cores: int, core_hour: float) -> str:
    """The fleet for a rate, what it is like to be served by it, and what it costs."""
    size = fleet_for(times, rate, cores=cores)
    part = size.sample
    latencies = fleet(times, part, rate=rate * part.model_servers / size.model_servers)
    return (
        f"{rate:g}/s: {size.routers} routers and {size.model_servers} model servers of {cores} processors;"
        f" median {quantile(latencies, 0.5) * 1000:.0f} ms, 95 % under {quantile(latencies, 0.95) * 1000:.0f} ms;"
        f" {cost_per_million(size, rate=rate, core_hour=core_hour):.2f} per million"
    )


def _rate(text: str) -> float:
    rate = float(text)
    if not 0 < rate <= _HIGHEST_RATE:
        raise argparse.ArgumentTypeError(f"'{text}' is no rate up to {_HIGHEST_RATE:g} a second")
    return rate


def main() -> None:
    """Print a line for each rate."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.capacity")
    parser.add_argument(
        "--rates", type=_rate, nargs="+", default=[10, 1000, 100_000], help="requests a second"
    )
    parser.add_argument("--model", default="mobilenet_v2", help="which measured model")
    parser.add_argument("--megapixels", type=float, default=1.2, help="of each photo")
    parser.add_argument("--cores", type=whole_number, default=4, help="processors of each machine")
    parser.add_argument("--core-hour", type=float, default=0.04, help="price of one for an hour")
    parser.add_argument("--results", type=Path, default=None, help="default: the newest")
    options = parser.parse_args()
    results = options.results or newest_results()
    rows = measured(results, model=options.model, megapixels=options.megapixels)
    if not rows:
        raise UserError(
            f"{results.name} has no rows for {options.model} at {options.megapixels} MP."
        )
    times = times_of(rows[-1])
    print(
        f"{options.model}, {options.megapixels} MP: {times.router * 1000:.1f} ms of a router's processor,"
        f" {times.model_server * 1000:.1f} ms of a model server's"
    )
    for rate in options.rates:
        print(report(times, rate=rate, cores=options.cores, core_hour=options.core_hour))


if __name__ == "__main__":
    run(main)
