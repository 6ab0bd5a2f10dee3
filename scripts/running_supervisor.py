"""Tell the running auto_cmd.py that the models file has changed."""

from __future__ import annotations

import fcntl
import os
import signal

from model_config import state_dir
from scripts.command_line import UserError
from supervisor.state_files import PID


def reload_models() -> int:
    """Let the running supervisor read the models file again.

    Returns:
        Its process id.

    Raises:
        UserError: None is running with this `STATE_DIR`.
    """
    path = state_dir() / PID
    try:
        with path.open() as file:
            process = int(file.read())
            if _is_held(file.fileno()):
                os.kill(process, signal.SIGHUP)
                return process
    except (OSError, ValueError):
        pass
    raise UserError("No auto_cmd.py runs that could be told of it; start it with `make run`.")


def _is_held(file: int) -> bool:
    """The supervisor holds a lock on the file for as long as it lives."""
    try:
        fcntl.flock(file, fcntl.LOCK_SH | fcntl.LOCK_NB)
    except OSError:
        return True
    return False
