from __future__ import annotations

import contextlib
import json
import signal
import sys
import time
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from tests.deploy.hosts import Host, Network, needs_hosts
from tests.flask_server import toy_model_server
from tests.processes import wait_until

if TYPE_CHECKING:
    from collections.abc import Iterator

    from tests.processes import Program

pytestmark = [pytest.mark.deployment, *needs_hosts()]

LOAD = Path(__file__).with_name("load.py")
TOY = Path(toy_model_server.__file__)
PORT = 8501
THREADS = 8
PHASE_SECONDS = 4.0
LONGEST_SECONDS = 8.0
"""A request that was with a host when its cable was pulled: found out, and asked again elsewhere, within this."""
TABLE = """
[colours]
input_size = [4, 6]
labels = ["red", "green", "blue"]
upstream = {upstream}
timeout_seconds = 15
"""


@dataclass(frozen=True, slots=True)
class Answer:
    """One line of the load's results."""

    at: float
    status: int
    seconds: float


class Cluster:
    """A router on one host, model servers on others, and load."""

    def __init__(self, network: Network, folder: Path) -> None:
        self.network = network
        self.folder = folder
        (folder / "answers").touch()
        self.router_host = network.add_host()
        self.servers: dict[Host, Program] = {}
        self.processes = contextlib.ExitStack()

    def start_server(self) -> Host:
        """A new host with a model server."""
        host = self.network.add_host()
        command = (sys.executable, TOY, "--host", host.address, "--port", str(PORT))
        log = self.folder / f"server-{host.number}.log"
        program = host.running(*command, "--delay", "0.02", log=log)
        self.servers[host] = self.processes.enter_context(program)
        wait_until(lambda: self.requests(host) == 0, seconds=20, what="a model server answers")
        return host

    def write_models(self, *hosts: Host) -> Path:
        """Let the models file name these replicas."""
        urls = [f"http://{host.address}:{PORT}" for host in hosts]
        file = self.folder / "models.toml"
        file.write_text(TABLE.format(upstream=json.dumps(urls)))
        return file

    def start_router(self, *hosts: Host) -> Program:
        """The router in front of these replicas."""
        host = self.router_host
        env = {"HOST": "127.0.0.1", "PORT": "5000", "MODELS_FILE": str(self.write_models(*hosts))}
        command = (sys.executable, "-m", "flask_server")
        log = self.folder / "router.log"
        router = self.processes.enter_context(host.running(*command, log=log, **env))
        wait_until(lambda: fetch(host, "http://127.0.0.1:5000/readyz"), seconds=30, what="ready")
        return router

    def start_load(self) -> None:
        """Requests from now on."""
        url = "http://127.0.0.1:5000/colours/predict/"
        command = (sys.executable, LOAD, url, str(THREADS), self.folder / "answers")
        log = self.folder / "load.log"
        self.processes.enter_context(self.router_host.running(*command, log=log))

    def requests(self, host: Host) -> int | None:
        """How many predictions a model server was asked for; None if it does not answer."""
        told = fetch(host, f"http://{host.address}:{PORT}/requests")
        return int(told) if told else None

    def share(self, host: Host, *, of: list[Host]) -> float:
        """The part of the predictions of a few seconds that one of the hosts was asked for."""
        before = {one: self.requests(one) or 0 for one in of}
        time.sleep(PHASE_SECONDS)
        asked = {one: (self.requests(one) or 0) - before[one] for one in of}
        assert sum(asked.values()) > 20, "there is hardly any traffic"
        return asked[host] / sum(asked.values())

    def answers(self) -> list[Answer]:
        """What the load got so far."""
        lines = (self.folder / "answers").read_text().splitlines()
        rows = (line.split() for line in lines)
        return [Answer(float(at), int(status), float(took)) for at, status, took in rows]


def fetch(host: Host, url: str) -> str:
    """The body of a GET made on a host; empty if it fails."""
    program = (
        "import sys, urllib.request as u; print(u.urlopen(sys.argv[1], timeout=3).read().decode())"
    )
    try:
        return host.output(sys.executable, "-c", program, url)
    except Exception:  # noqa: BLE001 - whatever fails, there is no answer
        return ""


@pytest.fixture
def cluster(tmp_path: Path) -> Iterator[Cluster]:
    """Three hosts: a router, and two replicas that it shares the traffic between."""
    with Network() as network:
        cluster = Cluster(network, tmp_path)
        with cluster.processes:
            yield cluster


def test_hosts_come_and_go_without_a_lost_request(cluster: Cluster) -> None:
    """A cable is pulled and put back, a host dies, another is added: every request is answered, traffic follows."""
    first, second = cluster.start_server(), cluster.start_server()
    router = cluster.start_router(first, second)
    cluster.start_load()
    wait_until(lambda: len(cluster.answers()) > 20, seconds=20, what="traffic flows")
    assert 0.3 < cluster.share(first, of=[first, second]) < 0.7

    first.cut()
    time.sleep(LONGEST_SECONDS)
    assert cluster.share(first, of=[first, second]) == 0

    first.restore()
    time.sleep(LONGEST_SECONDS)
    assert 0.3 < cluster.share(first, of=[first, second]) < 0.7

    second.cut()  # a host that dies says no goodbye
    cluster.servers[second].process.send_signal(signal.SIGKILL)
    time.sleep(LONGEST_SECONDS)
    assert cluster.share(first, of=[first]) == 1

    third = cluster.start_server()
    cluster.write_models(first, second, third)
    router.process.send_signal(signal.SIGHUP)
    time.sleep(2)
    assert 0.3 < cluster.share(third, of=[first, third]) < 0.7

    answers = cluster.answers()
    assert [answer for answer in answers if answer.status != 200] == []
    assert max(answer.seconds for answer in answers) < LONGEST_SECONDS
