"""What the two scripts that train on small grayscale pictures share before TensorFlow is imported."""

from __future__ import annotations

from typing import TYPE_CHECKING

from scripts.command_line import UserError
from scripts.training.training_arguments import add_epochs_and_seed
from serving.export.versions import check_can_be_written

if TYPE_CHECKING:
    import argparse

    from model_config import ModelConfig


def add_training_arguments(parser: argparse.ArgumentParser, *, epochs: int) -> None:
    """Offer `--version`, `--epochs` and `--seed`."""
    parser.add_argument(
        "--version", metavar="N", help="the version to write, such as 00000123 (default: the next)"
    )
    add_epochs_and_seed(parser, epochs=epochs)


def check_before_training(config: ModelConfig, side: int, version: str | None) -> None:
    """Raise before long work what would be wrong after it.

    Raises:
        UserError: The table says that the pictures are others than they are, and would serve wrong answers.
        ExportError: The version cannot be written.
    """
    told = (config.input_size, config.color_mode, config.preprocess)
    if told != ((side, side), "grayscale", "none"):
        raise UserError(
            f'The table [{config.name}] must say input_size = [{side}, {side}], color_mode = "grayscale" and'
            ' preprocess = "none" for these pictures.'
        )
    check_can_be_written(config.base_path, version)
