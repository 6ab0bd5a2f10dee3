"""Scores -> labels."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

from flask_server.errors import UpstreamError

if TYPE_CHECKING:
    from collections.abc import Sequence

    from numpy.typing import NDArray

    from model_config import Label


def top_labels(scores: NDArray[Any], top: int, labels: Sequence[Label]) -> list[list[Any]]:
    """The best classes, in the shape of Keras' `decode_predictions`.

    Args:
        scores: float [classes].
        top: How many; all classes if there are fewer.
        labels: One for each class, or none: then the class number stands for both id and name.

    Returns:
        `[[id, name, score], ...]`, best first; of equal scores the lower class number first. The scores stay float32,
        so that JSON shows the digits they have and no more.

    Raises:
        UpstreamError: The model gave something else than one finite score a class.
    """
    _check(scores, labels)
    best = np.argsort(-scores, kind="stable")[:top]
    return [[*_names(int(number), labels), scores[number]] for number in best]


def _names(number: int, labels: Sequence[Label]) -> tuple[str, str]:
    return (labels[number].id, labels[number].name) if labels else (str(number), str(number))


def _check(scores: NDArray[Any], labels: Sequence[Label]) -> None:
    if not isinstance(scores, np.ndarray):
        raise UpstreamError(
            "The model has several outputs; only a decode function of its own knows which."
        )
    if scores.ndim != 1 or scores.dtype.kind not in "fi":
        raise UpstreamError(
            f"The model answered an array of shape {list(scores.shape)} instead of one score a class."
        )
    if labels and len(labels) != len(scores):
        raise UpstreamError(
            f"The model answered {len(scores)} scores, but {len(labels)} labels are configured for it."
        )
    if not np.isfinite(scores).all():
        raise UpstreamError("The model answered scores that are not finite numbers.")
