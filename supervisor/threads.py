"""How many threads a model server gives one operation of a model."""

from __future__ import annotations

from typing import TYPE_CHECKING

from model_config import version_folders

if TYPE_CHECKING:
    from collections.abc import Iterable
    from pathlib import Path

    from model_config import ModelConfig

LARGE_BYTES = 50_000_000


def thread_flags(models: Iterable[ModelConfig], given: Iterable[str]) -> tuple[str, ...]:
    """The flags for a server of these models; none where the person who started it gave some.

    Splitting an operation over the processors costs a small model more than it brings, at any load; a large one it
    makes faster while processors are idle, and no slower when they are not (docs/performance.md).
    """
    if any("parallelism" in flag for flag in given):
        return ()
    if all(_newest_bytes(model.base_path) >= LARGE_BYTES for model in models):
        return ()
    return ("--tensorflow_intra_op_parallelism=1",)


def _newest_bytes(base_path: Path) -> int:
    """Size of the newest version on disk; 0 if there is none, or it cannot be looked at."""
    folders = list(version_folders(base_path).values())
    if not folders:
        return 0
    try:
        return sum(file.stat().st_size for file in folders[-1].rglob("*") if file.is_file())
    except OSError:  # it is being removed
        return 0
