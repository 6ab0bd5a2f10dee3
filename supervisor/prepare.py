"""Which models have no version to serve yet, and the program that makes one."""

from __future__ import annotations

import sys
from typing import TYPE_CHECKING

from model_config import PROJECT, version_folders
from supervisor.child import Command

if TYPE_CHECKING:
    from collections.abc import Iterable
    from pathlib import Path

    from model_config import ModelConfig

STOP_SECONDS = 5.0
"""What removing a half written version, or a half download, may take."""
EXPORT = PROJECT / "scripts" / "export_saved_model.py"


def has_version(base_path: Path) -> bool:
    """Whether a model server would find a version there."""
    return bool(version_folders(base_path))


def missing_versions(models: Iterable[ModelConfig]) -> list[tuple[ModelConfig, ...]]:
    """Models without a version, those of one base path together, the one whose table says how to make it first."""
    groups: dict[Path, list[ModelConfig]] = {}
    for model in models:
        if not has_version(model.base_path):
            groups.setdefault(model.base_path, []).append(model)
    return [tuple(sorted(group, key=_says_nothing)) for group in groups.values()]


def _says_nothing(model: ModelConfig) -> bool:
    return not (model.train or model.architecture or model.weights)


def prepare_command(model: ModelConfig, models_file: Path) -> Command:
    """Train the model where its table names a trainer, else export it; its last line tells what went wrong."""
    return Command(
        name=model.name,
        arguments=(
            sys.executable,
            str(model.train or EXPORT),
            f"--models={models_file}",
            f"--model={model.name}",
        ),
        env={},
        stop_seconds=STOP_SECONDS,
    )
