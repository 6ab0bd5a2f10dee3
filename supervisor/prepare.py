"""Which models have no version that fits their table, and the program that makes one."""

from __future__ import annotations

import json
import sys
from dataclasses import dataclass
from typing import TYPE_CHECKING

from model_config import PROJECT, version_folders
from model_config.made_from import difference, facts_now, read_record
from supervisor.child import Command

if TYPE_CHECKING:
    from collections.abc import Iterable
    from pathlib import Path

    from model_config import ModelConfig

STOP_SECONDS = 5.0
"""What removing a half written version, or a half download, may take."""
EXPORT = PROJECT / "scripts" / "export_saved_model.py"


@dataclass(frozen=True, slots=True)
class Missing:
    """A version that is to be made."""

    models: tuple[ModelConfig, ...]
    """Those of one base path, the one whose table says how to make it first."""
    reason: str
    """What is wrong with the versions that are there, or that there are none."""

    @property
    def maker(self) -> ModelConfig:
        """The model whose table it is made from."""
        return self.models[0]

    @property
    def work(self) -> str:
        """What is done to make it."""
        return f"train it with {self.maker.train}" if self.maker.train else "export it"


def has_version(base_path: Path) -> bool:
    """Whether a model server would find a version there."""
    return bool(version_folders(base_path))


def missing_versions(models: Iterable[ModelConfig]) -> list[Missing]:
    """What is to be made before these models can be served as their tables say."""
    groups: dict[Path, list[ModelConfig]] = {}
    for model in sorted(models, key=lambda model: not model.is_made_here):
        groups.setdefault(model.base_path, []).append(model)
    return [
        Missing(tuple(group), reason) for group in groups.values() if (reason := _reason(group[0]))
    ]


def _reason(model: ModelConfig) -> str | None:
    """Why no version fits a table; None: the newest, which answers by default, does."""
    versions = version_folders(model.base_path)
    if not versions:
        return f"no version under {model.base_path} yet"
    number, newest = max(versions.items())
    then, now = read_record(newest), facts_now(model)
    fact = difference(then, now) if then else None
    if not then or not fact:
        return None
    if then.get(fact) == now[fact]:  # the name of a weights file whose content is another
        return f"version {number} was made from other weights than there are now"
    return (
        f"version {number} was made with {fact} = {json.dumps(then.get(fact))},"
        f" the table says {json.dumps(now[fact])}"
    )


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
