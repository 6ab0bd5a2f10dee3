"""What a version was made from: our exports write it down, so that a table that has changed since is noticed.

The record lies in the folder of a SavedModel that is the exporter's own (`assets.extra`). Versions without one, such as
other people's, are taken as they are.
"""

from __future__ import annotations

import hashlib
import json
from pathlib import Path
from typing import TYPE_CHECKING, Any

from model_config.places import weights_dir

if TYPE_CHECKING:
    from collections.abc import Mapping

    from model_config.model import ModelConfig

RECORD = Path("assets.extra", "made_from.json")
_CONTENT = "weights_sha256"


def weights_file(config: ModelConfig) -> Path | None:
    """The file that an export reads: the model's in `WEIGHTS_DIR`, else the table's (there or not); None: it needs none."""
    for suffix in (".weights.h5", ".h5", ".keras"):
        path = weights_dir() / f"{config.name}{suffix}"
        if path.is_file():
            return path
    return None if config.weights in (None, "imagenet", "random") else Path(str(config.weights))


def facts(config: ModelConfig) -> dict[str, Any]:
    """What a table says of what its versions answer; None: it says nothing, or a version does not depend on it."""
    return {
        "architecture": config.architecture,
        "architecture_options": dict(config.architecture_options) if config.architecture else None,
        "weights": config.weights and Path(config.weights).name,
        "preprocess": None if config.own_preprocess else config.preprocess,
        "input_size": config.input_size and [*config.input_size],
        "color_mode": config.color_mode,
        "resize": config.resize if config.support_set else None,
    }


def facts_now(config: ModelConfig) -> dict[str, Any]:
    """The facts, and what the weights file holds: it may have been trained again under its name."""
    return {**facts(config), _CONTENT: _digest(weights_file(config))}


def difference(then: Mapping[str, Any], now: Mapping[str, Any]) -> str | None:
    """The first fact that both sides know and do not share; None: one version can stand for both.

    Where there is a weights file now, its content counts, not its name: a file that has gone, or been renamed, changes
    nothing.
    """
    pairs = {fact: (then.get(fact), now[fact]) for fact in now if fact != _CONTENT}
    if now.get(_CONTENT):
        pairs["weights"] = (then.get(_CONTENT) or "another source", now[_CONTENT])
    return next((f for f, pair in pairs.items() if None not in pair and pair[0] != pair[1]), None)


def write_record(version: Path, config: ModelConfig) -> None:
    """Write down what a version is being made from."""
    path = version / RECORD
    path.parent.mkdir(exist_ok=True)
    path.write_text(json.dumps(facts_now(config), indent=2) + "\n", encoding="utf-8")


def read_record(version: Path) -> Mapping[str, Any] | None:
    """What a version was made from; None where nobody tells."""
    try:
        record = json.loads((version / RECORD).read_text(encoding="utf-8"))
    except (OSError, ValueError, RecursionError):
        return None
    return record if isinstance(record, dict) else None


def _digest(path: Path | None) -> str | None:
    """None where there is no file, or it cannot be read: then the export tells what is wrong."""
    if path is None:
        return None
    try:
        with path.open("rb") as file:
            return hashlib.file_digest(file, "sha256").hexdigest()
    except OSError:
        return None
