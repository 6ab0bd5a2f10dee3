"""Where the supervisor started each model's server, or why it could not: a JSON file that it replaces as a whole.

{"digits": {"upstream": ["http://127.0.0.1:9000"]}, "birds": {"problem": "Its weights are missing; …"},
 "flowers": {"problem": "Its version is being made; …", "being_made": true}}
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import orjson

from model_config import ConfigError

if TYPE_CHECKING:
    from pathlib import Path


@dataclass(frozen=True, slots=True)
class Placement:
    """What the supervisor says of one model."""

    upstream: tuple[str, ...] = ()
    problem: str | None = None
    """Why there is no model server for it, and what to do: one sentence."""
    being_made: bool = False
    """It will have one before the supervisor's start is over."""


def load_placement(path: Path | None) -> dict[str, Placement]:
    """Read a placement file; without one nothing is placed.

    Raises:
        ConfigError: It cannot be read or has another shape.
    """
    if path is None:
        return {}
    try:
        document = orjson.loads(path.read_bytes())
        return {name: _placement(entry) for name, entry in document.items()}
    except OSError as error:
        raise ConfigError(f"PLACEMENT_FILE {path} cannot be read: {error.strerror}.") from None
    except (ValueError, AttributeError, TypeError):
        raise ConfigError(
            f'PLACEMENT_FILE {path} must be a JSON object such as {{"model": {{"upstream": ["http://host:port"]}}}}.'
        ) from None


def _placement(entry: dict[str, Any]) -> Placement:
    urls = entry.get("upstream", [])
    if not isinstance(urls, list) or not all(isinstance(url, str) for url in urls):
        raise ValueError
    return Placement(
        upstream=tuple(url.rstrip("/") for url in urls),
        problem=entry.get("problem"),
        being_made=entry.get("being_made", False),
    )
