"""Model servers that die and models that are slow, under load; KILLS=10 kills more often."""

from __future__ import annotations

import contextlib
import os
import signal
import statistics
import threading
import time
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from tests.flask_server.running_router import started
from tests.processes import free_port, running, wait_until

if TYPE_CHECKING:
    from collections.abc import Iterator

    from tests.flask_server.running_router import Router
    from tests.processes import Program

pytestmark = pytest.mark.slow

KILLS = int(os.environ.get("KILLS", "2"))
SLOW_CLIENTS = 50
TOY = Path(__file__).with_name("toy_model_server.py")


@contextlib.contextmanager
def toy_process(port: int, log: Path, *arguments: str) -> Iterator[Program]:
    """A model server as a process of its own, ready."""
    with running(TOY, "--port", str(port), *arguments, log=log) as program:
        program.wait_for(f"http://127.0.0.1:{port}/v1/models/colours")
        yield program


@contextlib.contextmanager
def load(router: Router, path: str, clients: int) -> Iterator[list[tuple[int, float]]]:
    """Clients that ask without a pause while the block runs; status and seconds of each answer."""
    answers: list[tuple[int, float]] = []
    stop = threading.Event()

    def ask() -> None:
        while not stop.is_set():
            begun = time.monotonic()
            status = router.predict(path)
            answers.append((status, time.monotonic() - begun))
            if status != 200:
                stop.wait(0.05)

    threads = [threading.Thread(target=ask) for _ in range(clients)]
    for thread in threads:
        thread.start()
    try:
        yield answers
    finally:
        stop.set()
        for thread in threads:
            thread.join()


def table(name: str, *ports: int) -> str:
    """A table whose model is served at these ports."""
    urls = [f"http://127.0.0.1:{port}" for port in ports]
    return f'[{name}]\ninput_size = [4, 6]\nlabels = ["r", "g", "b"]\nupstream = {urls}\n'


def kill(program: Program) -> None:
    """End a process without a chance to say goodbye."""
    os.kill(program.process.pid, signal.SIGKILL)
    program.process.wait()


def test_two_replicas_killed_in_turn(tmp_path: Path) -> None:
    """With two replicas under load, `kill -9` of one at a time fails no request."""
    ports, log = (free_port(), free_port()), tmp_path / "toy.log"
    with (
        started(tmp_path, table("colours", *ports), LOG_LEVEL="warning") as router,
        contextlib.ExitStack() as stack,
    ):
        replicas = [stack.enter_context(toy_process(port, log)) for port in ports]
        with load(router, "/colours/predict/", clients=6) as answers:
            for turn in range(KILLS):
                time.sleep(0.2)
                kill(replicas[turn % 2])
                time.sleep(0.2)
                port = ports[turn % 2]
                replicas[turn % 2] = stack.enter_context(toy_process(port, log))
        assert {status for status, _ in answers} == {200}


def test_only_replica_killed(tmp_path: Path) -> None:
    """With one replica, killed and started again, there are only 503s, quickly, and recovery without help."""
    port, log = free_port(), tmp_path / "toy.log"
    with (
        started(tmp_path, table("colours", port), LOG_LEVEL="warning") as router,
        contextlib.ExitStack() as stack,
    ):
        for _ in range(KILLS):
            replica = stack.enter_context(toy_process(port, log))
            wait_until(lambda: router.predict() == 200, seconds=5, what="it recovers")
            with load(router, "/colours/predict/", clients=2) as answers:
                time.sleep(0.2)
                kill(replica)
                time.sleep(0.3)
            assert {status for status, _ in answers} == {200, 503}
            assert statistics.median(spent for status, spent in answers if status == 503) < 0.1


def test_slow_model_does_not_starve_a_fast_one(tmp_path: Path) -> None:
    """While one model is slow and saturated, another answers as ever; the slow one turns away what is too much."""
    slow, fast, log = free_port(), free_port(), tmp_path / "toy.log"
    models = table("slow", slow) + table("fast", fast)
    with (
        toy_process(slow, log, "--delay", "1"),
        toy_process(fast, log),
        started(tmp_path, models, LOG_LEVEL="warning", DRAIN_SECONDS="0") as router,
    ):
        statuses: list[int] = []
        threads = [
            threading.Thread(target=lambda: statuses.append(router.predict("/slow/predict/")))
            for _ in range(SLOW_CLIENTS)
        ]
        for thread in threads:
            thread.start()
        wait_until(
            lambda: len(statuses) >= SLOW_CLIENTS - 32, seconds=4, what="32 are in, the rest is out"
        )
        assert set(statuses) == {503}
        with load(router, "/fast/predict/", clients=2) as answers:
            time.sleep(0.5)
        assert {status for status, _ in answers} == {200}
        assert sorted(spent for _, spent in answers)[len(answers) * 95 // 100] < 0.5
        for thread in threads:
            thread.join()
        assert sorted(statuses) == [200] * 32 + [503] * (SLOW_CLIENTS - 32)
