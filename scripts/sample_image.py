"""The image that a sample request sends, and the labels that it prints."""

from __future__ import annotations

from numbers import Real
from typing import TYPE_CHECKING

from scripts.command_line import UserError

if TYPE_CHECKING:
    from pathlib import Path


def read_image(path: Path) -> bytes:
    """Read an image file.

    Raises:
        UserError: It cannot be read.
    """
    try:
        return path.read_bytes()
    except OSError as error:
        raise UserError(f"The image {path} cannot be read: {error.strerror}.") from None


def print_labels(answer: object) -> None:
    """Print the labels `[[id, name, score], ...]` of an answer, one a line: score, name, id.

    Raises:
        UserError: It holds something else.
    """
    for label in answer if isinstance(answer, list) else [answer]:
        match label:
            case [str(label_id), str(name), Real() as score]:
                print(f"{float(score):.6f}  {name}  ({label_id})")
            case _:
                raise UserError(f"The answer holds no labels: {str(answer)[:200]}")
