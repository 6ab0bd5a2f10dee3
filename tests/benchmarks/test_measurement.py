from __future__ import annotations

import pytest

from benchmarks.marks import of_overhead, of_side_by_side
from benchmarks.measurement import Sample, Setting, overheads, ratios, rows

SETTING = Setting("mobilenet_v2", 1.2, 4)


def sample(contender: str, number: int, throughput: float, cpu_ms: dict[str, float]) -> Sample:
    """What was measured of a contender in a round."""
    return Sample(
        contender=contender,
        setting=SETTING,
        round=number,
        throughput=throughput,
        p50_ms=1000 / throughput,
        p95_ms=1.0,
        p99_ms=1.0,
        cpu_ms=cpu_ms,
        client_cpu_ms=0.1,
        failures=0,
    )


OURS = {"router": 5.0, "model server": 9.0, "supervisor": 0.1}
LIMIT = {"limit": 12.0}
SAMPLES = [
    sample("OURS", 1, 80, OURS),
    sample("LIMIT", 1, 100, LIMIT),
    sample("OURS", 2, 9, OURS),
    sample("LIMIT", 2, 10, LIMIT),
    sample("OURS", 3, 85, OURS),
    sample("LIMIT", 3, 100, LIMIT),
]


def test_a_row_is_the_median_of_its_rounds() -> None:
    """One bad round does not move it."""
    ours, limit = rows(SAMPLES)
    assert (ours.contender, ours.throughput) == ("OURS", 80)
    assert (limit.contender, limit.throughput) == ("LIMIT", 100)


def test_a_ratio_compares_within_each_round() -> None:
    """A round in which everything was slow counts like any other."""
    (ratio,) = ratios(SAMPLES)
    assert (ratio.over, ratio.under) == ("OURS", "LIMIT")
    assert ratio.value == pytest.approx(0.85)


def test_marks_follow_from_rows_and_ratios() -> None:
    """Throughput is compared with LIMIT's, and router and model server with its processor time."""
    marks = list(of_side_by_side(rows(SAMPLES), ratios(SAMPLES)))
    assert [(mark.number, mark.reached) for mark in marks] == [(1, True), (3, True)]
    assert marks[1].measured == pytest.approx(2.0)


def test_what_the_service_costs_besides_decoding_is_a_mark_of_its_own() -> None:
    """Router and model server, less what the bare decoding takes in the same setting."""
    (figures,) = overheads([*SAMPLES[::2], sample("DECODE", 1, 100, {"decode": 11.8})])
    (mark,) = of_overhead([figures])
    assert mark.measured == pytest.approx(14.0 - 11.8)
    assert (mark.number, mark.reached) == (3, True)
