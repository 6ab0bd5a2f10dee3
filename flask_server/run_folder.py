"""A folder for what one run of the router keeps in files, gone when the run is over."""

from __future__ import annotations

import contextlib
import fcntl
import os
import shutil
import tempfile
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

from model_config import ConfigError

if TYPE_CHECKING:
    from collections.abc import Iterator

_PREFIX = "keras-front-door-run-"
_LOCK = "lock"


@contextmanager
def run_folder() -> Iterator[Path]:
    """Make a folder, and remove it with all that is in it when the block ends.

    A run that was killed cannot remove its own; the next one does. A lock, which workers inherit and which ends with
    the last of them, tells which are still in use.

    Raises:
        ConfigError: There is no place where temporary files may be written.
    """
    owner, hidden = os.getpid(), _new_folder()
    with (hidden / _LOCK).open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        folder = hidden.rename(hidden.with_name(hidden.name[1:]))  # found by others from now on
        try:
            yield folder
        finally:
            if os.getpid() == owner:  # workers, forked within the block, leave it too
                shutil.rmtree(folder, ignore_errors=True)


def _new_folder() -> Path:
    try:
        _sweep()
        return Path(tempfile.mkdtemp(prefix=f".{_PREFIX}"))
    except OSError as error:
        raise ConfigError(
            f"No temporary folder can be made ({error.strerror}); set TMPDIR to one that can be written."
        ) from None


def _sweep() -> None:
    for folder in Path(tempfile.gettempdir()).glob(f"{_PREFIX}*"):
        with contextlib.suppress(OSError):  # in use, another user's, or just being made or removed
            _remove_if_unused(folder)


def _remove_if_unused(folder: Path) -> None:
    with (folder / _LOCK).open("r+") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        shutil.rmtree(folder)
