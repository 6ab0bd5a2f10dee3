"""What the supervisor does when something is in its way."""

from __future__ import annotations

import io
import json
import sys
from typing import TYPE_CHECKING

import pytest

from model_config import load_deployment
from supervisor import ports
from supervisor.child import Child, Command
from supervisor.console import Console
from supervisor.options import read_options
from supervisor.plan import make_plan
from supervisor.supervisor import Supervisor
from supervisor.wishes import Stop
from tests.processes import wait_until

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

    MakeSupervisor = Callable[[str], Supervisor]


FINISHES_SLOWLY = """
import signal, time
asked = []
signal.signal(signal.SIGTERM, lambda *_: asked.append(True))
print("up", flush=True)
while not asked:
    time.sleep(0.02)
time.sleep(0.5)
raise SystemExit(7)
"""


@pytest.fixture
def said() -> io.StringIO:
    """What the supervisor prints."""
    return io.StringIO()


@pytest.fixture
def supervisor_of(tmp_path: Path, said: io.StringIO) -> Iterator[MakeSupervisor]:
    """A supervisor of a models file with the given text, with all that it writes in a folder of the test."""
    console = Console(tmp_path / "logs", said)

    def make(text: str) -> Supervisor:
        path = tmp_path / "models.toml"
        path.write_text(text)
        env = {"STATE_DIR": str(tmp_path / "state"), "LOGS_DIR": str(tmp_path / "logs")}
        options = read_options(["--models", str(path), "--model-server", "embedded"], env)
        return Supervisor(make_plan(load_deployment(path, env={}), options), options, console)

    yield make
    console.close()


def test_a_placement_that_cannot_be_written_is_written_later(
    supervisor_of: MakeSupervisor, said: io.StringIO, tmp_path: Path
) -> None:
    """A full disk is said once and stops nothing; where the models are is written as soon as that is possible."""
    supervisor = supervisor_of("[a]\ninput_size = [8, 8]\n")
    placement = tmp_path / "state" / "placement.json"
    supervisor._place()
    supervisor._place()
    assert said.getvalue().count(f"{placement} cannot be written: No such file") == 1
    placement.parent.mkdir()

    def is_written() -> bool:
        supervisor._tick()
        return placement.exists()

    wait_until(is_written, seconds=5, what="the placement is written")
    assert "upstream" in json.loads(placement.read_text())["a"]


def test_stopping_is_heard_while_a_model_server_is_retired(
    supervisor_of: MakeSupervisor, said: io.StringIO
) -> None:
    """Whoever retires a slow model server can be stopped meanwhile, and the server still finishes in its time."""
    supervisor = supervisor_of("[a]\ninput_size = [8, 8]\n")
    url = supervisor.plan.servers[0].url
    command = Command("a", (sys.executable, "-c", FINISHES_SLOWLY), {}, stop_seconds=30)
    child = Child(command, supervisor._console)
    supervisor._servers[url] = child
    supervisor._reserved[url] = ports.reserve("127.0.0.1", ports.port_of(url))
    child.start()
    wait_until(lambda: "up" in said.getvalue(), seconds=10, what="it is up")
    supervisor._wishes._queue.put(Stop(0))
    with pytest.raises(Stop):
        supervisor._retire([url])
    assert child.pid is not None
    supervisor._stop_all()
    assert child.exit_status == 7


def test_an_unforeseen_mistake_of_a_models_file_stops_nothing(
    supervisor_of: MakeSupervisor, said: io.StringIO, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Whatever reading it again ends with, the plan stays, and the log says all that is known."""
    supervisor = supervisor_of("[a]\ninput_size = [8, 8]\n")
    plan = supervisor.plan

    def fail(*_: object, **__: object) -> None:
        raise RecursionError("too deep")

    monkeypatch.setattr("supervisor.supervisor.make_plan", fail)
    supervisor._reload()
    assert supervisor.plan is plan
    assert "not taken over" in said.getvalue()
    assert "RecursionError: too deep" in said.getvalue()
