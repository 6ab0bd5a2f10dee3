"""Start programs, and tell what each of their processes has cost so far."""

from __future__ import annotations

import os
import signal
import socket
import subprocess
import sys
import time
import urllib.error
import urllib.request
from dataclasses import dataclass
from pathlib import Path
from typing import IO, TYPE_CHECKING

import psutil

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Mapping

ROOT = Path(__file__).resolve().parent.parent
MEGABYTE = 2**20
READY_SECONDS = 180.0
STOP_SECONDS = 60.0
ROLES = {
    "router": "flask_server",
    "model server": "serving",
    "supervisor": "auto_cmd.py",
    "limit": "benchmarks.programs.limit",
    "decode": "benchmarks.programs.decode",
    "seed": "benchmarks.programs.seed",
}
"""Role -> a word of the command line that tells it."""
OTHER_ROLE = "fastapi"


@dataclass(frozen=True, slots=True)
class Cost:
    """What the processes of one role have cost."""

    cpu_seconds: float
    peak_mb: float
    """Largest resident set so far, added up over the processes."""
    processes: int


class Program:
    """A process tree, started with its output in a log file."""

    def __init__(
        self,
        arguments: Iterable[str | Path],
        log: Path,
        *,
        env: Mapping[str, str] | None = None,
        stdin: int = subprocess.DEVNULL,
        stdout: int | None = None,
    ) -> None:
        log.parent.mkdir(parents=True, exist_ok=True)
        self.log = log
        self.started_at = time.monotonic()
        with log.open("ab") as sink:
            self.process = subprocess.Popen(
                [sys.executable, *map(str, arguments)],
                cwd=ROOT,
                env={**os.environ, "PYTHONUNBUFFERED": "1", **(env or {})},
                stdin=stdin,
                stdout=sink if stdout is None else stdout,
                stderr=sink,
                start_new_session=True,
            )

    @property
    def pid(self) -> int:
        """The first process of the tree."""
        return self.process.pid

    def wait_for(self, url: str) -> float:
        """Wait until `url` answers 200; return the seconds since the start.

        Raises:
            RuntimeError: The program ended, or time is up.
        """
        while not _answers(url):
            passed = time.monotonic() - self.started_at
            if self.process.poll() is not None or passed > READY_SECONDS:
                raise RuntimeError(f"{url} does not answer; see {self.log}.")
            time.sleep(0.05)
        return time.monotonic() - self.started_at

    def tell(self, line: str) -> None:
        """Write a line to its standard input."""
        stdin = self.process.stdin
        if stdin is None:
            raise RuntimeError("The program was started without standard input.")
        stdin.write(line.encode() + b"\n")
        stdin.flush()

    def hear(self) -> bytes:
        """Wait for a line of its standard output.

        Raises:
            RuntimeError: It ended instead.
        """
        line = self.process.stdout.readline() if self.process.stdout else b""
        if not line:
            raise RuntimeError(f"The program ended; see {self.log}.")
        return line

    def stop(self) -> None:
        """Ask it to end; kill the whole group when it does not."""
        if self.process.poll() is None:
            self.process.send_signal(signal.SIGTERM)
            try:
                self.process.wait(STOP_SECONDS)
            except subprocess.TimeoutExpired:
                os.killpg(self.pid, signal.SIGKILL)
                self.process.wait()
        for stream in (self.process.stdin, self.process.stdout):
            _close(stream)


def costs(pids: Iterable[int]) -> dict[str, Cost]:
    """What the trees below `pids` have cost so far, by role."""
    by_role: dict[str, list[Cost]] = {}
    for process in _with_children(pids):
        try:
            by_role.setdefault(_role(process), []).append(_cost(process))
        except psutil.Error:  # it ended meanwhile
            continue
    return {role: _sum(shares) for role, shares in by_role.items()}


def pids_of_role(pid: int, role: str) -> list[int]:
    """The processes of one role in the tree below `pid`."""
    return [process.pid for process in _with_children([pid]) if _role(process) == role]


def resident_mb(pid: int) -> float:
    """What a process holds in memory now, in MB."""
    return float(psutil.Process(pid).memory_info().rss) / MEGABYTE


def free_port() -> int:
    """A TCP port of the loopback interface that nobody listens on now."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


def _with_children(pids: Iterable[int]) -> Iterator[psutil.Process]:
    for pid in pids:
        process = psutil.Process(pid)
        yield process
        yield from process.children(recursive=True)


def _role(process: psutil.Process) -> str:
    words = process.cmdline()
    return next((role for role, word in ROLES.items() if _names(words, word)), OTHER_ROLE)


def _names(words: list[str], wanted: str) -> bool:
    return any(word == wanted or word.endswith(f"/{wanted}") for word in words)


def _cost(process: psutil.Process) -> Cost:
    times = process.cpu_times()
    status = Path(f"/proc/{process.pid}/status").read_text()
    peak_kb = next(int(line.split()[1]) for line in status.splitlines() if line.startswith("VmHWM"))
    return Cost(times.user + times.system, peak_kb / 1024, 1)


def _sum(shares: list[Cost]) -> Cost:
    return Cost(
        sum(share.cpu_seconds for share in shares),
        sum(share.peak_mb for share in shares),
        len(shares),
    )


def _answers(url: str) -> bool:
    try:
        with urllib.request.urlopen(url, timeout=5) as response:
            return bool(response.status == 200)
    except OSError:
        return False


def _close(stream: IO[bytes] | None) -> None:
    if stream is not None:
        stream.close()
