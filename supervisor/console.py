"""What the supervisor and its children say: `name │ line` on the terminal, and a log file for each."""

from __future__ import annotations

import logging
import re
import sys
import threading
from logging.handlers import RotatingFileHandler
from typing import TYPE_CHECKING, TextIO

from model_config import ConfigError

if TYPE_CHECKING:
    from pathlib import Path

LOG_BYTES = 10_000_000
LOG_BACKUPS = 3
COLORS = (36, 33, 32, 35, 34, 96, 93, 92, 95, 94)
OWN_NAME = "auto_cmd"
# What TensorFlow's C++ writes while it is loaded, before its log level counts: for the log files only.
LOADING_NOISE = re.compile(
    r"WARNING: All log messages before absl::InitializeLog|[IW]0000 \d\d:\d\d:\d+\.\d+ |.*failed call to cuInit"
)


class LogFile(RotatingFileHandler):
    """A log file that is made with its first line."""

    def __init__(self, path: Path) -> None:
        super().__init__(
            path, maxBytes=LOG_BYTES, backupCount=LOG_BACKUPS, encoding="utf-8", delay=True
        )

    def handleError(self, record: logging.LogRecord) -> None:  # noqa: N802 - logging's name
        """A full disk costs the line in the file, no more: the terminal has it."""


class Console:
    """Writes whole lines, one at a time, whoever speaks."""

    def __init__(self, logs: Path, stream: TextIO | None = None) -> None:
        """Make the folder of the log files.

        Raises:
            ConfigError: It cannot be made or written.
        """
        self._stream = stream or sys.stdout
        self._logs = logs
        self._lock = threading.Lock()
        self._width = len(OWN_NAME)
        self._files: dict[str, logging.Handler] = {}
        self._colored = self._stream.isatty()
        try:
            logs.mkdir(parents=True, exist_ok=True)
            (logs / f"{OWN_NAME}.log").touch()
        except OSError as error:
            raise ConfigError(
                f"LOGS_DIR {logs} cannot be written ({error.strerror}); name another folder."
            ) from None

    def reserve(self, name: str) -> None:
        """Make the column of names wide enough for `name`."""
        self._width = max(self._width, len(name))

    def line(self, name: str, text: str) -> None:
        """Print one line of a child (or of the supervisor) and add it to its log file."""
        with self._lock:
            if not LOADING_NOISE.match(text):
                self._write(f"{self._prefix(name)} │ {text}")
            self._log(name).emit(logging.makeLogRecord({"msg": "%s", "args": (text,)}))

    def say(self, text: str) -> None:
        """Print a line of the supervisor's own."""
        self.line(OWN_NAME, text)

    def block(self, text: str) -> None:
        """Print several lines without prefixes, such as the table of models."""
        with self._lock:
            self._write(text)

    def close(self) -> None:
        """Close the log files."""
        for handler in self._files.values():
            handler.close()

    def _write(self, text: str) -> None:
        try:
            self._stream.write(text + "\n")
            self._stream.flush()
        except (OSError, ValueError):  # the terminal or pipe went away; the log files still tell
            return

    def _prefix(self, name: str) -> str:
        padded = name.ljust(self._width)
        if not self._colored or name == OWN_NAME:
            return padded
        color = COLORS[sum(name.encode()) % len(COLORS)]
        return f"\x1b[{color}m{padded}\x1b[0m"

    def _log(self, name: str) -> logging.Handler:
        if name not in self._files:
            self._files[name] = LogFile(self._logs / f"{name}.log")
        return self._files[name]
