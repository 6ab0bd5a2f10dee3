"""Start the real programs in tests, wait for them, and leave none behind."""

from __future__ import annotations

import contextlib
import os
import signal
import socket
import subprocess
import sys
import time
import urllib.error
import urllib.request
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping, Sequence

ROOT = Path(__file__).resolve().parent.parent


def free_port() -> int:
    """A TCP port of the loopback interface that nobody listens on now."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


def wait_until(condition: Callable[[], bool], *, seconds: float, what: str) -> None:
    """Ask `condition` until it is true; fail the test naming `what` when time is up."""
    deadline = time.monotonic() + seconds
    while not condition():
        if time.monotonic() > deadline:
            raise AssertionError(f"not within {seconds} s: {what}")
        time.sleep(0.05)


def answers(url: str, status: int = 200) -> bool:
    """Whether a GET of `url` is answered with `status`."""
    try:
        with urllib.request.urlopen(url, timeout=5) as response:
            return bool(response.status == status)
    except urllib.error.HTTPError as error:
        return error.code == status
    except OSError:
        return False


class Program:
    """A running program of this project; its output is kept in a file."""

    def __init__(self, process: subprocess.Popen[bytes], log: Path) -> None:
        self.process = process
        self.log = log

    def output(self) -> str:
        """What it has printed so far, both streams."""
        return self.log.read_text(errors="replace")

    def wait_for(self, url: str, *, seconds: float = 60) -> None:
        """Wait until `url` answers 200; fail with the program's output if it ends or time is up."""

        def ready() -> bool:
            if self.process.poll() is not None:
                raise AssertionError(f"ended with {self.process.returncode}:\n{self.output()}")
            return answers(url)

        try:
            wait_until(ready, seconds=seconds, what=f"{url} answers 200")
        except AssertionError as error:
            raise AssertionError(f"{error}\n{self.output()}") from None

    def stop(self, *, seconds: float = 20) -> int:
        """Send SIGTERM, wait, and return the exit status."""
        if self.process.poll() is None:
            self.process.send_signal(signal.SIGTERM)
        return self.process.wait(timeout=seconds)


@contextlib.contextmanager
def running(
    *arguments: str | Path,
    log: Path,
    env: Mapping[str, str] | None = None,
    cwd: Path = ROOT,
) -> Iterator[Program]:
    """Run `python ARGUMENTS` in a process group of its own, killed whole when the block ends."""
    environment = {**os.environ, "PYTHONUNBUFFERED": "1", **(env or {})}
    with running_command(sys.executable, *arguments, log=log, env=environment, cwd=cwd) as program:
        yield program


@contextlib.contextmanager
def running_command(
    *command: str | Path,
    log: Path,
    env: Mapping[str, str] | None = None,
    cwd: Path = ROOT,
    pass_fds: Sequence[int] = (),
) -> Iterator[Program]:
    """Likewise any command, with this environment alone (default: ours), and with these open files."""
    with log.open("ab") as sink:
        process = subprocess.Popen(
            [*map(str, command)],
            cwd=cwd,
            env=env,
            pass_fds=pass_fds,
            stdin=subprocess.DEVNULL,
            stdout=sink,
            stderr=subprocess.STDOUT,
            start_new_session=True,
        )
    try:
        yield Program(process, log)
    finally:
        with contextlib.suppress(ProcessLookupError):
            os.killpg(process.pid, signal.SIGTERM)
        with contextlib.suppress(subprocess.TimeoutExpired):
            process.wait(timeout=15)
        with contextlib.suppress(ProcessLookupError):
            os.killpg(process.pid, signal.SIGKILL)
        process.wait(timeout=15)
