"""Build one model of the models file and export it, telling the person what happens."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING

import keras
import numpy as np

from scripts.keras_models import build_model
from serving.export.bfloat16 import in_bfloat16
from serving.export.image_graph import apply_convention
from serving.export.keras_export import check_fits, export_model

if TYPE_CHECKING:
    from pathlib import Path

    from model_config import ModelConfig


def export(config: ModelConfig, *, version: str | None = None, bfloat16: bool = False) -> Path:
    """Build a model and write it as a version.

    Raises:
        UserError: The model cannot be built.
        ExportError: It cannot be exported.
    """
    started = time.monotonic()
    print(f"{config.name}: building {config.architecture or 'the model'}", flush=True)
    model = build_model(config)
    check_fits(model, config)
    if bfloat16:
        model = _announce_bfloat16(model, config)
    folder = export_model(model, config, version=version)
    seconds = time.monotonic() - started
    print(f"{config.name}: version {folder.name} is in {folder} ({seconds:.0f} s)", flush=True)
    return folder


def _announce_bfloat16(model: keras.Model, config: ModelConfig) -> keras.Model:
    """The model in bfloat16, after printing how its answers to random images differ."""
    lighter = in_bfloat16(model)
    shape = (16, *(config.input_size or ()), config.channels)
    images = np.random.default_rng(0).integers(0, 256, shape).astype(np.float32)
    if not config.own_preprocess:
        images = np.asarray(apply_convention(images, config.preprocess))
    answers = (keras.tree.flatten(each.predict(images, verbose=0)) for each in (model, lighter))
    exact, rounded = (np.asarray(scores, np.float32) for (scores,) in answers)
    same = np.mean(exact.argmax(axis=-1) == rounded.argmax(axis=-1))
    print(
        f"{config.name}: in bfloat16, {same:.0%} of 16 random images keep their best class, scores move by at most"
        f" {np.abs(exact - rounded).max():.4f}",
        flush=True,
    )
    return lighter
