"""Versions come and go under traffic: nobody notices, and memory is given back.

SERVING_SWAPS sets how many; 200 takes some minutes.
"""

from __future__ import annotations

import json
import os
import shutil
import threading
import urllib.request
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from tests.processes import wait_until
from tests.serving.conftest import serving

if TYPE_CHECKING:
    from tests.serving.conftest import ModelServer, SaveVersion

pytestmark = [pytest.mark.tensorflow, pytest.mark.timeout(1800)]

SWAPS = int(os.environ.get("SERVING_SWAPS", "12"))
SETTLED_AFTER = min(20, SWAPS // 2)
CLIENTS = 2


class Client(threading.Thread):
    """Asks without a pause; keeps what went wrong."""

    def __init__(self, server: ModelServer) -> None:
        super().__init__()
        self._url = f"{server.url}/m:predict"
        self.done = threading.Event()
        self.failures: list[str] = []
        self.answers = 0
        self.factor = 0.0

    def run(self) -> None:
        """Ask until told that it is done."""
        body = json.dumps({"instances": [[1.0, 1.0, 1.0]]}).encode()
        while not self.done.is_set():
            try:
                with urllib.request.urlopen(self._url, body, timeout=30) as answer:
                    self.factor = json.load(answer)["predictions"][0][0]
            except OSError as error:
                self.failures.append(str(error))
            self.answers += 1


def resident_kb(pid: int) -> int:
    """The resident memory of a process (Linux)."""
    status = Path(f"/proc/{pid}/status").read_text()
    return int(status.split("VmRSS:")[1].split()[0])


@pytest.mark.skipif(not Path("/proc/self/status").exists(), reason="reads Linux's /proc")
def test_swapping_versions_loses_nothing(tmp_path: Path, save_version: SaveVersion) -> None:
    """Not one request fails while versions are swapped, and the memory does not grow."""
    base_path = tmp_path / "m"
    original = save_version(base_path, 1)
    flags = (
        "--model_name=m",
        f"--model_base_path={base_path}",
        "--file_system_poll_wait_seconds=1",
    )
    with serving(tmp_path / "log", *flags, ready="m") as server:
        clients = [Client(server) for _ in range(CLIENTS)]
        for client in clients:
            client.start()
        settled = swap(server, original, clients)
        for client in clients:
            client.done.set()
            client.join(60)
        final = resident_kb(server.program.process.pid)
    assert [failure for client in clients for failure in client.failures] == []
    print(f"{SWAPS} swaps, {sum(c.answers for c in clients)} answers, RSS {settled} -> {final} kB")
    assert final < settled * 1.15


def swap(server: ModelServer, original: Path, clients: list[Client]) -> int:
    """Put version after version in place of the last; return the memory once it has settled."""
    settled = 0
    current = original
    for number in range(2, SWAPS + 2):
        beside = original.parent / "tmp"
        shutil.copytree(current, beside)
        following = beside.rename(original.parent / str(number))
        shutil.rmtree(current)
        current = following
        status = f"{server.url}/m/versions/{number}"
        wait_until(lambda url=status: _is_available(url), seconds=60, what=f"version {number}")
        if number - 1 == SETTLED_AFTER:
            settled = resident_kb(server.program.process.pid)
        assert all(client.is_alive() for client in clients)
    return settled


def _is_available(url: str) -> bool:
    try:
        with urllib.request.urlopen(url, timeout=30) as answer:
            return b"AVAILABLE" in answer.read()
    except OSError:
        return False
