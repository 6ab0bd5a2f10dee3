"""Where things lie that no table names: each an environment variable, else a place in the project."""

from __future__ import annotations

import os
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Mapping

PROJECT = Path(__file__).resolve().parent.parent


def models_file(env: Mapping[str, str] = os.environ) -> Path:
    """The models file that this run is about, which may be a link: `$MODELS_FILE`, else the project's own."""
    return Path(env.get("MODELS_FILE") or PROJECT / "models.toml").absolute()


def saved_models_dir(env: Mapping[str, str] = os.environ) -> Path:
    """The parent of the base paths that tables do not name: `$SAVED_MODELS_DIR`, else `saved_models/` of the project."""
    return Path(env.get("SAVED_MODELS_DIR") or PROJECT / "saved_models").resolve()


def state_dir(env: Mapping[str, str] = os.environ) -> Path:
    """Where this machine's run writes down what it does: `$STATE_DIR`, else `state/` of the project."""
    return Path(env.get("STATE_DIR") or PROJECT / "state").resolve()


def weights_dir(env: Mapping[str, str] = os.environ) -> Path:
    """Where a person puts weights: `$WEIGHTS_DIR`, else `weights/` of the project."""
    return Path(env.get("WEIGHTS_DIR") or PROJECT / "weights").resolve()
