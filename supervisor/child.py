"""One child process: started tethered, listened to, restarted with back-off, stopped."""

from __future__ import annotations

import contextlib
import os
import signal as signals
import subprocess
import sys
import threading
import time
from collections import deque
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from model_config import PROJECT

if TYPE_CHECKING:
    from collections.abc import Mapping

    from supervisor.console import Console

TETHER = Path(__file__).with_name("tether.py")
RESTART_DELAYS_SECONDS = (0.0, 1.0, 2.0, 4.0, 8.0)
STEADY_SECONDS = 30.0
"""A child that lived this long has recovered: its earlier deaths are forgotten."""
START_AGAIN_SECONDS = 5.0
LINES_KEPT = 20


@dataclass(frozen=True, slots=True)
class Command:
    """What to run, and under which name its lines appear."""

    name: str
    arguments: tuple[str, ...]
    env: Mapping[str, str]
    stop_signal: signals.Signals = signals.SIGTERM
    """What asks it to end. If it is another one, it ignores SIGTERM, which a platform may send to all at once."""
    stop_seconds: float = 1.0
    """How long it may take to end when it is asked to."""
    hopeless_status: int | None = None
    """With this exit status at its first end it says that it will never run: starting it again is no use."""


class Child:
    """A process of one command; it may be started many times, one after another."""

    def __init__(self, command: Command, console: Console) -> None:
        self.command = command
        self.given_up: str | None = None
        """Why it is not restarted any more."""
        self.restart_at: float | None = None
        """When it is to be started again, on the monotonic clock; None while it runs."""
        self._console = console
        self._process: subprocess.Popen[bytes] | None = None
        self._last_status: int | None = None
        self._pump: threading.Thread | None = None
        self._started_at = 0.0
        self._deaths = 0
        self._last_lines: deque[str] = deque(maxlen=LINES_KEPT)
        console.reserve(command.name)

    @property
    def name(self) -> str:
        """The name before its lines."""
        return self.command.name

    @property
    def is_running(self) -> bool:
        """Whether its process is there and has not ended."""
        return self._process is not None and self._process.poll() is None

    @property
    def exit_status(self) -> int | None:
        """As `subprocess` tells it: None while it runs, -N after signal N."""
        return self._process.poll() if self._process else self._last_status

    @property
    def has_ended(self) -> bool:
        """Whether it ran until now and is to be buried."""
        return self._process is not None and self._process.poll() is not None

    def start(self) -> None:
        """Start the process; where the system has no room for one now, say so and plan another attempt."""
        self.restart_at = None
        self._started_at = time.monotonic()
        self._last_lines.clear()
        try:
            self._start()
        except (OSError, RuntimeError) as error:  # a process or a thread too many
            self._console.line(
                self.name,
                f"cannot be started ({error}); it is tried again in {START_AGAIN_SECONDS:g} s",
            )
            self.end()
            self.restart_at = time.monotonic() + START_AGAIN_SECONDS

    def start_when_due(self) -> None:
        """Start it if that is planned for now."""
        if self.restart_at is not None and time.monotonic() >= self.restart_at:
            self.start()

    def _start(self) -> None:
        """Start the process in a group of its own, so that a Ctrl-C of the terminal reaches only us."""
        tether = (sys.executable, str(TETHER), str(os.getpid()), str(int(self.command.stop_signal)))
        self._process = subprocess.Popen(  # noqa: S603 - commands are made by plan.py, never by a shell
            [*tether, *self.command.arguments],
            cwd=PROJECT,
            env={**os.environ, **self.command.env, "PYTHONUNBUFFERED": "1"},
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            start_new_session=True,
        )
        pump = threading.Thread(target=self._listen, args=(self._process,), daemon=True)
        pump.start()
        self._pump = pump

    def bury(self) -> None:
        """After its end: remove what is left of its group, hear its last lines, plan the restart or give up."""
        self._end_group()
        reason = self.last_words().rstrip(".")
        if time.monotonic() - self._started_at > STEADY_SECONDS:
            self._deaths = 0
        hopeless = self._deaths == 0 and self.exit_status == self.command.hopeless_status
        if hopeless or self._deaths == len(RESTART_DELAYS_SECONDS):
            how = "at once" if hopeless else f"{self._deaths + 1} times in a row"
            self.given_up = f"{self.name} ended {how}; its last words: {reason}"
            return
        self.restart_at = time.monotonic() + RESTART_DELAYS_SECONDS[self._deaths]
        self._deaths += 1

    def last_words(self) -> str:
        """The last line that an ended process printed, or how it ended."""
        if self._pump:
            self._pump.join(timeout=2)
        spoken = [line for line in self._last_lines if line.strip()]
        return spoken[-1] if spoken else f"exit status {self.exit_status}"

    def last_lines(self) -> str:
        """What an ended process printed at its end, as one line."""
        self.last_words()
        return " ".join(self._last_lines)

    def signal(self, number: signals.Signals) -> None:
        """Send a signal to the process itself; nothing happens if it has ended."""
        if self._process:
            self._process.send_signal(number)

    def ask_to_end(self) -> None:
        """Let it finish what it has, and end; nothing waits for that here."""
        self.signal(self.command.stop_signal)

    def end(self) -> None:
        """Kill it and its group, whatever is left of them, and hear its last lines; it is not started again."""
        self.restart_at = None
        self._end_group()
        if self._pump:
            self._pump.join(timeout=2)

    def _end_group(self) -> None:
        """Kill whatever is left of its group, and forget its id: it may be another program's from now on."""
        if self._process:
            with contextlib.suppress(ProcessLookupError, PermissionError):
                os.killpg(self._process.pid, signals.SIGKILL)
            self._last_status = self._process.wait()
            self._process = None

    def _listen(self, process: subprocess.Popen[bytes]) -> None:
        if process.stdout is None:
            return
        with process.stdout as pipe:
            for raw in pipe:
                line = raw.decode(errors="replace").rstrip("\r\n").rsplit("\r", 1)[-1]
                self._last_lines.append(line)
                self._console.line(self.name, line)
