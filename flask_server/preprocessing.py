"""Pixels -> the numbers a model was trained on: one function per convention, as Keras defines them.

The conventions are those of `keras.applications.imagenet_utils.preprocess_input`; the order of the operations is its
own too, so that the float32 results are equal to the bit.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from numpy.typing import NDArray

    Convention = Callable[[NDArray[np.uint8]], NDArray[np.float32]]

_CAFFE_MEAN_BGR = np.array([103.939, 116.779, 123.68], np.float32)
_TORCH_MEAN = np.array([0.485, 0.456, 0.406], np.float32)
_TORCH_DEVIATION = np.array([0.229, 0.224, 0.225], np.float32)


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
