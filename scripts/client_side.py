"""Preprocessing on the client's side: by the router's own functions, so that it is the same."""

from __future__ import annotations

from typing import TYPE_CHECKING

from flask_server.errors import RouterError
from flask_server.images import ImageReader
from flask_server.preprocessing import CONVENTIONS
from flask_server.resizing import resized_pixels
from scripts.command_line import UserError

if TYPE_CHECKING:
    import numpy as np

    from model_config import ModelConfig

FORMATS = ("JPEG", "PNG", "GIF", "BMP", "WEBP", "TIFF", "AVIF", "PPM")
MAX_PIXELS = 100_000_000


def preprocessed(encoded: bytes, config: ModelConfig) -> np.ndarray:
    """Do to an image what the router does for this model.

    Returns:
        float32 [H, W, C].

    Raises:
        UserError: It is no image, or the model has a preprocess function of its own.
    """
    if config.own_preprocess or config.input_size is None:
        raise UserError(
            f"Model '{config.name}' preprocesses with its own {config.preprocess}; ask the router."
        )
    try:
        image = ImageReader(FORMATS, MAX_PIXELS).read(encoded, config.color_mode)
    except RouterError as error:
        raise UserError(str(error)) from None
    return CONVENTIONS[config.preprocess](resized_pixels(image, config.input_size, config.resize))
