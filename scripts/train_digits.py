"""Train a small network on scikit-learn's handwritten digits and export it: real, and without any download."""

from __future__ import annotations

import argparse
import sys
from pathlib import Path
from typing import TYPE_CHECKING

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))

from scripts.command_line import (
    UserError,
    add_models_argument,
    pick_model,
    read_models,
    run,
    tensorflow_chatter_hidden,
    whole_number,
)
from serving.export.versions import check_can_be_written

if TYPE_CHECKING:
    from model_config import ModelConfig


def main() -> None:
    """Train, say how good it is on digits it has not seen, export."""
    arguments = _arguments()
    config = pick_model(read_models(arguments.models), arguments.model)
    _check_table(config)
    check_can_be_written(config.base_path, arguments.version)
    with tensorflow_chatter_hidden():
        # TensorFlow takes seconds to import, which nobody should wait for to read --help or a mistake.
        from scripts.training import digits_data, small_cnn  # noqa: PLC0415
        from serving.export.keras_export import export_model  # noqa: PLC0415
    learn, held_out = digits_data.load()
    print(f"{config.name}: training on {len(learn.images)} pictures of digits", flush=True)
    model = small_cnn.train(
        digits_data.with_blurred_copies(learn), epochs=arguments.epochs, seed=arguments.seed
    )
    share = small_cnn.accuracy(model, held_out)
    print(f"held-out accuracy: {share:.1%} of {len(held_out.images)} pictures", flush=True)
    folder = export_model(model, config, version=arguments.version)
    print(f"{config.name}: version {folder.name} is in {folder}", flush=True)


def _arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__)
    add_models_argument(parser)
    parser.add_argument(
        "--model", metavar="NAME", default="digits", help="its table (default: digits)"
    )
    parser.add_argument("--version", metavar="N", help="the version to write (default: the next)")
    parser.add_argument(
        "--epochs", type=whole_number, default=20, help="at most so many (default: 20)"
    )
    parser.add_argument("--seed", type=int, default=0, help="makes a run repeatable (default: 0)")
    return parser.parse_args()


def _check_table(config: ModelConfig) -> None:
    """The pictures are what they are; a table that says otherwise would serve wrong answers."""
    if (config.input_size, config.color_mode, config.preprocess) != ((8, 8), "grayscale", "none"):
        raise UserError(
            f'The table [{config.name}] must say input_size = [8, 8], color_mode = "grayscale" and'
            ' preprocess = "none" for these digits.'
        )


if __name__ == "__main__":
    run(main)
