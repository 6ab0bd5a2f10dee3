"""The files in which a run tells others what it does."""

from __future__ import annotations

import contextlib
import fcntl
import json
import os
from typing import TYPE_CHECKING, Any

from model_config import ConfigError, write_whole

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping
    from pathlib import Path

PLACEMENT = "placement.json"
PID = "auto_cmd.pid"


def write_placement(path: Path, placement: Mapping[str, Mapping[str, Any]]) -> None:
    """Tell the router where each model is served, or why it is not."""
    write_whole(path, json.dumps(placement, indent=2) + "\n")


@contextlib.contextmanager
def only_one(state_dir: Path) -> Iterator[None]:
    """Hold the state folder for this process; its id stands in a file there, for `kill -HUP`.

    Raises:
        ConfigError: Another supervisor holds it, or it cannot be written.
    """
    try:
        state_dir.mkdir(parents=True, exist_ok=True)
        file = (state_dir / PID).open("a+")
    except OSError as error:
        raise ConfigError(
            f"STATE_DIR {state_dir} cannot be written ({error.strerror}); name another folder."
        ) from None
    with file:
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError:
            file.seek(0)
            raise ConfigError(
                f"auto_cmd.py runs already as process {file.read().strip()} with STATE_DIR {state_dir};"
                " stop it first, or give this one a STATE_DIR (and PORT) of its own."
            ) from None
        file.truncate(0)
        file.write(f"{os.getpid()}\n")
        file.flush()
        yield
        (state_dir / PID).unlink(missing_ok=True)
