"""A classifier upon the features of a network that stays as it is."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import keras
import numpy as np

from scripts.training.epoch_lines import EpochLines

if TYPE_CHECKING:
    from scripts.photo_folders import Split

# With fewer photos than this, none can be spared to watch the progress.
ENOUGH_TO_WATCH = 50


@dataclass(frozen=True, slots=True)
class SeenPhotos:
    """What the network has seen in photos, and what they show."""

    features: np.ndarray
    """float32 [photos, 2, features]: as it is, and mirrored."""
    classes: np.ndarray
    """integers [photos]."""


def train_head(seen: SeenPhotos, split: Split, *, epochs: int, seed: int) -> keras.Model:
    """Train a layer of scores, printing its progress; it stops when that stops.

    Returns:
        A model that takes float32 [N, features] and gives [N, classes], summing to 1.
    """
    keras.utils.set_random_seed(seed)
    learn = np.random.default_rng(seed).permutation(split.learn)
    watched = len(learn) // 10 if len(learn) >= ENOUGH_TO_WATCH else 0
    watch, learn = learn[:watched], learn[watched:]
    features = np.concatenate(seen.features[learn])
    classes = np.repeat(seen.classes[learn], 2)
    model = _head(features, int(seen.classes.max()) + 1)
    model.compile("adam", loss="sparse_categorical_crossentropy", metrics=["accuracy"])
    model.fit(
        features,
        classes,
        batch_size=32,
        epochs=epochs,
        validation_data=(seen.features[watch, 0], seen.classes[watch]) if watched else None,
        verbose=0,
        callbacks=[
            EpochLines(epochs, every=10),
            keras.callbacks.EarlyStopping(
                monitor="val_loss" if watched else "loss",
                patience=10,
                min_delta=1e-3,
                restore_best_weights=True,
            ),
        ],
    )
    return model


def join(network: keras.Model, head: keras.Model) -> keras.Model:
    """The network and its head as one model from images to scores."""
    return keras.Model(network.inputs[0], head(network.outputs[0]))


def _head(features: np.ndarray, classes: int) -> keras.Model:
    """Features are brought to the same scale first: networks differ in it by orders of magnitude."""
    variance = features.var(axis=0)
    # A feature that no photo has shown must not become huge when the first one does.
    deviation = np.sqrt(variance + 0.01 * variance.mean())
    scale = keras.layers.Rescaling(1 / deviation, offset=-features.mean(axis=0) / deviation)
    return keras.Sequential(
        [
            keras.Input(features.shape[1:]),
            scale,
            keras.layers.Dropout(0.3),
            keras.layers.Dense(classes, activation="softmax"),
        ]
    )
