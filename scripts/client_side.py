"""Preprocessing and decoding on the client's side: by the router's own functions, so that they are the same."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

from flask_server.decoding import top_labels
from flask_server.errors import RouterError
from flask_server.images import ImageReader
from flask_server.preprocessing import CONVENTIONS
from flask_server.resizing import resized_pixels
from flask_server.settings import IMAGE_FORMATS
from scripts.command_line import UserError

if TYPE_CHECKING:
    from model_config import ModelConfig

# A decoder that the router keeps from strangers may read one's own.
FORMATS = (*IMAGE_FORMATS, "AVIF")
MAX_PIXELS = 100_000_000


class OwnPreprocessError(UserError):
    """What the model does to an image only the router can do: this is so for every image."""


def resized(encoded: bytes, config: ModelConfig) -> np.ndarray:
    """Decode and resize an image as the router does for this model.

    Returns:
        uint8 [H, W, C].

    Raises:
        OwnPreprocessError: The model has a preprocess function of its own.
        UserError: It is no image.
    """
    if config.preprocess not in CONVENTIONS or config.input_size is None:
        raise OwnPreprocessError(
            f"Model '{config.name}' preprocesses with its own {config.preprocess}; ask the router."
        )
    try:
        image = ImageReader(FORMATS, MAX_PIXELS).read(encoded, config.color_mode)
    except RouterError as error:
        raise UserError(str(error)) from None
    return resized_pixels(image, config.input_size, config.resize)


def preprocessed(encoded: bytes, config: ModelConfig) -> np.ndarray:
    """Do to an image what the router does for this model: float32 [H, W, C].

    Raises:
        UserError: As `resized`.
    """
    return CONVENTIONS[config.preprocess](resized(encoded, config))


def best_labels(scores: object, config: ModelConfig, top: int) -> list[list[Any]]:
    """The labels `[[id, name, score], ...]` that a model server's scores of one image mean.

    Raises:
        UserError: They are no scores, or not one for each label.
    """
    try:
        return top_labels(np.asarray(scores, np.float32), top, config.labels)
    except RouterError as error:
        raise UserError(str(error)) from None
    except (ValueError, TypeError):  # text, or lists of different lengths
        raise UserError(f"The model server answered no scores: {str(scores)[:200]}") from None
