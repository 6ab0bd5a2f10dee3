"""Where things lie that no table names: each an environment variable, else a place in the project."""

from __future__ import annotations

import os
from pathlib import Path
from typing import TYPE_CHECKING

from model_config.checks import ConfigError

if TYPE_CHECKING:
    from collections.abc import Mapping

PROJECT = Path(__file__).resolve().parent.parent


def named_path(variable: str, default: Path, env: Mapping[str, str] = os.environ) -> Path:
    """The path that an environment variable names, which may begin with `~`, else another; absolute, links not followed.

    Raises:
        ConfigError: It names the home folder of a user that there is not.
    """
    raw = env.get(variable) or default
    try:
        return Path(raw).expanduser().absolute()
    except RuntimeError as error:
        raise ConfigError(f"{variable} is '{raw}', which is not allowed; {error}") from None


def models_file(env: Mapping[str, str] = os.environ) -> Path:
    """The models file that this run is about, which may be a link: `$MODELS_FILE`, else the project's own."""
    return named_path("MODELS_FILE", PROJECT / "models.toml", env)


def saved_models_dir(env: Mapping[str, str] = os.environ) -> Path:
    """The parent of the base paths that tables do not name: `$SAVED_MODELS_DIR`, else `saved_models/` of the project."""
    return named_path("SAVED_MODELS_DIR", PROJECT / "saved_models", env).resolve()


def state_dir(env: Mapping[str, str] = os.environ) -> Path:
    """Where this machine's run writes down what it does: `$STATE_DIR`, else `state/` of the project."""
    return named_path("STATE_DIR", PROJECT / "state", env).resolve()


def weights_dir(env: Mapping[str, str] = os.environ) -> Path:
    """Where a person puts weights: `$WEIGHTS_DIR`, else `weights/` of the project."""
    return named_path("WEIGHTS_DIR", PROJECT / "weights", env).resolve()
