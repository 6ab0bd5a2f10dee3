"""Photos in one folder per class."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from scripts.command_line import UserError

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

SUFFIXES = frozenset(
    (".avif", ".bmp", ".gif", ".jpeg", ".jpg", ".png", ".ppm", ".tif", ".tiff", ".webp")
)


@dataclass(frozen=True, slots=True)
class Photo:
    """A file and the number of the class that it shows."""

    path: Path
    class_number: int


@dataclass(frozen=True, slots=True)
class Split:
    """Indices of the photos to learn from and of those held out."""

    learn: np.ndarray
    held_out: np.ndarray


def find_pictures(folder: Path) -> list[Path]:
    """The files with a suffix of pictures in a folder and those below it, in the order of their names.

    Raises:
        UserError: It is no folder, or there is none.
    """
    if not folder.is_dir():
        raise UserError(f"{folder} is not a folder.")
    files = folder.rglob("*")
    pictures = [file for file in files if file.suffix.lower() in SUFFIXES and file.is_file()]
    if not pictures:
        raise UserError(f"{folder} holds no pictures ({', '.join(sorted(SUFFIXES))}).")
    return sorted(pictures)


def find_classes(folder: Path) -> tuple[list[str], list[Photo]]:
    """The classes, which are the names of the folders in `folder`, and their photos.

    Raises:
        UserError: There are not two such folders, or one holds no pictures.
    """
    if not folder.is_dir():
        raise UserError(f"{folder} is not a folder.")
    folders = sorted(f for f in folder.iterdir() if f.is_dir() and not f.name.startswith("."))
    if len(folders) < 2:
        raise UserError(f"{folder} must hold one folder of pictures for each class, two at least.")
    photos = [
        Photo(path, number)
        for number, class_folder in enumerate(folders)
        for path in find_pictures(class_folder)
    ]
    return [class_folder.name for class_folder in folders], photos


def split(photos: Sequence[Photo], names: Sequence[str], *, share: float, seed: int) -> Split:
    """Hold out a share of each class, one photo at least.

    Raises:
        UserError: A class has not two photos, one to learn from and one to test with.
    """
    rng = np.random.default_rng(seed)
    numbers = np.array([photo.class_number for photo in photos])
    learn, held_out = [], []
    for number, name in enumerate(names):
        members = rng.permutation(np.flatnonzero(numbers == number))
        if len(members) < 2:
            raise UserError(
                f"The class '{name}' has {len(members)} photo that can be read; it needs two at least."
            )
        count = min(max(1, round(share * len(members))), len(members) - 1)
        held_out.append(members[:count])
        learn.append(members[count:])
    return Split(np.concatenate(learn), np.concatenate(held_out))
