from __future__ import annotations

import json
import os
import signal
import time
import urllib.error
import urllib.request
from typing import TYPE_CHECKING, Any

import pytest

from tests.end_to_end.disturbance import Traffic, processes
from tests.end_to_end.pages import Checkout, commands
from tests.processes import ROOT, free_port, wait_until

if TYPE_CHECKING:
    from pathlib import Path

pytestmark = [pytest.mark.tensorflow, pytest.mark.timeout(420)]

PICTURES = ROOT / "examples" / "few_shot" / "pictures"
MODELS = ROOT / "examples" / "few_shot" / "models.toml"


@pytest.fixture(scope="module")
def saved_models(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Where the first test that runs has the model built."""
    return tmp_path_factory.mktemp("saved_models")


def test_the_page_teaches_and_asks(tmp_path: Path, saved_models: Path) -> None:
    """The page's commands, run against what `make run` starts, teach three labels and then a fourth."""
    checkout = Checkout(tmp_path)
    checkout.env["SAVED_MODELS_DIR"] = str(saved_models)
    request, *through_the_router = commands("few-shot.md")
    with checkout.started("--models", str(MODELS), model="fewshot"):
        before, after = checkout.run(request).split("taught six")
        assert "taught eight, nine, seven: 15 pictures" in before
        rows = [line.split() for line in after.splitlines()[1:]]
        right = [row for row in rows if row[0].startswith(row[1])]
        assert len(rows) == 8
        assert len(right) >= 7
        *_, asked, deleted = [
            checkout.run(command.replace("http://127.0.0.1:5000", checkout.router))
            for command in through_the_router
        ]
    assert [label for label, _, _ in json.loads(asked)] == ["nine", "six"]
    assert json.loads(deleted)["labels"] == {"nine": 2}


class Deployment:
    """Two replicas behind a router with two workers, as a client sees them."""

    def __init__(self, folder: Path, saved_models: Path) -> None:
        self.checkout = Checkout(folder)
        self.ports = [free_port(), free_port()]
        urls = ", ".join(f'"http://127.0.0.1:{port}"' for port in self.ports)
        path = folder / "two_replicas.toml"
        path.write_text(
            "[fewshot]\nsupport_set = true\ncolor_mode = 'grayscale'\ninput_size = [8, 8]\n"
            f"train = '{MODELS.parent / 'build.py'}'\nupstream = [{urls}]\n"
        )
        self.checkout.env |= {
            "SAVED_MODELS_DIR": str(saved_models),
            "MODELS_FILE": str(path),
            "WORKERS": "2",
        }

    def call(self, method: str, path: str, body: bytes | None = None) -> tuple[int, Any]:
        """Status and JSON of an answer; status 0 if there was none."""
        request = urllib.request.Request(f"{self.checkout.router}/fewshot/{path}", body)
        request.method = method
        request.add_header("Content-Type", "image/png")
        try:
            with urllib.request.urlopen(request, timeout=60) as response:
                return response.status, json.load(response)
        except urllib.error.HTTPError as error:
            return error.code, json.load(error)
        except (OSError, ValueError):
            return 0, None

    def teach(self, label: str) -> None:
        """Name two pictures."""
        for number in (1, 2):
            picture = (PICTURES / "support" / label / f"{number}.png").read_bytes()
            status, answer = self.call("POST", f"support/?label={label}", picture)
            assert status == 200, answer

    def labels(self) -> tuple[int, set[str]]:
        """The status of a prediction, and all labels in it."""
        query = (PICTURES / "query" / "six_1.png").read_bytes()
        status, answer = self.call("POST", "predict/?top=9", query)
        return status, {label for label, _, _ in answer} if status == 200 else set()

    def servers(self, port: int) -> list[int]:
        """The processes of the replica on `port`, its tether included."""
        return processes(lambda command, _: f"--rest_api_port={port}" in command)

    def routers(self) -> list[int]:
        """The processes of the router: the first is the oldest."""
        port = self.checkout.env["PORT"]
        return processes(
            lambda command, env: "flask_server" in command and f"\0PORT={port}\0" in env
        )

    def processes_left(self) -> list[int]:
        """Every process of this deployment but the supervisor."""
        return [*self.routers(), *self.servers(self.ports[0]), *self.servers(self.ports[1])]


def kill(processes: list[int]) -> None:
    """Kill with -9."""
    assert processes
    for process in processes:
        os.kill(process, signal.SIGKILL)


def test_what_was_taught_outlives_every_process(tmp_path: Path, saved_models: Path) -> None:
    """Kill -9 of each replica, a router worker, the router and the supervisor: no answer lacks a label, ever."""
    deployment = Deployment(tmp_path, saved_models)
    started = deployment.checkout.started
    with started(model="fewshot") as supervisor:
        deployment.teach("six")
        deployment.teach("seven")
        assert deployment.labels() == (200, {"six", "seven"})
        with Traffic(deployment.labels) as traffic:
            for port in deployment.ports:
                kill(deployment.servers(port))
                back = f"http://127.0.0.1:{port}/v1/models/fewshot"
                wait_until(lambda url=back: _answers(url), seconds=90, what=f"{back} is back")
            kill(deployment.routers()[-1:])
            time.sleep(1)
        served = [labels for status, labels in traffic.answers if status == 200]
        assert {frozenset(labels) for labels in served} == {frozenset({"six", "seven"})}
        assert len(served) > len(traffic.answers) / 2
        deployment.teach("eight")
        kill(deployment.routers())
        wait_until(lambda: deployment.labels()[0] == 200, seconds=60, what="the router is back")
        assert deployment.labels() == (200, {"six", "seven", "eight"})
        supervisor.process.kill()
        supervisor.process.wait()
    wait_until(lambda: not deployment.processes_left(), seconds=60, what="no orphan is left")
    with started(model="fewshot"):
        assert deployment.labels() == (200, {"six", "seven", "eight"})


def _answers(url: str) -> bool:
    try:
        with urllib.request.urlopen(url, timeout=5) as response:
            return b"AVAILABLE" in response.read()
    except OSError:
        return False
