"""Which file a model's weights are in."""

from __future__ import annotations

from typing import TYPE_CHECKING

from model_config import PROJECT, weights_dir
from model_config.made_from import weights_file
from scripts.command_line import UserError

if TYPE_CHECKING:
    from pathlib import Path

    from model_config import ModelConfig


class WeightsMissingError(UserError):
    """The weights can be had neither from a file nor from the network."""

    status = 3


def where_to_put(config: ModelConfig) -> Path:
    """The file that a model's weights are wanted in, for a person; clients of the router read it, too."""
    path = weights_dir() / f"{config.name}.weights.h5"
    return path.relative_to(PROJECT) if path.is_relative_to(PROJECT) else path


def find_weights(config: ModelConfig) -> Path | None:
    """The file in `WEIGHTS_DIR` that bears the model's name, else the one that its table names.

    Raises:
        WeightsMissingError: The table names a file that is not there.
    """
    path = weights_file(config)
    if path is not None and not path.is_file():
        raise WeightsMissingError(
            f"Model '{config.name}': its weights file {path} is not there; put it there, or at"
            f" {where_to_put(config)}."
        )
    return path


def can_be_built(config: ModelConfig) -> bool:
    """Whether a model has weights of any kind to be exported from; else its versions come from elsewhere."""
    return config.weights is not None or find_weights(config) is not None
