"""Add a table to a models file without disturbing what a person has written in it."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING, Any

import tomli_w

from model_config import ConfigError, Deployment, ModelConfig, load_deployment
from scripts.command_line import UserError

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path


def checked_table(deployment: Deployment, name: str, table: Mapping[str, Any]) -> ModelConfig:
    """What a table would mean in a models file; one of this name that is there already counts instead.

    Raises:
        ConfigError: It is not allowed.
        UserError: The models file's folder cannot be written.
    """
    if name in deployment.models:
        return deployment.models[name]
    path = deployment.path
    draft = path.with_name(f".{path.name}.draft-{os.getpid()}")
    try:
        write_text(draft, _text_with(deployment, name, table, "draft"))
        return load_deployment(draft).models[name]
    except ConfigError as error:
        raise ConfigError(str(error).replace(str(draft), str(path))) from None
    finally:
        draft.unlink(missing_ok=True)


def add_table(
    deployment: Deployment, name: str, table: Mapping[str, Any], *, comment: str
) -> ModelConfig:
    """Append a table; comments and order stay. One of this name that is there already is left alone.

    Args:
        deployment: The models file as it is.
        name: The new table's name.
        table: Its keys.
        comment: One line above it.

    Returns:
        What the table says now.

    Raises:
        ConfigError: The table is not allowed; the file is unchanged.
        UserError: The file cannot be written.
    """
    config = checked_table(deployment, name, table)
    if name not in deployment.models:
        write_text(deployment.path, _text_with(deployment, name, table, comment))
    return config


def write_text(path: Path, text: str) -> None:
    """Replace a file in one step, or make it with its folder.

    Raises:
        UserError: It cannot be written.
    """
    beside = path.with_name(f".{path.name}.{os.getpid()}")
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        beside.write_text(text, encoding="utf-8", newline="")
        if path.exists():
            beside.chmod(path.stat().st_mode)
        beside.replace(path)
    except OSError as error:
        raise UserError(f"{path} cannot be written: {error.strerror}.") from None
    finally:
        beside.unlink(missing_ok=True)


def path_in(path: Path, deployment: Deployment) -> str:
    """How a models file names a path: relative to its own folder where it lies below that."""
    folder = deployment.path.parent
    path = path.resolve()
    return str(path.relative_to(folder) if path.is_relative_to(folder) else path)


def _text_with(deployment: Deployment, name: str, table: Mapping[str, Any], comment: str) -> str:
    with deployment.path.open(encoding="utf-8", newline="") as file:
        text = file.read()
    added = f"\n\n# {comment}\n{tomli_w.dumps({name: table})}"
    return text.rstrip() + added.replace("\n", "\r\n" if "\r\n" in text else "\n")
