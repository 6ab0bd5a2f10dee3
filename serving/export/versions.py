"""The numbered folders under a base path, written so that no version poller sees a half-written one."""

from __future__ import annotations

import shutil
import uuid
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path


class ExportError(Exception):
    """The export cannot be made; the message is one sentence for the person who asked for it."""


def write_version(
    base_path: Path, write: Callable[[Path], None], *, version: str | None = None
) -> Path:
    """Let `write` fill a folder that no poller takes for a version, then rename it to the version.

    Args:
        base_path: Where the model's versions lie; made if it is not there.
        write: Fills the folder that it is given.
        version: The version's name, digits (zeros in front are kept); None takes the number after the highest.

    Returns:
        The version's folder.

    Raises:
        ExportError: The version is not a number from 1 up, or is there already.
    """
    if version is not None:
        _check_free(base_path, version)
    base_path.mkdir(parents=True, exist_ok=True)
    draft = base_path / f".export-{uuid.uuid4().hex}"
    draft.mkdir()
    try:
        write(draft)
        return _publish(draft, base_path, version)
    finally:
        shutil.rmtree(draft, ignore_errors=True)


def version_numbers(base_path: Path) -> set[int]:
    """The versions under `base_path`: a model server takes every folder named by digits for one."""
    if not base_path.is_dir():
        return set()
    return {int(entry.name) for entry in base_path.iterdir() if _is_number(entry.name)}


def _is_number(name: str) -> bool:
    return name.isascii() and name.isdigit()


def _check_free(base_path: Path, version: str) -> None:
    if not _is_number(version) or int(version) == 0:
        raise ExportError(f"'{version}' is no version; give a whole number from 1 up.")
    if int(version) in version_numbers(base_path):
        raise ExportError(f"{base_path} holds version {int(version)} already; give another number.")


def _publish(draft: Path, base_path: Path, version: str | None) -> Path:
    """Rename the finished draft; another export may have taken the number meanwhile."""
    while True:
        name = version or str(max(version_numbers(base_path), default=0) + 1)
        try:
            return draft.rename(base_path / name)
        except OSError:
            if version is not None:
                _check_free(base_path, version)
            if not (base_path / name).exists():
                raise
