"""RGB image -> pixels -> the numbers a model was trained on: one function per convention, as Keras defines them.

The conventions are those of `keras.applications.imagenet_utils.preprocess_input`; the order of the operations is its
own too, so that the float32 results are equal to the bit.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
from PIL import Image

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from numpy.typing import NDArray

    from flask_server.images import Picture

    Convention = Callable[[NDArray[np.uint8]], NDArray[np.float32]]

_FILTERS = {
    "nearest": Image.Resampling.NEAREST,
    "box": Image.Resampling.BOX,
    "bilinear": Image.Resampling.BILINEAR,
    "hamming": Image.Resampling.HAMMING,
    "bicubic": Image.Resampling.BICUBIC,
    "lanczos": Image.Resampling.LANCZOS,
}
_CAFFE_MEAN_BGR = np.array([103.939, 116.779, 123.68], np.float32)
_TORCH_MEAN = np.array([0.485, 0.456, 0.406], np.float32)
_TORCH_DEVIATION = np.array([0.229, 0.224, 0.225], np.float32)


def resized_pixels(picture: Picture, input_size: tuple[int, int], resize: str) -> NDArray[np.uint8]:
    """Resize a picture and return its pixels.

    Args:
        picture: In the model's colours.
        input_size: Height, width in pixels, as Keras orders them.
        resize: A key of `model_config`'s filters; all but `nearest` are antialiased, as Pillow does.

    Returns:
        uint8 [height, width, channels].
    """
    height, width = input_size
    image = picture.image
    # Pillow wants width first; this is the one place that turns them round.
    if image.size != (width, height):
        image = image.resize((width, height), _FILTERS[resize], box=picture.box)
    return np.asarray(image).reshape(height, width, -1)


def tf(pixels: NDArray[np.uint8]) -> NDArray[np.float32]:
    """Scale to [-1, 1]."""
    scaled = pixels.astype(np.float32)
    scaled /= 127.5
    scaled -= 1.0
    return scaled


def caffe(pixels: NDArray[np.uint8]) -> NDArray[np.float32]:
    """RGB -> BGR, ImageNet's mean subtracted, not scaled."""
    centred = pixels[..., ::-1].astype(np.float32)
    centred -= _CAFFE_MEAN_BGR
    return centred


def torch(pixels: NDArray[np.uint8]) -> NDArray[np.float32]:
    """Scale to [0, 1], then by ImageNet's mean and standard deviation."""
    scaled = pixels.astype(np.float32)
    scaled /= 255.0
    scaled -= _TORCH_MEAN
    scaled /= _TORCH_DEVIATION
    return scaled


def none(pixels: NDArray[np.uint8]) -> NDArray[np.float32]:
    """The plain pixels, 0 to 255: the model scales them itself."""
    return pixels.astype(np.float32)


CONVENTIONS: Mapping[str, Convention] = {"tf": tf, "caffe": caffe, "torch": torch, "none": none}
