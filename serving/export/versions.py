"""The numbered folders under a base path, written so that no version poller sees a half-written one."""

from __future__ import annotations

import shutil
import uuid
from typing import TYPE_CHECKING

from serving.source import versions_on_disk

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
        ExportError: The version is not a number from 1 up, or is there already, or the folder cannot be written.
    """
    if version is not None:
        _check_free(base_path, version)
    draft = _make_draft(base_path, base_path)
    try:
        write(draft)
        return _publish(draft, base_path, version)
    finally:
        shutil.rmtree(draft, ignore_errors=True)


def check_can_be_written(base_path: Path, version: str | None = None) -> None:
    """Raise before long work what `write_version` would raise after it; nothing is left behind."""
    if version is not None:
        _check_free(base_path, version)
    there = next(folder for folder in (base_path, *base_path.parents) if folder.exists())
    _make_draft(there, base_path).rmdir()


def _make_draft(folder: Path, base_path: Path) -> Path:
    draft = folder / f".export-{uuid.uuid4().hex}"
    try:
        draft.mkdir(parents=True)
    except OSError as error:
        raise ExportError(
            f"{base_path} cannot be written: {error.strerror}; choose another folder."
        ) from None
    return draft


def _check_free(base_path: Path, version: str) -> None:
    if not (version.isascii() and version.isdigit() and int(version) > 0):
        raise ExportError(f"'{version}' is no version; give a whole number from 1 up.")
    if base_path.is_dir() and int(version) in versions_on_disk(base_path):
        raise ExportError(f"{base_path} holds version {int(version)} already; give another number.")


def _publish(draft: Path, base_path: Path, version: str | None) -> Path:
    """Rename the finished draft; another export may have taken the number meanwhile."""
    while True:
        name = version or str(max(versions_on_disk(base_path), default=0) + 1)
        try:
            return draft.rename(base_path / name)
        except OSError:
            if version is not None:
                _check_free(base_path, version)
            if not (base_path / name).exists():
                raise
