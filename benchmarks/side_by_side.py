"""The main measurement: every contender on every setting, one after another, round after round."""

from __future__ import annotations

import sys
import time
from dataclasses import dataclass
from typing import TYPE_CHECKING

from benchmarks.contenders import Demand
from benchmarks.measurement import Sample, Setting
from benchmarks.processes import costs

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from benchmarks.contenders import Contender
    from benchmarks.field import BenchmarkModel
    from benchmarks.photos import Photo

WARM_UP_SECONDS = 1.0


@dataclass(frozen=True, slots=True)
class Matrix:
    """What is measured."""

    models: Sequence[BenchmarkModel]
    photos: Sequence[Photo]
    clients: Sequence[int]
    rounds: int
    seconds: float
    """For how long each contender is asked in each setting and round."""

    def demands(self) -> Iterator[Demand]:
        """Every setting once."""
        for model in self.models:
            for photo in self.photos:
                for clients in self.clients:
                    yield Demand(model, photo, clients, self.seconds, least=clients)


def measure(matrix: Matrix, contenders: Sequence[Contender]) -> list[Sample]:
    """Measure all; the contenders take turns within each setting, so that all see the same machine."""
    samples: list[Sample] = []
    for demand in {demand.model: demand for demand in matrix.demands()}.values():
        _warm_up(demand, contenders)
    for number in range(1, matrix.rounds + 1):
        for demand in matrix.demands():
            for contender in _turned(contenders, number):
                samples.append(sample(contender, demand, number))
                _tell(samples[-1])
    return samples


def sample(contender: Contender, demand: Demand, number: int) -> Sample:
    """Measure one contender once."""
    before, client_before = costs(contender.pids), time.process_time()
    load = contender.measure(demand)
    after, client_after = costs(contender.pids), time.process_time()
    count = max(len(load.latencies_ms), 1)
    per_request = {
        role: 1000 * (cost.cpu_seconds - before[role].cpu_seconds) / count
        for role, cost in after.items()
        if role in before
    }
    return Sample(
        contender=contender.name,
        setting=Setting(demand.model.name, demand.photo.megapixels, demand.clients),
        round=number,
        throughput=load.throughput,
        p50_ms=load.percentile_ms(50),
        p95_ms=load.percentile_ms(95),
        p99_ms=load.percentile_ms(99),
        cpu_ms=per_request,
        client_cpu_ms=1000 * (client_after - client_before) / count,
        failures=load.failures,
    )


def _warm_up(demand: Demand, contenders: Sequence[Contender]) -> None:
    for contender in contenders:
        contender.measure(
            Demand(demand.model, demand.photo, demand.clients, WARM_UP_SECONDS, least=1)
        )


def _turned(contenders: Sequence[Contender], number: int) -> Sequence[Contender]:
    """Another one begins in each round."""
    start = number % len(contenders)
    return [*contenders[start:], *contenders[:start]]


def _tell(done: Sample) -> None:
    setting = done.setting
    cpu = ", ".join(f"{role} {cost:.1f}" for role, cost in done.cpu_ms.items() if cost >= 0.05)
    print(
        f"round {done.round}  {setting.model:13s} {setting.megapixels:4} MP  {setting.clients:2d} clients"
        f"  {done.contender:8s} {done.throughput:7.1f}/s  p50 {done.p50_ms:7.1f} ms  CPU ms: {cpu}"
        + (f"  FAILED {done.failures}" if done.failures else ""),
        file=sys.stderr,
        flush=True,
    )
