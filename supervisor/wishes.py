"""What a person or the system wants of the supervisor: stop, or read the models file again.

Signals and typed lines are only put into a queue; the supervisor's loop takes them from there.
"""

from __future__ import annotations

import os
import queue
import signal
import sys
import threading
import time
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from types import FrameType

STOPPING = {signal.SIGINT: 130, signal.SIGTERM: 143}
"""Signals that stop everything, with the exit status that shells expect after each."""
HUNG_UP_STATUS = 129
HANG_UP_SECONDS = 2.0
"""So long after a terminal has gone its SIGHUP may come."""
STANDARD_INPUT = 0
STOP_WORDS = ("exit", "q", "quit")


class Stop(Exception):
    """Somebody wants everything stopped; `status` is what to exit with."""

    def __init__(self, status: int) -> None:
        super().__init__(status)
        self.status = status

    @property
    def is_a_persons(self) -> bool:
        """Whether a second one is impatience. SIGTERM comes from platforms, and from some of them several times."""
        return self.status != STOPPING[signal.SIGTERM]


class Reload:
    """Somebody wants the models file read again."""


class Wishes:
    """A queue of `Stop` and `Reload`, filled by signals and by what is typed."""

    def __init__(self) -> None:
        self._queue: queue.SimpleQueue[Stop | Reload] = queue.SimpleQueue()
        self._has_terminal = os.isatty(STANDARD_INPUT)
        self._terminal_gone_at: float | None = None

    def listen(self) -> None:
        """Take over the signals, and read standard input as long as there is any."""
        for number in STOPPING:
            signal.signal(number, self._stop)
        signal.signal(signal.SIGHUP, self._hang_up)
        signal.signal(signal.SIGTTIN, signal.SIG_IGN)  # in the background, reading just ends
        threading.Thread(target=self._read_lines, daemon=True).start()

    def next(self, seconds: float) -> Stop | Reload | None:
        """The next wish, or None when there is none for so long."""
        if self._has_terminal and self._terminal_gone_at is None and not os.isatty(STANDARD_INPUT):
            self._terminal_gone_at = time.monotonic()
        try:
            return self._queue.get(timeout=seconds)
        except queue.Empty:
            return None

    def _stop(self, number: int, _frame: FrameType | None) -> None:
        self._queue.put(Stop(STOPPING[signal.Signals(number)]))

    def _hang_up(self, _number: int, _frame: FrameType | None) -> None:
        """SIGHUP asks for a reload, except when it tells that the terminal we were started at is gone just now.

        Who was started with `disown` lives on without it, and a later SIGHUP means a reload again.
        """
        now = time.monotonic()
        gone_at = now if self._terminal_gone_at is None else self._terminal_gone_at
        if not self._has_terminal or os.isatty(STANDARD_INPUT) or now - gone_at > HANG_UP_SECONDS:
            self._queue.put(Reload())
            return
        self._has_terminal = False  # shell and kernel may both tell: twice is no impatience
        self._queue.put(Stop(HUNG_UP_STATUS))

    def _read_lines(self) -> None:
        if sys.stdin is None:
            return
        try:
            for line in sys.stdin:
                if line.strip().lower() in STOP_WORDS:
                    self._queue.put(Stop(0))
        except (OSError, ValueError):  # no terminal, or not ours: signals remain
            return
