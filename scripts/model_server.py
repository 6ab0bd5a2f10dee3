"""Where a model's model server is."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING

from model_config import state_dir
from scripts.command_line import UserError
from supervisor.state_files import PLACEMENT

if TYPE_CHECKING:
    from model_config import ModelConfig

HINT = "start it with `make run`"
HINT_WITH_URL = f"{HINT}, or name its address with --url"


def model_server_url(config: ModelConfig, hint: str = HINT) -> str:
    """The first address of its model server; see `model_server_urls`."""
    return model_server_urls(config, hint)[0]


def model_server_urls(config: ModelConfig, hint: str = HINT) -> tuple[str, ...]:
    """The addresses that the model's table names, else those that the running supervisor has written down.

    Raises:
        UserError: Neither is there, or the supervisor has written why the model is not served.
    """
    if config.upstream:
        return config.upstream
    match placement().get(config.name):
        case {"upstream": [_, *_] as urls}:
            return tuple(map(str, urls))
        case {"problem": str(problem)}:
            reason = problem.removeprefix(f"Model '{config.name}': ")
            raise UserError(f"Model '{config.name}' is not served: {reason}")
    raise UserError(f"Model '{config.name}' is not served now; {hint}.")


def placement() -> dict[str, object]:
    """What the running supervisor has written down of each model; nothing where none has."""
    path = state_dir() / PLACEMENT
    try:
        written = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return {}
    return written if isinstance(written, dict) else {}
