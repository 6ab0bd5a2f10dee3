"""The image that a sample request sends, and the labels that it prints."""

from __future__ import annotations

import json
from numbers import Real
from typing import TYPE_CHECKING, TypeGuard

from scripts.command_line import UserError, whole_number

if TYPE_CHECKING:
    import argparse
    from pathlib import Path


def add_top_argument(parser: argparse.ArgumentParser) -> None:
    """Offer `--top`."""
    parser.add_argument(
        "--top",
        type=whole_number,
        metavar="N",
        help="how many labels (default: as the model's table says)",
    )


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
    """Print the labels `[[id, name, score], ...]` of an answer, one a line: score, name, id; another answer as it is."""
    if not are_labels(answer):
        print(json.dumps(answer, ensure_ascii=False))
        return
    for label_id, name, score in answer:
        print(f"{score:.6f}  {name}  ({label_id})")


def are_labels(answer: object) -> TypeGuard[list[tuple[str, str, float]]]:
    """Whether an answer is `[[id, name, score], ...]`: a model's own `decode` may give anything."""
    return isinstance(answer, list) and all(map(_is_label, answer))


def _is_label(item: object) -> bool:
    match item:
        case [str(), str(), Real()]:
            return True
    return False
