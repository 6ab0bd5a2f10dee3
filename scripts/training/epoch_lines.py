"""The progress of a training, a line at a time."""

from __future__ import annotations

import time
from typing import Any

import keras


class EpochLines(keras.callbacks.Callback):  # type: ignore[misc]  # Keras ships no types
    """One line an epoch (or every few), with the time that is left at most."""

    def __init__(self, epochs: int, *, every: int = 1) -> None:
        super().__init__()
        self._epochs = epochs
        self._every = every
        self._started = time.monotonic()

    def on_epoch_end(self, epoch: int, logs: dict[str, Any] | None = None) -> None:
        """Print how good it is now."""
        done = epoch + 1
        if done % self._every and done != 1:
            return
        left = (time.monotonic() - self._started) / done * (self._epochs - done)
        scores = logs or {}
        watched = scores.get("val_accuracy")
        apart = "" if watched is None else f", on the part kept apart {watched:.3f}"
        print(
            f"epoch {done}/{self._epochs}: accuracy {scores['accuracy']:.3f}{apart},"
            f" at most {left:.0f} s left",
            flush=True,
        )
