from __future__ import annotations

import numpy as np
from PIL import Image

from flask_server.images import Picture
from flask_server.preprocessing import resized_pixels

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
