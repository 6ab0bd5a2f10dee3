"""Which models file a script is about, and which of its models."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from model_config import ARCHITECTURES, PROJECT, ModelConfig, load_deployment, models_file
from model_config.checks import nearest
from scripts.command_line import UserError

if TYPE_CHECKING:
    import argparse

    from model_config import Deployment


def add_models_argument(parser: argparse.ArgumentParser) -> None:
    """Offer `--models FILE`."""
    parser.add_argument(
        "--models",
        type=Path,
        metavar="FILE",
        help="the models file (default: $MODELS_FILE, else the project's models.toml)",
    )


def read_models(path: Path | None) -> Deployment:
    """Read the models file that `--models` named, or the default one."""
    return load_deployment(path or models_file())


def pick_model(deployment: Deployment, name: str) -> ModelConfig:
    """Find a model's table.

    Raises:
        UserError: There is none of that name.
    """
    if name in deployment.models:
        return deployment.models[name]
    hint = nearest(name, deployment.models, otherwise=f"it has {', '.join(deployment.models)}.")
    raise UserError(f"{deployment.path} has no table [{name}]; {hint}")


def pick_model_or_class(deployment: Deployment, name: str) -> ModelConfig:
    """Find a model's table, or take a class of `keras.applications` for a model with ImageNet's weights.

    Raises:
        UserError: It is neither.
    """
    if name in deployment.models:
        return deployment.models[name]
    if name not in ARCHITECTURES:
        names = [*deployment.models, *ARCHITECTURES]
        hint = nearest(name, names, otherwise="name another.")
        raise UserError(
            f"'{name}' is neither a table of {deployment.path} nor a class of keras.applications; {hint}"
        )
    convention, side = ARCHITECTURES[name]
    return ModelConfig(
        name,
        servable=name,
        base_path=PROJECT,
        architecture=name,
        weights="imagenet",
        preprocess=convention,
        input_size=(side, side),
    )
