"""Photo-like JPEGs made from nothing but a random generator, so that anyone may keep and share them (CC0)."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
from PIL import Image, ImageDraw, ImageFilter

if TYPE_CHECKING:
    from collections.abc import Iterable
    from pathlib import Path

SIZES = {0.3: (640, 480), 1.2: (1280, 960), 4.3: (2400, 1800), 12.0: (4000, 3000)}
"""Megapixels -> width, height."""
JPEG_QUALITY = 90
SEED = 20
SHAPES = 60
FALL_OFF = 1.1
"""Amplitude of an octave of noise is its period to this power: about 1/f, as in photos."""
GRAIN = 5.0


@dataclass(frozen=True, slots=True)
class Photo:
    """A JPEG file of a known size."""

    megapixels: float
    path: Path

    @property
    def jpeg(self) -> bytes:
        """The file's bytes."""
        return self.path.read_bytes()


def make_photos(folder: Path, megapixels: Iterable[float]) -> tuple[Photo, ...]:
    """Write the photos that `folder` has not yet: the largest is drawn, the others are made smaller from it."""
    folder.mkdir(parents=True, exist_ok=True)
    photos = tuple(Photo(size, folder / f"photo_{size}mp.jpg") for size in megapixels)
    missing = [photo for photo in photos if not photo.path.exists()]
    if missing:
        random = np.random.default_rng(SEED)
        scene = _draw(random, *SIZES[max(SIZES)])
        for photo in missing:
            image = scene.resize(SIZES[photo.megapixels], Image.Resampling.LANCZOS)
            _with_grain(random, image).save(photo.path, quality=JPEG_QUALITY)
    return photos


def _draw(random: np.random.Generator, width: int, height: int) -> Image.Image:
    """Soft light, things with edges before it, and texture on everything."""
    scene = np.asarray(_shapes(random, width, height), np.float32)
    return _image_of(scene + _octaves(random, width, height)[..., np.newaxis])


def _with_grain(random: np.random.Generator, image: Image.Image) -> Image.Image:
    """What a sensor adds to each pixel: it is this that makes a photo's file large."""
    grain = random.normal(0.0, GRAIN, (image.height, image.width, 1)).astype(np.float32)
    return _image_of(np.asarray(image, np.float32) + grain)


def _image_of(pixels: np.ndarray) -> Image.Image:
    return Image.fromarray(np.clip(pixels, 0, 255).astype(np.uint8))


def _octaves(random: np.random.Generator, width: int, height: int) -> np.ndarray:
    """float32 [height, width]: noise whose octaves fall off towards fine detail."""
    total = np.zeros((height, width), np.float32)
    for octave in range(2, 10):
        cells = 2**octave
        noise = Image.fromarray(random.normal(0.0, 1.0, (cells, cells)).astype(np.float32))
        smooth = noise.resize((width, height), Image.Resampling.BICUBIC)
        total += np.asarray(smooth) * (256.0 * cells**-FALL_OFF)
    return total


def _shapes(random: np.random.Generator, width: int, height: int) -> Image.Image:
    image = Image.fromarray(random.integers(60, 200, (3, 4, 3), dtype=np.uint8))
    image = image.resize((width, height), Image.Resampling.BICUBIC)
    draw = ImageDraw.Draw(image)
    for _ in range(SHAPES):
        x, y = random.integers(0, width), random.integers(0, height)
        w, h = random.integers(width // 60, width // 5, 2)
        color = tuple(int(value) for value in random.integers(0, 256, 3))
        shape = draw.ellipse if random.random() < 0.5 else draw.rectangle
        shape((x - w, y - h, x + w, y + h), fill=color)
    return image.filter(ImageFilter.GaussianBlur(1))
