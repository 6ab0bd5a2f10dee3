"""Tables for people, JSON for programs."""

from __future__ import annotations

import dataclasses
import json
import os
import platform
from datetime import UTC, datetime
from importlib.metadata import version
from pathlib import Path
from typing import TYPE_CHECKING, Any

import psutil

from model_config import write_whole

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence

    from benchmarks.marks import Mark
    from benchmarks.measurement import Ratio, Row
    from benchmarks.processes import Cost

PACKAGES = ("tensorflow", "keras", "numpy", "pillow", "flask", "gunicorn", "httptools", "fastapi")
_HEADER = (
    f"{'model':13s} {'photo':>7s} {'clients':>7s}  {'contender':9s} {'req/s':>7s} {'p50':>8s} {'p95':>8s} {'p99':>8s}"
    f" {'CPU ms':>7s}  of which"
)


def machine() -> dict[str, Any]:
    """Where the figures were taken: they are this machine's."""
    return {
        "processor": _processor(),
        "cores": os.cpu_count(),
        "memory_gb": round(psutil.virtual_memory().total / 2**30),
        "load_average": os.getloadavg(),
        "python": platform.python_version(),
        "packages": {name: version(name) for name in PACKAGES},
        "date": datetime.now(UTC).isoformat(timespec="seconds"),
    }


def rows_table(rows: Iterable[Row]) -> str:
    """One line for each contender and setting."""
    return "\n".join([_HEADER, *map(_row_line, rows)])


def ratios_table(ratios: Iterable[Ratio]) -> str:
    """One line for each ratio."""
    return "\n".join(
        f"{ratio.over}/{ratio.under:8s} {ratio.setting.model:13s} {ratio.setting.megapixels:4} MP"
        f" {ratio.setting.clients:3d} clients  {ratio.value:6.2f}"
        for ratio in ratios
    )


def costs_table(
    costs: Mapping[str, Mapping[str, Cost]], start_up_seconds: Mapping[str, float]
) -> str:
    """Peak memory of each contender's processes, and how long it took to be ready."""
    lines = []
    for name, by_role in costs.items():
        seconds = start_up_seconds.get(name)
        shares = ", ".join(
            f"{role} {cost.peak_mb:.0f} MB in {cost.processes}" for role, cost in by_role.items()
        )
        lines.append(
            f"{name:8s} peak {shares}" + (f"; ready after {seconds:.1f} s" if seconds else "")
        )
    return "\n".join(lines)


def marks_table(marks: Iterable[Mark]) -> str:
    """One line for each mark."""
    return "\n".join(
        f"{'reached' if mark.reached else 'MISSED ':7s} {mark.number}. {mark.what}: {mark.measured:.3g}"
        f" ({'at least' if mark.at_least else 'at most'} {mark.bound:g})"
        for mark in marks
    )


def write_json(path: Path, document: dict[str, Any]) -> None:
    """Write the document as a whole."""
    path.parent.mkdir(parents=True, exist_ok=True)
    write_whole(path, json.dumps(document, indent=1, default=_plain) + "\n")


def marks_json(marks: Sequence[Mark]) -> list[dict[str, Any]]:
    """The marks with their verdicts."""
    return [{**dataclasses.asdict(mark), "reached": mark.reached} for mark in marks]


def _row_line(row: Row) -> str:
    setting = row.setting
    shares = ", ".join(f"{role} {cost:.1f}" for role, cost in row.cpu_ms.items())
    return (
        f"{setting.model:13s} {setting.megapixels:4} MP {setting.clients:7d}  {row.contender:9s}"
        f" {row.throughput:7.1f} {row.p50_ms:8.1f} {row.p95_ms:8.1f} {row.p99_ms:8.1f} {row.cpu_total_ms:7.1f}  {shares}"
        + (f"  FAILED {row.failures}" if row.failures else "")
    )


def _processor() -> str:
    lines = Path("/proc/cpuinfo").read_text().splitlines()
    names = [line.split(":", 1)[1].strip() for line in lines if line.startswith("model name")]
    return names[0] if names else platform.processor()


def _plain(value: Any) -> Any:  # noqa: ANN401 - whatever json does not know
    return dataclasses.asdict(value)
