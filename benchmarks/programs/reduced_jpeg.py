"""Decode a JPEG smaller than it is, as libjpeg can: at a half, a quarter or an eighth of its size."""

from __future__ import annotations

from typing import BinaryIO

from PIL import Image


def open_reduced(file: BinaryIO, side: int, spare: int) -> Image.Image:
    """Open an image as RGB; a JPEG is decoded at the smallest scale that leaves `spare` times `side` pixels."""
    image = Image.open(file)
    image.draft("RGB", (spare * side, spare * side))
    image.load()
    return image if image.mode == "RGB" else image.convert("RGB")  # convert would copy
