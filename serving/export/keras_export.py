"""Keras model -> the next version of a SavedModel."""

from __future__ import annotations

from functools import partial
from typing import TYPE_CHECKING

import tensorflow as tf

from model_config.made_from import write_record
from serving.export.folding import folded_padding
from serving.export.image_graph import image_shape
from serving.export.signatures import sign
from serving.export.versions import ExportError, write_version
from serving.export.warmup import write_warmup

if TYPE_CHECKING:
    from pathlib import Path

    import keras

    from model_config import ModelConfig


def export_model(model: keras.Model, config: ModelConfig, *, version: str | None = None) -> Path:
    """Write a Keras image classifier as a version that model servers take up.

    Args:
        model: Takes float32 [N, H, W, C] and gives [N, classes].
        config: Says base path, input size, colours, convention and resize filter.
        version: The version's name, digits; None takes the number after the highest.

    Returns:
        The version's folder.

    Raises:
        ExportError: The model does not fit the table, or the version is there already.
    """
    check_fits(model, config)
    return write_version(config.base_path, partial(_write, model, config), version=version)


def check_fits(model: keras.Model, config: ModelConfig) -> None:
    """Refuse a model whose input or output is not what its table says.

    Raises:
        ExportError: With a sentence that names both.
    """
    check_input(model, config)
    if not config.own_decode:
        _check_output(tuple(model.outputs[0].shape[1:]), config)


def check_input(model: keras.Model, config: ModelConfig) -> None:
    """Refuse a model that does not take one image of the table's kind.

    Raises:
        ExportError: With a sentence that names both.
    """
    if len(model.inputs) != 1 or len(model.outputs) != 1:
        raise ExportError(
            f"Model '{config.name}' has {len(model.inputs)} inputs and {len(model.outputs)} outputs;"
            " an image classifier has one of each."
        )
    (image,) = model.inputs
    _check_image(tuple(image.shape[1:]), config)
    if "float" not in image.dtype and config.preprocess != "none":
        raise ExportError(
            f"Model '{config.name}' takes whole numbers ({image.dtype}), which preprocess = \"{config.preprocess}\" does not"
            ' give; set it to "none".'
        )


def _check_image(shape: tuple[int | None, ...], config: ModelConfig) -> None:
    """Images of (height, width) are fine, too: Keras takes the last axis of gray ones off by itself."""
    image = (*shape, 1) if len(shape) == 2 else shape
    if len(image) != 3 or image[-1] not in (None, 1, 3):
        raise ExportError(
            f"Model '{config.name}' takes inputs of shape {shape}; an image classifier takes (height, width, channels):"
            " channels last, 3 for RGB or 1 for grayscale."
        )
    expected = image_shape(config)
    if any(own not in (None, want) for own, want in zip(image, expected, strict=True)):
        raise ExportError(
            f"Model '{config.name}' takes images of shape {image}, but its table says {expected} (height, width,"
            " channels); set 'input_size' and 'color_mode'."
        )


def _check_output(shape: tuple[int | None, ...], config: ModelConfig) -> None:
    if len(shape) != 1:
        raise ExportError(
            f"Model '{config.name}' gives outputs of shape {shape} for an image, and an image classifier one score a class,"
            " (classes,); end it in such a layer, or name a function of your own as 'decode'."
        )
    if config.labels and shape[0] not in (None, len(config.labels)):
        raise ExportError(
            f"Model '{config.name}' gives {shape[0]} scores, but its table has {len(config.labels)} labels; set 'labels', or a"
            " function of your own as 'decode'."
        )


def _write(model: keras.Model, config: ModelConfig, folder: Path) -> None:
    signed = sign(model, config)
    # Serving needs no gradients, and those of swish cannot be saved from a frozen function.
    options = tf.saved_model.SaveOptions(experimental_custom_gradients=False)
    signatures = dict(signed.signatures)
    try:
        with folded_padding(model):
            tf.saved_model.save(signed.module, str(folder), signatures=signatures, options=options)
    except tf.errors.OpError as error:  # "…; No space left on device [Op:SaveV2]"
        reason = error.message.rpartition("; ")[2].partition(" [Op:")[0]
        raise ExportError(f"{folder.parent} cannot be written: {reason}.") from None
    write_warmup(folder, config, signed.signatures)
    write_record(folder, config)
