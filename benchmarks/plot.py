"""The plot of docs/performance.md: throughput by photo size, one panel a model."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import matplotlib as mpl
import numpy as np

mpl.use("Agg")
from matplotlib import pyplot as plt

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

    from benchmarks.measurement import Row

CLIENTS = 4
COLORS = {"LIMIT": "#9aa5b1", "OURS": "#2563eb", "FASTAPI": "#f59e0b", "SEED": "#dc2626"}


def draw(rows: Sequence[Row], path: Path) -> None:
    """Write an SVG of the rows at four clients; nothing if there are none."""
    shown = [row for row in rows if row.setting.clients == CLIENTS]
    models = list(dict.fromkeys(row.setting.model for row in shown))
    if not models:
        return
    figure, axes = plt.subplots(1, len(models), figsize=(5 * len(models), 3.6), squeeze=False)
    for axis, model in zip(axes[0], models, strict=True):
        _panel(axis, [row for row in shown if row.setting.model == model])
        axis.set_title(model)
    axes[0][0].set_ylabel(f"photos a second, {CLIENTS} clients")
    axes[0][-1].legend(frameon=False, loc="upper left", bbox_to_anchor=(1, 1))
    figure.tight_layout()
    figure.savefig(path)
    plt.close(figure)


def _panel(axis: Any, rows: Sequence[Row]) -> None:  # noqa: ANN401 - matplotlib has no types
    sizes = list(dict.fromkeys(row.setting.megapixels for row in rows))
    names = [name for name in COLORS if any(row.contender == name for row in rows)]
    places = np.arange(len(sizes))
    width = 0.8 / len(names)
    for index, name in enumerate(names):
        heights = [_throughput(rows, name, size) for size in sizes]
        offset = (index - (len(names) - 1) / 2) * width
        axis.bar(places + offset, heights, width, label=name, color=COLORS[name])
    axis.set_xticks(places, [f"{size} MP" for size in sizes])
    axis.spines[["top", "right"]].set_visible(False)


def _throughput(rows: Sequence[Row], name: str, size: float) -> float:
    return next(
        (r.throughput for r in rows if r.contender == name and r.setting.megapixels == size), 0.0
    )
