from __future__ import annotations

import json
import os
import shutil
import statistics
import sys
from dataclasses import dataclass
from functools import partial
from typing import TYPE_CHECKING, Any

import pytest

from benchmarks import capacity
from benchmarks.capacity import Fleet, Times

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

Row = dict[str, Any]


@dataclass(frozen=True, slots=True)
class Point:
    """A row of the benchmark in which the programs had the machine to themselves and kept it busy."""

    busy: Row
    alone: Row
    """The row of the same model and photo with the fewest clients: what one request takes."""
    cores: int


def busy_points() -> Iterator[Point]:
    """Rows with enough clients, in which the processors' time went to what was measured."""
    for file in sorted(capacity.RESULTS.glob("*.json")):
        document = json.loads(file.read_text())
        cores = document["machine"]["cores"]
        ours = [row for row in document.get("rows", []) if row["contender"] == "OURS"]
        for row in ours:
            used = row["throughput"] * sum(row["cpu_ms"].values()) / 1000 / cores
            if row["setting"]["clients"] > cores and used > 0.6:
                yield Point(row, min(filter(partial(_is_like, row), ours), key=_clients), cores)


def _clients(row: Row) -> int:
    return int(row["setting"]["clients"])


def _is_like(row: Row, other: Row) -> bool:
    return {**row["setting"], "clients": 0} == {**other["setting"], "clients": 0}


@pytest.mark.skipif(
    not list(busy_points()),
    reason="benchmarks/results/ holds no measurement on a machine that had nothing else to do; make bench",
)
def test_the_arithmetic_meets_what_one_machine_measured() -> None:
    """From what one client's requests took, the throughput of many is foretold within 40 %."""
    for point in busy_points():
        times = capacity.times_of(point.alone)
        most = point.cores / (times.router + times.model_server)
        assert point.busy["throughput"] == pytest.approx(most, rel=0.4), point


p95 = partial(capacity.quantile, share=0.95)


@pytest.mark.parametrize("load", [0.3, 0.8])
def test_waiting_follows_the_formula_of_pollaczek_and_khinchine(load: float) -> None:
    """One router with one processor: the mean time is service plus load·service·(1+cv²)/2(1-load)."""
    service = 0.01
    times = Times(service, 1e-9)
    took = capacity.fleet(times, Fleet(1, 1, cores=1), rate=load / service, requests=100_000)
    wait = load * service * (1 + capacity.SPREAD**2) / (2 * (1 - load))
    assert statistics.fmean(took) == pytest.approx(service + wait, rel=0.05)


def test_the_slower_program_gets_more_machines() -> None:
    """The fleet is the arithmetic: rate times seconds over the processors that may be busy, and one more of each."""
    assert capacity.fleet_for(Times(0.007, 0.028), 1000, cores=4) == Fleet(4, 11, 4)
    assert capacity.fleet_for(Times(0.007, 0.028), 10, cores=4) == Fleet(2, 2, 4)


def test_a_fleet_of_that_size_holds_the_load_and_half_of_it_does_not() -> None:
    """At the computed size 95 % of the requests take a few times their own work; with half the servers queues grow."""
    times = Times(0.007, 0.028)
    size = capacity.fleet_for(times, 1000, cores=4)
    enough = p95(capacity.fleet(times, size, rate=1000))
    assert enough < 4 * 0.035
    half = Fleet(size.routers, size.model_servers // 2, size.cores)
    assert p95(capacity.fleet(times, half, rate=1000)) > 10 * enough


def test_a_fleet_holds_the_load_when_one_machine_of_each_kind_has_failed() -> None:
    """The machines that are left are busy no more than they should be, for few requests and for many."""
    times = Times(0.007, 0.028)
    for rate in (10, 1000, 5000):
        size = capacity.fleet_for(times, rate, cores=4)
        for machines, seconds in ((size.routers, 0.007), (size.model_servers, 0.028)):
            assert rate * seconds / ((machines - 1) * size.cores) <= capacity.BUSY


def test_a_part_of_a_large_fleet_behaves_as_the_whole() -> None:
    """Latency in the sample of a fleet is that of the whole fleet under the same share of the load."""
    times = Times(0.007, 0.028)
    size = capacity.fleet_for(times, 3000, cores=4)
    part = size.sample
    assert part.model_servers < size.model_servers
    whole = capacity.fleet(times, size, rate=3000, requests=50_000)
    rate = 3000 * part.model_servers / size.model_servers
    small = capacity.fleet(times, part, rate=rate, requests=50_000)
    assert p95(small) == pytest.approx(p95(whole), rel=0.25)


def test_the_price_is_that_of_the_machines_which_stand_there() -> None:
    """Four machines of four processors at 0.04 an hour are 0.64 an hour: much for ten requests a second."""
    times = Times(0.0062, 0.0051)
    prices = []
    for rate in (10, 100_000):
        size = capacity.fleet_for(times, rate, cores=4)
        prices.append(capacity.cost_per_million(size, rate=rate, core_hour=0.04))
    assert prices == pytest.approx([17.8, 0.18], rel=0.02)


@pytest.mark.parametrize("wrong", [("--rates", "0"), ("--rates", "1e400"), ("--cores", "0")])
def test_numbers_that_cannot_be_are_refused(
    wrong: tuple[str, str], monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """In a sentence, before anything is computed."""
    monkeypatch.setattr(sys, "argv", ["capacity", *wrong])
    with pytest.raises(SystemExit):
        capacity.main()
    assert f"'{wrong[1]}' is no" in capsys.readouterr().err


def test_the_newest_results_are_those_with_rows(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """In a fresh clone all files are equally old; those of a part of the benchmark are passed over."""
    for file in capacity.RESULTS.glob("*.json"):
        os.utime(shutil.copy(file, tmp_path), (0, 0))
    (tmp_path / "broken.json").write_text("{")
    monkeypatch.setattr(capacity, "RESULTS", tmp_path)
    assert json.loads(capacity.newest_results().read_text())["rows"]
