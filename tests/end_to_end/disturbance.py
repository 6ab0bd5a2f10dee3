"""Keep asking while a test disturbs what answers."""

from __future__ import annotations

import threading
import time
from pathlib import Path
from typing import TYPE_CHECKING, Any, Generic, TypeVar

if TYPE_CHECKING:
    from collections.abc import Callable

T = TypeVar("T")


class Traffic(Generic[T]):
    """Asks again and again until the block ends, and remembers the answers."""

    def __init__(self, ask: Callable[[], T]) -> None:
        self.answers: list[T] = []
        self._ask = ask
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._run)

    def _run(self) -> None:
        while not self._stop.is_set():
            self.answers.append(self._ask())
            time.sleep(0.02)

    def __enter__(self) -> Traffic[T]:
        self._thread.start()
        return self

    def __exit__(self, *_: Any) -> None:
        self._stop.set()
        self._thread.join()


def processes(matches: Callable[[str, str], bool]) -> list[int]:
    """The processes whose command line and environment match, the oldest first."""
    found = []
    for folder in Path("/proc").iterdir():
        try:
            command, environment = (
                (folder / "cmdline").read_text(),
                (folder / "environ").read_text(),
            )
            if matches(command, environment):
                found.append(int(folder.name))
        except (OSError, ValueError):  # no process, or one that has just ended
            continue
    return sorted(found)
