"""What the supervisor does when something is in its way."""

from __future__ import annotations

import io
import json
import sys
from typing import TYPE_CHECKING

import pytest

from model_config import digest_of, load_deployment
from supervisor import readiness, report
from supervisor.child import Child, Command
from supervisor.console import Console
from supervisor.options import read_options
from supervisor.plan import make_plan
from supervisor.server_config import ServerConfig
from supervisor.supervisor import Supervisor
from supervisor.wishes import Stop
from tests.processes import ROOT, wait_until

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


def test_a_models_file_that_changes_meanwhile_is_not_waited_for(
    supervisor_of: MakeSupervisor, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A router that answers by what was written when it was told to read has read it, whatever was typed since."""
    supervisor = supervisor_of("[a]\ninput_size = [8, 8]\n")
    (tmp_path / "state").mkdir()
    supervisor._place()
    files = (tmp_path / "models.toml", tmp_path / "state" / "placement.json")
    answers = iter(["", digest_of(*files)])
    files[0].write_text("[a]\nhalf = ")
    monkeypatch.setattr(readiness, "router_configuration", lambda _: next(answers))
    assert not supervisor._router_has_read()
    assert supervisor._router_has_read()


def test_a_model_of_which_no_version_can_be_loaded_is_told(
    supervisor_of: MakeSupervisor, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The table that ends the start says so, and the router hears it."""
    supervisor = supervisor_of("[a]\ninput_size = [8, 8]\n")
    (tmp_path / "state").mkdir()
    monkeypatch.setattr(supervisor._servers, "unloadable", lambda: {"a": "half of it"})
    supervisor._place()
    row = supervisor._row(supervisor.plan.models[0])
    assert row.state == "UNAVAILABLE"
    placed = json.loads((tmp_path / "state" / "placement.json").read_text())
    assert placed["a"]["problem"].startswith("No version of it can be loaded: half of it.")


def test_stopping_is_heard_while_a_model_server_is_retired(
    supervisor_of: MakeSupervisor, said: io.StringIO
) -> None:
    """Whoever retires a slow model server can be stopped meanwhile, and the server still finishes in its time."""
    supervisor = supervisor_of("[a]\ninput_size = [8, 8]\n")
    url = supervisor.plan.servers[0].url
    command = Command("a", (sys.executable, "-c", FINISHES_SLOWLY), {}, stop_seconds=30)
    child = Child(command, supervisor._console)
    supervisor._servers.reserve(supervisor.plan.servers)
    supervisor._servers.children[url] = child
    child.start()
    wait_until(lambda: "up" in said.getvalue(), seconds=10, what="it is up")
    supervisor._wishes._queue.put(Stop(0))
    with pytest.raises(Stop):
        supervisor._retire([url])
    assert child.is_running
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


TRAINER = """
import argparse, sys
from pathlib import Path
sys.path.insert(0, {root!r})
from model_config import load_deployment
from model_config.made_from import write_record
parser = argparse.ArgumentParser()
parser.add_argument("--models", type=Path)
parser.add_argument("--model")
arguments = parser.parse_args()
config = load_deployment(arguments.models).models[arguments.model]
if config.preprocess == "torch":
    sys.exit("These pictures are not for torch.")
version = config.base_path / str(len([*config.base_path.glob("*")]) + 1)
version.mkdir(parents=True)
(version / "saved_model.pb").touch()
write_record(version, config)
"""
TRAINED = (
    "[a]\ninput_size = [8, 8]\nbase_path = 'a'\ntrain = 'train.py'\npreprocess = '{preprocess}'\n"
)


def prepare(supervisor: Supervisor) -> None:
    """Make the versions that are missing."""
    list(supervisor._prepare(supervisor._missing()))


def test_a_changed_table_gets_a_version_of_its_own(
    supervisor_of: MakeSupervisor, said: io.StringIO, tmp_path: Path
) -> None:
    """A version that fits the table is made once, beside those that are there, and the reason is said."""
    (tmp_path / "train.py").write_text(TRAINER.format(root=str(ROOT)))
    for preprocess in ("none", "tf", "tf"):
        supervisor = supervisor_of(TRAINED.format(preprocess=preprocess))
        prepare(supervisor)
        assert supervisor._problems == {}
    assert sorted(folder.name for folder in (tmp_path / "a").iterdir()) == ["1", "2"]
    line = 'a: version 1 was made with preprocess = "none", the table says "tf"; making one'
    assert said.getvalue().count(line) == 1


def test_a_version_that_does_not_fit_is_not_served_instead(
    supervisor_of: MakeSupervisor, tmp_path: Path
) -> None:
    """Where no version that fits can be made, requests are told why, and a running server lets go of the old one."""
    (tmp_path / "train.py").write_text(TRAINER.format(root=str(ROOT)))
    prepare(supervisor_of(TRAINED.format(preprocess="none")))
    supervisor = supervisor_of(TRAINED.format(preprocess="torch"))
    (server,) = supervisor.plan.servers
    (tmp_path / "state").mkdir()
    config = ServerConfig(tmp_path / "state" / "server.config", server.url, print)
    supervisor._servers._configs[server.url] = config
    config.serve(supervisor.plan.models)
    prepare(supervisor)
    supervisor._serve([server])
    assert supervisor._servers.children == {}
    assert str(tmp_path / "a") not in config.path.read_text()
    assert supervisor._placement(supervisor.plan.models[0]) == {
        "problem": 'Its version 1 was made with preprocess = "none", the table says "torch". Change the table back,'
        " or mend this: These pictures are not for torch."
    }


def test_checking_tells_what_does_not_fit(supervisor_of: MakeSupervisor, tmp_path: Path) -> None:
    """`--check` has a line for each model whose version must be made, and why."""
    (tmp_path / "train.py").write_text(TRAINER.format(root=str(ROOT)))
    first = supervisor_of(TRAINED.format(preprocess="none"))
    assert f"  no version under {tmp_path / 'a'} yet: would train it with" in report.check(
        first.plan, first.options
    )
    prepare(first)
    assert "version 1" not in report.check(first.plan, first.options)
    changed = supervisor_of(TRAINED.format(preprocess="tf"))
    line = '  version 1 was made with preprocess = "none", the table says "tf": would train it with'
    assert line in report.check(changed.plan, changed.options)
