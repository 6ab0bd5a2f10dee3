"""A value that files hold, read again whenever one of them changes: by being asked for, without a thread or a signal."""

from __future__ import annotations

import logging
import threading
import time
from typing import TYPE_CHECKING, Generic, TypeVar

from model_config import ConfigError

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

_RETRY_SECONDS = 60.0
_log = logging.getLogger(__name__)
_T = TypeVar("_T")


class WatchedFiles(Generic[_T]):
    """Files that are wrong, or gone, change nothing: what was read before stays, and the log says why."""

    def __init__(self, name: str, files: tuple[Path, ...], read: Callable[[], _T]) -> None:
        """Read them for the first time.

        Args:
            name: What they hold, a plural, for the log.
            files: Where to look for changes.
            read: Reads them; raises ConfigError or OSError where it cannot.
        """
        self._name = name
        self._files = files
        self._read = read
        self._lock = threading.Lock()
        self._seen = self._signatures()
        self._retry_at: float | None = None
        self._value = read()

    def value(self) -> _T:
        """What they hold."""
        signatures = self._signatures()
        if self._is_new(signatures):
            with self._lock:
                if self._is_new(signatures):
                    self._read_again(signatures)
        return self._value

    def _is_new(self, signatures: tuple[object, ...]) -> bool:
        """A file can also have been right and not readable: then it is tried again now and then."""
        due = self._retry_at is not None and time.monotonic() >= self._retry_at
        return signatures != self._seen or due

    def _read_again(self, signatures: tuple[object, ...]) -> None:
        self._seen = signatures
        try:
            self._value = self._read()
        except (ConfigError, OSError) as error:
            self._retry_at = time.monotonic() + _RETRY_SECONDS
            _log.error("the %s stay as they were: %s", self._name, error)
        else:
            self._retry_at = None
            _log.info("%s read again", self._name)

    def _signatures(self) -> tuple[object, ...]:
        return tuple(_signature(path) for path in self._files)


def _signature(path: Path) -> tuple[int, int, int] | None:
    """What changes whenever the file does, if it is replaced as a whole."""
    try:
        status = path.stat()
    except OSError:
        return None
    return status.st_ino, status.st_mtime_ns, status.st_size
