"""Picture -> pixels of the size that a model takes, as if no JPEG had been decoded small."""

from __future__ import annotations

from functools import lru_cache
from typing import TYPE_CHECKING, NamedTuple

import numpy as np
from PIL import Image

from model_config.model import RESIZE_FILTERS

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from flask_server.images import Picture

    Taps = tuple[NDArray[np.int16], NDArray[np.int16]]

_FILTERS = {name: Image.Resampling[name.upper()] for name in RESIZE_FILTERS}
_TAP_BITS = 9
_LARGEST_TAP = 2**-4  # so that the sum of four, times 255, stays within 16 bits
_RAMP_TOP = 2**30


class _Side(NamedTuple):
    """One direction of a resizing."""

    length: int
    """Of the image, in its pixels."""
    start: float
    end: float
    """Where in it the photo lies."""
    size: int
    """What it becomes, in pixels of the result."""

    @property
    def scale(self) -> float:
        """Pixels of the result for each of the image."""
        return self.size / (self.end - self.start)


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
    pixels = np.asarray(image).reshape(height, width, -1)
    return pixels if picture.reduction == 1 else _refocused(pixels, picture, resize)


def _refocused(pixels: NDArray[np.uint8], picture: Picture, resize: str) -> NDArray[np.uint8]:
    """Take back what resizing a JPEG that was decoded small does to it, compared with resizing the whole.

    Each pixel of the small decode is the mean of a block (libjpeg's reduced inverse DCTs give just that), and the filter
    meets few of them: so its effective kernel lies a little beside the wanted one and is, mostly, a little wider. How much
    differs from pixel to pixel. Three taps a direction give it the first two moments of the wanted kernel.
    """
    height, width, channels = pixels.shape
    left, upper, right, lower = picture.box or (0, 0, *picture.image.size)
    rows = pixels.reshape(height, width * channels).astype(np.int16)
    change = np.full_like(rows, 1 << _TAP_BITS - 1)  # a half, to round
    side = _Side(picture.image.height, upper, lower, height)
    before, after = _taps(side, picture.reduction, resize)
    inner = rows[1:-1]
    change[1:-1] += (rows[:-2] - inner) * before[:, np.newaxis]
    change[1:-1] += (rows[2:] - inner) * after[:, np.newaxis]
    side = _Side(picture.image.width, left, right, width)
    before, after = _taps(side, picture.reduction, resize)
    inner = rows[:, channels:-channels]
    change[:, channels:-channels] += (rows[:, : -2 * channels] - inner) * before.repeat(channels)
    change[:, channels:-channels] += (rows[:, 2 * channels :] - inner) * after.repeat(channels)
    change >>= _TAP_BITS
    rows += change
    return np.clip(rows, 0, 255, out=rows).astype(np.uint8).reshape(pixels.shape)


@lru_cache(maxsize=256)
def _taps(side: _Side, reduction: int, resize: str) -> Taps:
    """What to add of each inner pixel's difference to the one before it and to the one after it.

    Args:
        side: How the small decode is resized.
        reduction: How many pixels of the photo one of its pixels is the mean of.
        resize: The filter.

    Returns:
        int16 [size - 2] each, in units of 2 ** -_TAP_BITS.
    """
    mean, square = _moments(side, resize)
    whole = round((side.end - side.start) * reduction)
    wanted_mean, wanted_square = _moments(_Side(whole, 0, whole, side.size), resize)
    block = (1 - reduction**-2) / 12 * side.scale**2  # the variance of a block's mean
    shift, width = wanted_mean - mean, wanted_square - square - block
    taps = np.clip([width - shift, width + shift], -2 * _LARGEST_TAP, 2 * _LARGEST_TAP) / 2
    before, after = np.rint(taps[:, 1:-1] * 2**_TAP_BITS).astype(np.int16)
    return before, after


def _moments(side: _Side, resize: str) -> NDArray[np.float64]:
    """First and second moment of the filter's kernel at each pixel of the result, about that pixel and in its unit.

    Pillow tells by resizing the two ramps x and x². They are 32-bit integers: as float32 they would be too coarse.

    Returns:
        float64 [2, size].
    """
    middle = side.size / 2
    reach = middle + 4
    places = (np.arange(side.length) + 0.5 - side.start) * side.scale - middle
    units = _RAMP_TOP / np.array([[reach], [reach**2]])
    ramps = Image.fromarray(np.rint([places, places**2] * units).astype(np.int32))
    resized = ramps.resize((side.size, 2), _FILTERS[resize], box=(side.start, 0, side.end, 2))
    mean, square = np.asarray(resized) / units
    centres = np.arange(side.size) + 0.5 - middle
    return np.stack([mean - centres, square - 2 * centres * mean + centres**2])
