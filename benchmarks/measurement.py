"""What is written down of the measurements, and the figures that follow from them."""

from __future__ import annotations

import statistics
from collections import defaultdict
from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Mapping, Sequence

RATIOS = (("OURS", "LIMIT"), ("OURS", "SEED"), ("OURS", "FASTAPI"))


@dataclass(frozen=True, slots=True)
class Setting:
    """What was asked for, whoever was asked."""

    model: str
    megapixels: float
    clients: int


@dataclass(frozen=True, slots=True)
class Sample:
    """One contender, one setting, one round."""

    contender: str
    setting: Setting
    round: int
    throughput: float
    p50_ms: float
    p95_ms: float
    p99_ms: float
    cpu_ms: Mapping[str, float]
    """Role -> milliseconds of processor time for each request."""
    client_cpu_ms: float
    """What the load generator itself took for each request."""
    failures: int


@dataclass(frozen=True, slots=True)
class Row:
    """Medians over the rounds of one contender and setting."""

    contender: str
    setting: Setting
    throughput: float
    p50_ms: float
    p95_ms: float
    p99_ms: float
    cpu_ms: Mapping[str, float]
    failures: int

    @property
    def cpu_total_ms(self) -> float:
        """Processor time of all its processes for each request."""
        return sum(self.cpu_ms.values())


@dataclass(frozen=True, slots=True)
class Ratio:
    """Throughput of one contender over that of another, the median over the rounds of the ratio in each."""

    over: str
    under: str
    setting: Setting
    value: float


@dataclass(frozen=True, slots=True)
class Overhead:
    """Processor milliseconds a request of a model that computes nothing, in one setting: medians over the rounds."""

    setting: Setting
    decode_ms: float
    """Of a program that decodes and resizes with the router's own functions."""
    router_ms: float
    model_server_ms: float

    @property
    def beyond_ms(self) -> float:
        """Router and model server without that."""
        return self.router_ms + self.model_server_ms - self.decode_ms


def rows(samples: Iterable[Sample]) -> list[Row]:
    """Medians, in the order in which the settings were first measured."""
    groups: dict[tuple[Setting, str], list[Sample]] = defaultdict(list)
    for sample in samples:
        groups[sample.setting, sample.contender].append(sample)
    return [_row(contender, setting, group) for (setting, contender), group in groups.items()]


def ratios(samples: Sequence[Sample]) -> list[Ratio]:
    """Both sides of a ratio come from the same round, so that a busy minute hurts both."""
    by_key = {(s.setting, s.contender, s.round): s.throughput for s in samples}
    found: dict[tuple[str, str, Setting], list[float]] = defaultdict(list)
    for over, under in RATIOS:
        for setting, contender, number in by_key:
            if contender == over and (setting, under, number) in by_key:
                value = by_key[setting, over, number] / by_key[setting, under, number]
                found[over, under, setting].append(value)
    return [
        Ratio(over, under, setting, statistics.median(values))
        for (over, under, setting), values in found.items()
    ]


def overheads(samples: Iterable[Sample]) -> Iterator[Overhead]:
    """Take from what OURS costs what DECODE costs, setting by setting."""
    by_key = {(row.contender, row.setting): row for row in rows(samples)}
    for (contender, setting), row in by_key.items():
        if contender == "OURS":
            yield Overhead(
                setting,
                decode_ms=by_key["DECODE", setting].cpu_total_ms,
                router_ms=row.cpu_ms["router"],
                model_server_ms=row.cpu_ms["model server"],
            )


def _row(contender: str, setting: Setting, group: list[Sample]) -> Row:
    roles = group[0].cpu_ms
    return Row(
        contender=contender,
        setting=setting,
        throughput=statistics.median(s.throughput for s in group),
        p50_ms=statistics.median(s.p50_ms for s in group),
        p95_ms=statistics.median(s.p95_ms for s in group),
        p99_ms=statistics.median(s.p99_ms for s in group),
        cpu_ms={role: statistics.median(s.cpu_ms[role] for s in group) for role in roles},
        failures=sum(s.failures for s in group),
    )
