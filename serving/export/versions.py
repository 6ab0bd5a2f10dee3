"""The numbered folders under a base path, written so that no version poller sees a half-written one."""

from __future__ import annotations

import contextlib
import fcntl
import re
import shutil
import uuid
from typing import TYPE_CHECKING

from serving.source import versions_on_disk

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

_DRAFT = ".export-"


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
    with _writing(base_path):
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
    shutil.rmtree(_make_draft(there, base_path), ignore_errors=True)


@contextlib.contextmanager
def _writing(base_path: Path) -> Iterator[None]:
    """Share a lock on the base path while writing; who gets it alone removes what writers that were killed have left."""
    with _refusals_told(base_path):
        base_path.mkdir(parents=True, exist_ok=True)
        lock = (base_path / ".export.lock").open("w")
    with lock:
        with contextlib.suppress(BlockingIOError):  # somebody writes: the drafts may be theirs
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
            for abandoned in base_path.glob(f"{_DRAFT}*"):
                shutil.rmtree(abandoned, ignore_errors=True)
        fcntl.flock(lock, fcntl.LOCK_SH)
        yield


def _make_draft(folder: Path, base_path: Path) -> Path:
    draft = folder / f"{_DRAFT}{uuid.uuid4().hex}"
    with _refusals_told(base_path):
        draft.mkdir()
    return draft


@contextlib.contextmanager
def _refusals_told(base_path: Path) -> Iterator[None]:
    try:
        yield
    except OSError as error:
        raise ExportError(
            f"{base_path} cannot be written: {error.strerror}; choose another folder."
        ) from None


def _check_free(base_path: Path, version: str) -> None:
    if not re.fullmatch(r"[0-9]{1,30}", version) or not 0 < int(version) < 2**63:
        raise ExportError(f"'{version}' is no version; give a whole number from 1 to {2**63 - 1}.")
    if base_path.is_dir() and int(version) in versions_on_disk(base_path):
        raise ExportError(f"{base_path} holds version {int(version)} already; give another number.")


def _publish(draft: Path, base_path: Path, version: str | None) -> Path:
    """Rename the finished draft; another export may have taken the number meanwhile."""
    while True:
        name = version or str(max(versions_on_disk(base_path), default=0) + 1)
        try:
            return draft.rename(base_path / name)
        except OSError as error:
            if version is not None:
                _check_free(base_path, version)
            if not (base_path / name).is_dir():
                raise ExportError(
                    f"{base_path / name} cannot be written: {error.strerror}."
                ) from None
