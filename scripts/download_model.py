"""Download ImageNet weights into WEIGHTS_DIR, where exports look first: to carry them to a machine without a network."""

from __future__ import annotations

import argparse
import sys
from pathlib import Path
from typing import TYPE_CHECKING

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))

from scripts.command_line import UserError, run
from scripts.model_choice import add_models_argument, pick_model_or_class, read_models
from scripts.tensorflow_import import importing_tensorflow

if TYPE_CHECKING:
    from model_config import Deployment, ModelConfig


def main() -> None:
    """Download what the command line asks for."""
    arguments = _arguments()
    models = _models(read_models(arguments.models), arguments)
    if not models:
        print('no table says weights = "imagenet"')
    with importing_tensorflow():
        # TensorFlow takes seconds to import, which nobody should wait for to read --help or a mistake.
        from scripts.keras_models import download_weights  # noqa: PLC0415
    for config in models:
        print(f"{config.name}: {download_weights(config)}", flush=True)


def _arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        description=__doc__, epilog="WEIGHTS_DIR is weights/ of the project unless it is set."
    )
    which = parser.add_mutually_exclusive_group(required=True)
    which.add_argument(
        "--model",
        metavar="NAME",
        help="the table of the models file to download for, or a class of keras.applications",
    )
    which.add_argument("--all", action="store_true", help='every table with weights = "imagenet"')
    add_models_argument(parser)
    return parser.parse_args()


def _models(deployment: Deployment, arguments: argparse.Namespace) -> list[ModelConfig]:
    if arguments.all:
        return [model for model in deployment.models.values() if model.weights == "imagenet"]
    config = pick_model_or_class(deployment, arguments.model)
    if config.weights != "imagenet":
        raise UserError(
            f"Model '{config.name}' has no ImageNet weights to download: its table does not say"
            ' weights = "imagenet".'
        )
    return [config]


if __name__ == "__main__":
    run(main)
