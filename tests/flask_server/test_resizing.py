from __future__ import annotations

import dataclasses
import io

import numpy as np
import pytest
from PIL import Image

from flask_server.images import ImageReader, Picture
from flask_server.resizing import resized_pixels
from flask_server.settings import IMAGE_FORMATS

READER = ImageReader(IMAGE_FORMATS, max_pixels=1_000_000)

PIXELS = np.random.default_rng(3).integers(0, 256, (37, 53, 3), np.uint8)


def test_height_comes_first() -> None:
    """An input size is height, width; pixels are [height, width, channels]."""
    assert resized_pixels(
        Picture(Image.fromarray(PIXELS), PIXELS[..., 0].size), (4, 6), "bilinear"
    ).shape == (4, 6, 3)
    assert resized_pixels(
        Picture(Image.fromarray(PIXELS[..., 0]), PIXELS[..., 0].size), (4, 6), "box"
    ).shape == (
        4,
        6,
        1,
    )


def test_an_image_of_the_right_size_is_left_alone() -> None:
    """Nothing is resampled where the size fits already."""
    for resize in ("nearest", "bilinear", "lanczos"):
        assert (
            resized_pixels(Picture(Image.fromarray(PIXELS), PIXELS[..., 0].size), (37, 53), resize)
            == PIXELS
        ).all()


def photo(width: int, height: int, *, period: int, orientation: int = 1) -> bytes:
    """A JPEG of waves in both directions, their period in pixels."""
    across, down = (np.sin(np.arange(n) * 2 * np.pi / period) for n in (width, height))
    grey = np.uint8(127 + 60 * (down[:, np.newaxis] + across))
    exif = Image.Exif()
    exif[0x0112] = orientation
    file = io.BytesIO()
    Image.fromarray(grey).convert("RGB").save(file, "JPEG", quality=95, exif=exif)
    return file.getvalue()


def distance(one: np.ndarray, other: np.ndarray) -> float:
    """Root mean square of the difference."""
    return float(np.sqrt(np.mean((one.astype(float) - other) ** 2)))


@pytest.mark.parametrize("resize", ["bilinear", "hamming", "bicubic", "lanczos"])
@pytest.mark.parametrize(("side", "reduction"), [(90, 4), (88, 4), (150, 2), (160, 2), (225, 2)])
def test_a_small_decode_is_as_good_as_the_whole(side: int, reduction: int, resize: str) -> None:
    """Resized from a small decode, waves of eight pixels are what they are resized whole, to a level of 256."""
    file = photo(963, 722, period=722 * 8 // side)
    small = READER.read(file, "rgb", at_least=(side, side))
    assert small.reduction == reduction
    whole = resized_pixels(READER.read(file, "rgb"), (side, side), resize)
    assert distance(resized_pixels(small, (side, side), resize), whole) < 1


@pytest.mark.parametrize(("side", "reduction"), [(90, 4), (88, 4), (180, 2), (225, 2)])
def test_what_a_small_decode_blurs_is_taken_back(side: int, reduction: int) -> None:
    """Of the difference that a small decode makes to waves of six pixels, more than a quarter is taken back; most of the rest is rounding."""
    file = photo(960, 720, period=720 * 6 // side)
    small = READER.read(file, "rgb", at_least=(side, side))
    assert small.reduction == reduction
    blurred = dataclasses.replace(small, reduction=1)
    whole = resized_pixels(READER.read(file, "rgb"), (side, side), "bilinear")
    before = distance(resized_pixels(blurred, (side, side), "bilinear"), whole)
    assert distance(resized_pixels(small, (side, side), "bilinear"), whole) < 0.75 * before


@pytest.mark.parametrize("orientation", range(1, 9))
def test_a_turned_photo_is_refocused_too(orientation: int) -> None:
    """However EXIF says that it lies, a photo is as near to the whole one, the fractions of pixels at its edges included."""
    file = photo(963, 722, period=60, orientation=orientation)
    small = READER.read(file, "rgb", at_least=(90, 90))
    assert small.reduction == 4
    whole = resized_pixels(READER.read(file, "rgb"), (90, 90), "bilinear")
    assert distance(resized_pixels(small, (90, 90), "bilinear"), whole) < 1


@pytest.mark.parametrize("level", [0, 1, 128, 254, 255])
def test_an_even_surface_stays_even(level: int) -> None:
    """No level is changed where there is nothing to see, the darkest and the brightest included."""
    picture = Picture(Image.new("RGB", (90, 70), (level, level, level)), 360 * 280, reduction=4)
    assert (resized_pixels(picture, (32, 32), "bilinear") == level).all()


@pytest.mark.parametrize("size", [(1, 1), (1, 9), (2, 2), (3, 1)])
def test_the_smallest_sizes(size: tuple[int, int]) -> None:
    """A result without inner pixels has nothing to take back."""
    picture = Picture(Image.new("L", (40, 40), 7), 160 * 160, reduction=4)
    assert (resized_pixels(picture, size, "bilinear") == 7).all()
