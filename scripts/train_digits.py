"""Train a small network on scikit-learn's handwritten digits and export it: real, and without any download."""

from __future__ import annotations

import argparse
import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))

from scripts.command_line import run
from scripts.model_choice import add_models_argument, pick_model, read_models
from scripts.tensorflow_import import importing_tensorflow
from scripts.training.small_pictures import add_training_arguments, check_before_training


def main() -> None:
    """Train, say how good it is on digits it has not seen, export."""
    arguments = _arguments()
    config = pick_model(read_models(arguments.models), arguments.model)
    check_before_training(config, 8, arguments.version)
    # Both take seconds to import, which nobody should wait for to read --help or a mistake.
    from scripts.training import digits_data  # noqa: PLC0415

    with importing_tensorflow():
        from scripts.training import small_cnn  # noqa: PLC0415
    learn, held_out = digits_data.load()
    print(f"{config.name}: training on {len(learn.images)} pictures of digits", flush=True)
    learn = digits_data.with_blurred_copies(learn)
    small_cnn.train_and_export(config, learn, held_out, arguments)


def _arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__)
    add_models_argument(parser)
    parser.add_argument(
        "--model", metavar="NAME", default="digits", help="its table (default: digits)"
    )
    add_training_arguments(parser, epochs=12)
    return parser.parse_args()


if __name__ == "__main__":
    run(main)
