"""Which classes a model takes for which."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING

import matplotlib as mpl

mpl.use("agg")  # a file, no window

from matplotlib import pyplot as plt
from sklearn.metrics import ConfusionMatrixDisplay, confusion_matrix

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

    import numpy as np


def plot_confusion(
    true: np.ndarray, predicted: np.ndarray, names: Sequence[str], path: Path
) -> None:
    """Draw the confusion matrix of some photos.

    Args:
        true: Their classes, integers [photos].
        predicted: What the model says, integers [photos].
        names: Of the classes.
        path: Where to write the picture (PNG).
    """
    matrix = confusion_matrix(true, predicted, labels=range(len(names)))
    side = max(4.0, 0.5 * len(names) + 2)
    figure, axes = plt.subplots(figsize=(side, side), layout="constrained")
    ConfusionMatrixDisplay(matrix, display_labels=names).plot(
        ax=axes, cmap="Blues", colorbar=False, xticks_rotation="vertical"
    )
    beside = path.with_name(f".{os.getpid()}.{path.name}")
    figure.savefig(beside)
    plt.close(figure)
    beside.replace(path)
