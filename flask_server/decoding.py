"""Scores, or the best of them -> labels."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from flask_server.errors import UpstreamError

if TYPE_CHECKING:
    from collections.abc import Sequence

    from numpy.typing import NDArray

    from model_config import Label


@dataclass(frozen=True, slots=True)
class Best:
    """The best classes of one row, best first; of equal scores the lower class number first."""

    scores: NDArray[Any]
    """float [k]."""
    classes: NDArray[Any]
    """int [k]."""
    of: int
    """How many classes the model has."""


def best_of(row: object, classes: int) -> Best:
    """Understand a row of the signature `pixels_top`, of a model with so many classes.

    Raises:
        UpstreamError: It is none.
    """
    match row:
        case {"scores": np.ndarray() as scores, "classes": np.ndarray() as numbers} if (
            scores.ndim == 1
            and scores.shape == numbers.shape
            and numbers.dtype.kind == "i"
            and all(0 <= number < classes for number in numbers.tolist())
        ):
            return Best(scores, numbers, classes)
    raise UpstreamError("The model server's answer holds no best classes.")


def top_labels(scores: NDArray[Any] | Best, top: int, labels: Sequence[Label]) -> list[list[Any]]:
    """The best classes, in the shape of Keras' `decode_predictions`.

    Args:
        scores: float [classes], or the best of them.
        top: How many; all classes if there are fewer.
        labels: One for each class, or none: then the class number stands for both id and name.

    Returns:
        `[[id, name, score], ...]`, best first; of equal scores the lower class number first. The scores stay float32,
        so that JSON shows the digits they have and no more.

    Raises:
        UpstreamError: The model gave something else than one finite score a class.
    """
    best = scores if isinstance(scores, Best) else _best(scores)
    _check(best, labels)
    pairs = zip(best.classes[:top].tolist(), best.scores[:top], strict=True)
    return [[*_names(number, labels), score] for number, score in pairs]


def _best(scores: NDArray[Any]) -> Best:
    """All classes, best first."""
    _check_shape(scores)
    order = np.argsort(-scores, kind="stable")
    return Best(scores[order], order, len(scores))


def _names(number: int, labels: Sequence[Label]) -> tuple[str, str]:
    return (labels[number].id, labels[number].name) if labels else (str(number), str(number))


def _check_shape(scores: NDArray[Any]) -> None:
    if not isinstance(scores, np.ndarray):
        raise UpstreamError(
            "The model has several outputs; only a decode function of its own knows which."
        )
    if scores.ndim != 1 or scores.dtype.kind not in "fi":
        raise UpstreamError(
            f"The model answered an array of shape {list(scores.shape)} instead of one score a class."
        )


def _check(best: Best, labels: Sequence[Label]) -> None:
    if labels and len(labels) != best.of:
        count = "1 label is" if len(labels) == 1 else f"{len(labels)} labels are"
        raise UpstreamError(f"The model answered {best.of} scores, but {count} configured for it.")
    if not np.isfinite(best.scores).all():
        raise UpstreamError("The model answered scores that are not finite numbers.")
