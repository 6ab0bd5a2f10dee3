"""Folders of generated photos that a network can tell apart, each a little different."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
from PIL import Image, ImageDraw

if TYPE_CHECKING:
    from pathlib import Path

CLASSES = ("checkers", "discs", "stripes")


def make_photo(name: str, seed: int, side: int = 120) -> Image.Image:
    """A picture of one of the classes, in shades, sizes and places of its own."""
    rng = np.random.default_rng([seed, CLASSES.index(name)])
    ground = tuple(rng.integers(20, 110, 3).tolist())
    ink = tuple(np.roll(rng.integers([170, 60, 60], [250, 120, 120]), CLASSES.index(name)).tolist())
    image = Image.new("RGB", (side, side), ground)
    draw = ImageDraw.Draw(image)
    step = int(rng.integers(14, 22))
    for y in range(0, side, step):
        if name == "stripes":
            draw.rectangle([0, y, side, y + step // 2], fill=ink)
        elif name == "checkers":
            for x in range((y // step % 2) * step, side, 2 * step):
                draw.rectangle([x, y, x + step - 1, y + step - 1], fill=ink)
    if name == "discs":
        x, y, radius = (int(n) for n in rng.integers(30, 50, 3))
        draw.ellipse([x, y, x + 2 * radius, y + 2 * radius], fill=ink)
    return image


def make_folders(folder: Path, *, per_class: int) -> None:
    """One folder per class, with so many photos in each."""
    for name in CLASSES:
        (folder / name).mkdir(parents=True)
        for number in range(per_class):
            suffix = ("png", "jpg")[number % 2]
            make_photo(name, number).save(folder / name / f"{number}.{suffix}")
