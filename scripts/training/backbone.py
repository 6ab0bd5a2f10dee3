"""What a trained network sees in photos: the features in front of its classifier, kept on disk."""

from __future__ import annotations

import hashlib
import os
from typing import TYPE_CHECKING

import keras
import numpy as np

from scripts.client_side import preprocessed
from scripts.command_line import UserError
from scripts.time_left import TimeLeft

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

    from model_config import ModelConfig
    from scripts.photo_folders import Photo


class Backbone:
    """A network without its classifier."""

    def __init__(self, model: keras.Model, config: ModelConfig, cache: Path) -> None:
        """Take a whole classifier apart; `cache` is a folder for what it sees."""
        self.network = keras.Model(model.inputs[0], keras.layers.Flatten()(_features(model)))
        self._config = config
        self._cache = cache
        self._digest = _digest(self.network, config)

    def see(self, photos: Sequence[Photo]) -> tuple[list[Photo], np.ndarray]:
        """Look at photos, leaving out those that cannot be read.

        What was seen before is read from the cache, so an interrupted run is taken up where it ended.

        Returns:
            The photos that could be read, and float32 [photos, 2, features]: of each as it is, and mirrored.

        Raises:
            UserError: None can be read.
        """
        progress = TimeLeft(len(photos), "photos seen")
        seen: list[tuple[Photo, np.ndarray]] = []
        for photo in photos:
            try:
                seen.append((photo, self._see(_content(photo.path))))
            except UserError as error:
                print(f"left out: {photo.path}: {error}", flush=True)
            skipped = progress.done + 1 - len(seen)
            progress.step(f"{skipped} left out" if skipped else "")
        if not seen:
            raise UserError("None of the photos can be read.")
        return [photo for photo, _ in seen], np.stack([features for _, features in seen])

    def _see(self, encoded: bytes) -> np.ndarray:
        known = self._cache / f"{hashlib.sha256(self._digest + encoded).hexdigest()}.npy"
        if known.is_file():
            return np.asarray(np.load(known))
        image = preprocessed(encoded, self._config)
        features = self.network.predict_on_batch(np.stack([image, image[:, ::-1]]))
        beside = known.with_suffix(f".{os.getpid()}.npy")
        known.parent.mkdir(parents=True, exist_ok=True)
        np.save(beside, features)
        beside.replace(known)
        return np.asarray(features)


def _content(path: Path) -> bytes:
    try:
        return path.read_bytes()
    except OSError as error:
        raise UserError(f"{error.strerror}.") from None


def _features(model: keras.Model) -> keras.KerasTensor:
    """What goes into the classifier: the last dense layer's input, or what the last global pooling gives."""
    poolings = (keras.layers.GlobalAveragePooling2D, keras.layers.GlobalMaxPooling2D)
    for layer in reversed(model.layers):
        if isinstance(layer, keras.layers.Dense):
            return layer.input
        if isinstance(layer, poolings):
            return layer.output
    return model.outputs[0]


def _digest(network: keras.Model, config: ModelConfig) -> bytes:
    """Changes with whatever changes the features."""
    facts = (config.preprocess, config.resize, config.color_mode, config.input_size)
    digest = hashlib.sha256(repr(facts).encode())
    for weights in network.get_weights():
        digest.update(np.ascontiguousarray(weights).tobytes())
    return digest.digest()
