"""A small convolutional network for small grayscale pictures: what the two training scripts share."""

from __future__ import annotations

from typing import TYPE_CHECKING

import keras

from scripts.training.epoch_lines import EpochLines
from serving.export.keras_export import export_model

if TYPE_CHECKING:
    import argparse
    from pathlib import Path

    from model_config import ModelConfig
    from scripts.training.labelled_images import LabelledImages


def train_and_export(
    config: ModelConfig, learn: LabelledImages, held_out: LabelledImages, how: argparse.Namespace
) -> Path:
    """Train a network, say how good it is on pictures that it has not seen, and write it as a version.

    Args:
        config: The model's table.
        learn: What to learn.
        held_out: What to test with.
        how: What `add_training_arguments` offers.

    Returns:
        The version's folder.

    Raises:
        ExportError: It cannot be written.
    """
    model = train(learn, epochs=how.epochs, seed=how.seed)
    share = accuracy(model, held_out)
    print(f"held-out accuracy: {share:.1%} of {len(held_out.images)} pictures", flush=True)
    folder = export_model(model, config, version=how.version)
    print(f"{config.name}: version {folder.name} is in {folder}", flush=True)
    return folder


def train(data: LabelledImages, *, epochs: int, seed: int) -> keras.Model:
    """Train a fresh network, printing a line for each epoch.

    Args:
        data: What to learn; a tenth of it is kept apart to watch the progress.
        epochs: How many times to go through it at most; it stops when the progress does.
        seed: Makes the run repeatable.

    Returns:
        A model that takes float32 [N, H, W, 1], 0 to 255 (it rescales by itself) and gives [N, classes], summing to 1.
    """
    keras.utils.set_random_seed(seed)
    model = _network(data.images.shape[1:], int(data.classes.max()) + 1)
    model.compile("adam", loss="sparse_categorical_crossentropy", metrics=["accuracy"])
    model.fit(
        data.images.astype("float32"),
        data.classes,
        batch_size=64,
        epochs=epochs,
        validation_split=0.1,
        verbose=0,
        callbacks=[
            EpochLines(epochs),
            keras.callbacks.EarlyStopping(
                monitor="val_accuracy", patience=6, start_from_epoch=4, restore_best_weights=True
            ),
        ],
    )
    return model


def accuracy(model: keras.Model, data: LabelledImages) -> float:
    """The share of pictures whose best class is the right one."""
    scores = model.predict(data.images.astype("float32"), verbose=0, batch_size=256)
    return float((scores.argmax(axis=-1) == data.classes).mean())


def _network(shape: tuple[int, ...], classes: int) -> keras.Model:
    return keras.Sequential(
        [
            keras.Input(shape),
            keras.layers.Rescaling(1 / 255),
            keras.layers.Conv2D(32, 3, padding="same", activation="relu"),
            keras.layers.Conv2D(64, 3, padding="same", activation="relu"),
            keras.layers.MaxPooling2D(),
            keras.layers.Flatten(),
            keras.layers.Dropout(0.4),
            keras.layers.Dense(128, activation="relu"),
            keras.layers.Dense(classes, activation="softmax"),
        ]
    )
