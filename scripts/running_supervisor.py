"""Tell the running auto_cmd.py that the models file has changed."""

from __future__ import annotations

import fcntl
import os
import signal
import time

from model_config import state_dir
from scripts.command_line import UserError
from scripts.model_server import placement
from supervisor.state_files import PID, PLACEMENT

POLL_SECONDS = 0.1


def supervisor_process() -> int:
    """The process id of the running supervisor.

    Raises:
        UserError: None is running with this `STATE_DIR`.
    """
    path = state_dir() / PID
    try:
        with path.open() as file:
            process = int(file.read())
            if _is_held(file.fileno()):
                return process
    except (OSError, ValueError):
        pass
    raise UserError("No auto_cmd.py runs that could be told of it; start it with `make run`.")


def reload_models(name: str, *, seconds: float = 150.0) -> int:
    """Let the running supervisor read the models file again, and wait until it has taken a table up.

    Returns:
        Its process id.

    Raises:
        UserError: None is running, it has not taken the table up within so long, or it says why the model is not served.
    """
    process = supervisor_process()
    before = _last_placed()
    os.kill(process, signal.SIGHUP)
    deadline = time.monotonic() + seconds
    while _last_placed() == before or name not in placement():
        if time.monotonic() > deadline:
            raise UserError(
                f"auto_cmd.py (process {process}) has not taken '{name}' up within {seconds:g} s: its lines say why, or it"
                " was started with another --models."
            )
        time.sleep(POLL_SECONDS)
    match placement()[name]:
        case {"problem": str(problem)}:
            raise UserError(f"auto_cmd.py (process {process}) does not serve '{name}': {problem}")
    return process


def _last_placed() -> int:
    """When the supervisor has last written down what is served where; it does so after each reload."""
    try:
        return (state_dir() / PLACEMENT).stat().st_mtime_ns
    except OSError:
        return 0


def _is_held(file: int) -> bool:
    """The supervisor holds a lock on the file for as long as it lives."""
    try:
        fcntl.flock(file, fcntl.LOCK_SH | fcntl.LOCK_NB)
    except OSError:
        return True
    return False
