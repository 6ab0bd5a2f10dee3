"""Write Keras models as SavedModels: the next version under each one's base path, ready for any model server."""

from __future__ import annotations

import argparse
import sys
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))

from model_config import command_to_type
from scripts.command_line import UserError, run
from scripts.model_choice import add_models_argument, pick_model, read_models
from scripts.tensorflow_import import importing_tensorflow
from scripts.weights_files import can_be_built, find_weights
from serving.export.versions import ExportError, check_can_be_written

if TYPE_CHECKING:
    from collections.abc import Callable

    from model_config import Deployment, ModelConfig

EPILOG = """\
Weights are looked for in this order: $WEIGHTS_DIR/<model>.weights.h5, .h5, .keras (WEIGHTS_DIR: weights/ of the
project), then what the table's 'weights' says: a file, "random", or "imagenet" (downloaded by Keras).
Exit status: 1 for a mistake, 3 when the weights cannot be had; the last line on standard error says what to do.
"""


def main() -> None:
    """Export the models that the command line asks for."""
    arguments = _arguments()
    models = _models(read_models(arguments.models), arguments)
    if not models:
        print("no table has weights to export from", flush=True)
    failures: list[Exception] = []
    models = _each(models, partial(_check, arguments), failures)
    if models:
        with importing_tensorflow():
            # TensorFlow takes seconds to import, which nobody should wait for to read --help or a mistake.
            from scripts.saved_model_export import export  # noqa: PLC0415
        how = {"version": arguments.version, "bfloat16": arguments.bfloat16}
        _each(models, partial(export, **how), failures)
    _raise_together(failures)


def _each(
    models: list[ModelConfig], do: Callable[[ModelConfig], object], failures: list[Exception]
) -> list[ModelConfig]:
    """Do it for each of the models, and keep why it could not be done; the result are those it was done for."""
    done = []
    for config in models:
        try:
            do(config)
        except (UserError, ExportError) as error:
            failures.append(error)
        else:
            done.append(config)
    return done


def _check(arguments: argparse.Namespace, config: ModelConfig) -> None:
    """What can be told of a model's export before TensorFlow is there."""
    check_can_be_written(config.base_path, arguments.version)
    find_weights(config)


def _arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, epilog=EPILOG)
    which = parser.add_mutually_exclusive_group(required=True)
    which.add_argument("--model", metavar="NAME", help="the table of the models file to export")
    which.add_argument("--all", action="store_true", help="every table with weights")
    add_models_argument(parser)
    parser.add_argument(
        "--version",
        metavar="N",
        help="the version to write (default: the next); 00000123 keeps its zeros",
    )
    parser.add_argument(
        "--bfloat16",
        action="store_true",
        help="compute in bfloat16, and print how far the answers move; pays only on processors that have it",
    )
    return parser.parse_args()


def _models(deployment: Deployment, arguments: argparse.Namespace) -> list[ModelConfig]:
    if not arguments.all:
        return [_exportable(deployment, pick_model(deployment, arguments.model))]
    models = [config for config in deployment.models.values() if config.train is None]
    return [config for config in models if can_be_built(config)]


def _exportable(deployment: Deployment, config: ModelConfig) -> ModelConfig:
    if config.train is not None:
        command = command_to_type(config.train, "--models", deployment.path, "--model", config.name)
        raise UserError(f"Model '{config.name}' is trained here; run: {command}")
    return config


def _raise_together(failures: list[Exception]) -> None:
    """Let the last failure end the program after the others have been told."""
    for error in failures[:-1]:
        print(error, file=sys.stderr)
    if failures:
        raise failures[-1]


if __name__ == "__main__":
    run(main)
