"""Progress on the screen, with the time that is left."""

from __future__ import annotations

import time


class TimeLeft:
    """Prints how far something is: at most once a second, and at the end."""

    def __init__(self, total: int, what: str) -> None:
        self._total = total
        self._what = what
        self.done = 0
        self._started = self._printed = time.monotonic()

    def step(self, note: str = "") -> None:
        """One more is done."""
        self.done += 1
        now = time.monotonic()
        if now - self._printed < 1 and self.done < self._total:
            return
        self._printed = now
        left = (now - self._started) / self.done * (self._total - self.done)
        notes = [f"{self.done}/{self._total} {self._what}", _duration(left) + " left", note]
        print(", ".join(filter(None, notes)), flush=True)


def _duration(seconds: float) -> str:
    minutes, seconds = divmod(round(seconds), 60)
    return f"{minutes} min {seconds} s" if minutes else f"{seconds} s"
