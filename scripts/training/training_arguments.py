"""How every training script is told how long to train, and from which beginning."""

from __future__ import annotations

from typing import TYPE_CHECKING

from scripts.command_line import seed_number, whole_number

if TYPE_CHECKING:
    import argparse


def add_epochs_and_seed(parser: argparse.ArgumentParser, *, epochs: int) -> None:
    """Offer `--epochs`, with this default, and `--seed`."""
    parser.add_argument(
        "--epochs", type=whole_number, default=epochs, help="at most so many (default: %(default)s)"
    )
    parser.add_argument(
        "--seed",
        type=seed_number,
        metavar="N",
        default=0,
        help="makes a run repeatable (default: 0)",
    )
