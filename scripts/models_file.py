"""Add a table to a models file without disturbing what a person has written in it."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING, Any

import tomli_w

from model_config import ConfigError, Deployment, load_deployment
from scripts.command_line import UserError

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path


def add_table(
    deployment: Deployment, name: str, table: Mapping[str, Any], *, comment: str
) -> Deployment:
    """Append a table; comments and order stay. A table of this name that is there already is left alone.

    Args:
        deployment: The models file as it is.
        name: The new table's name.
        table: Its keys.
        comment: One line above it.

    Returns:
        The models file as it is now.

    Raises:
        ConfigError: The table is not allowed; the file is unchanged.
        UserError: The file cannot be written.
    """
    if name in deployment.models:
        return deployment
    path = deployment.path.resolve()
    text = (
        path.read_text(encoding="utf-8").rstrip()
        + f"\n\n# {comment}\n"
        + tomli_w.dumps({name: table})
    )
    beside = path.with_name(f".{path.name}.{os.getpid()}")
    try:
        beside.write_text(text, encoding="utf-8")
        beside.chmod(path.stat().st_mode)
        _check(beside, path)
        beside.replace(path)
    except OSError as error:
        raise UserError(f"{path} cannot be written: {error.strerror}.") from None
    finally:
        beside.unlink(missing_ok=True)
    return load_deployment(path)


def path_in(path: Path, deployment: Deployment) -> str:
    """How a models file names a path: relative to its own folder where it lies below that."""
    folder = deployment.path.resolve().parent
    path = path.resolve()
    return str(path.relative_to(folder) if path.is_relative_to(folder) else path)


def _check(draft: Path, path: Path) -> None:
    try:
        load_deployment(draft)
    except ConfigError as error:
        raise ConfigError(str(error).replace(str(draft), str(path))) from None
