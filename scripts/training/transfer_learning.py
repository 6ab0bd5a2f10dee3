"""Photos -> a classifier upon a network that was trained elsewhere."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import keras
import numpy as np

from scripts.keras_models import build_model
from scripts.photo_folders import split
from scripts.training.backbone import Backbone
from scripts.training.classifier_head import SeenPhotos, join, train_head

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

    from model_config import ModelConfig
    from scripts.photo_folders import Photo


@dataclass(frozen=True, slots=True)
class Training:
    """How to train."""

    held_out: float
    """The share of each class to test with."""
    epochs: int
    """At most so many."""
    seed: int
    """Makes a run repeatable."""
    work: Path
    """A folder for what is kept between runs, and for the plot."""


def learn(
    names: Sequence[str], photos: Sequence[Photo], config: ModelConfig, training: Training
) -> keras.Model:
    """Train a classifier and say how good it is on photos that it has not seen.

    Args:
        names: Of the classes.
        photos: Of all classes.
        config: The network to build upon.
        training: How.

    Returns:
        A model from images, preprocessed as `config` says, to scores.

    Raises:
        UserError: A class has too few photos that can be read, or the network cannot be had.
    """
    keras.utils.set_random_seed(training.seed)
    backbone = Backbone(build_model(config), config, training.work / "features")
    readable, features = backbone.see(photos)
    parts = split(readable, names, share=training.held_out, seed=training.seed)
    seen = SeenPhotos(features, np.array([photo.class_number for photo in readable]))
    head = train_head(seen, parts, epochs=training.epochs, seed=training.seed)
    scores = head.predict(seen.features[parts.held_out, 0], verbose=0)
    _report(seen.classes[parts.held_out], scores.argmax(axis=-1), names, training.work)
    return join(backbone.network, head)


def _report(true: np.ndarray, predicted: np.ndarray, names: Sequence[str], work: Path) -> None:
    # scikit-learn, which is kept out while Keras is imported: see tensorflow_import.py
    from scripts.training.confusion_plot import plot_confusion  # noqa: PLC0415

    print(f"held-out accuracy: {(true == predicted).mean():.1%} of {len(true)} photos")
    plot = work / "confusion.png"
    plot_confusion(true, predicted, names, plot)
    print(f"which class it takes for which: {plot}", flush=True)
