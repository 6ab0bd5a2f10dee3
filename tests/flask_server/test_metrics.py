"""Metrics: right in one process, and added up over four."""

from __future__ import annotations

import fcntl
import os
import signal
import tempfile
import threading
import time
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING

import pytest
import urllib3
from prometheus_client.parser import text_string_to_metric_families

from flask_server.measures import the_metrics
from flask_server.run_folder import run_folder
from model_config import ConfigError
from tests.flask_server.conftest import encoded
from tests.flask_server.test_access import write_keys
from tests.processes import free_port, running, wait_until

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from flask.testing import FlaskClient

    from tests.flask_server.toy_model_server import ToyModelServer
    from tests.processes import Program

PATH = "/colours/predict/"
RED = encoded((255, 51, 0))
QUOTA = 120
Samples = dict[tuple[str, frozenset[tuple[str, str]]], float]


def samples(text: str) -> Samples:
    """What a scrape says: (name, labels) -> value; each may stand there once only."""
    found = [
        ((one.name, frozenset(one.labels.items())), one.value)
        for family in text_string_to_metric_families(text)
        for one in family.samples
    ]
    assert len(found) == len(dict(found))
    return dict(found)


def value(told: Samples, name: str, **labels: str) -> float:
    """One value; 0 if it is not there."""
    return told.get((name, frozenset(labels.items())), 0.0)


@pytest.fixture
def growth(client: FlaskClient) -> Callable[..., float]:
    """How much a value grew since the test began: the metrics of a process outlive its applications."""
    before = samples(client.get("/metrics").text)

    def of(name: str, **labels: str) -> float:
        return value(samples(client.get("/metrics").text), name, **labels) - value(
            before, name, **labels
        )

    return of


def test_a_prediction_is_counted(client: FlaskClient, growth: Callable[..., float]) -> None:
    """A prediction counts once in each metric of its model and version."""
    client.post(PATH, data=RED)
    assert growth("router_requests_total", model="colours", version="1", status="200") == 1
    assert growth("router_request_seconds_count", model="colours", version="1") == 1
    for stage in ("receive", "queue", "decode", "preprocess", "upstream"):
        stages = {"model": "colours", "version": "1", "stage": stage}
        assert growth("router_stage_seconds_count", **stages) == 1
    assert growth("router_image_bytes_sum", model="colours") == len(RED)
    assert growth("router_image_pixels_sum", model="colours") == 12 * 8


def test_failures_are_counted(client: FlaskClient, growth: Callable[..., float]) -> None:
    """A failure counts under its title; what a client sends never becomes a label."""
    client.post(PATH, data=b"no image")
    client.get("/no/such/route")
    client.get("/another?version=7")
    assert growth("router_problems_total", model="colours", problem="Invalid image") == 1
    assert growth("router_problems_total", model="", problem="Not Found") == 2
    assert growth("router_requests_total", model="", version="", status="404") == 2


def test_what_is_under_way(
    client: FlaskClient, growth: Callable[..., float], toy: ToyModelServer
) -> None:
    """While the model computes, its request is in flight, in the stage `upstream`."""
    client.post(PATH, data=RED)
    toy.model.delay_seconds = 1.0
    app = client.application
    thread = threading.Thread(target=lambda: app.test_client().post(PATH, data=RED))
    thread.start()
    upstream = partial(growth, "router_stage_in_flight", model="colours", stage="upstream")
    wait_until(lambda: upstream() == 1, seconds=10, what="the request is at the model server")
    thread.join()
    assert upstream() == 0


def test_a_broken_replica_shows(
    client_of: Callable[..., FlaskClient], toy: ToyModelServer, growth: Callable[..., float]
) -> None:
    """A model server that is set aside shows as failing, one that answers does not."""
    dead = f"http://127.0.0.1:{free_port()}"
    client = client_of(upstream=[dead, toy.url])
    for _ in range(4):
        assert client.post(PATH, data=RED).status_code == 200
    assert growth("router_replica_failing", upstream=dead) == 1
    assert growth("router_replica_failing", upstream=toy.url) == 0
    client_of()
    assert growth("router_replica_failing", upstream=dead) == 0


def test_counting_is_cheap(client: FlaskClient) -> None:
    """Whatever counts a request costs a small part of it."""
    client.post(PATH, data=RED)
    metrics = the_metrics()
    begun = time.process_time()
    for _ in range(1000):
        metrics.stage_seconds.labels("colours", "1", "decode").observe(0.01)
    assert (time.process_time() - begun) / 1000 < 0.0005


def test_the_run_folder_is_gone_after_the_run() -> None:
    """The folder of a run goes with it, and that of a killed run when the next one starts."""
    killed = Path(tempfile.mkdtemp(prefix="keras-front-door-run-"))
    (killed / "lock").touch()
    with run_folder() as mine:
        assert not killed.exists()
        with run_folder() as other:
            assert mine.exists()
            assert other.exists()
        assert not other.exists()
    assert not mine.exists()


def test_without_a_place_for_the_folder(monkeypatch: pytest.MonkeyPatch) -> None:
    """Where no temporary folder can be made, the sentence names TMPDIR."""
    monkeypatch.setattr(tempfile, "tempdir", "/proc/nowhere")
    with pytest.raises(ConfigError, match="TMPDIR"), run_folder():
        pass


def test_a_folder_in_use_stays(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A folder whose lock is held belongs to a running router."""
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path))
    used = Path(tempfile.mkdtemp(prefix="keras-front-door-run-"))
    with (used / "lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        with run_folder():
            assert used.exists()


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Where the router with four workers keeps its files."""
    return tmp_path_factory.mktemp("four")


@pytest.fixture(scope="module")
def four_workers(
    folder: Path, module_toy: ToyModelServer
) -> Iterator[tuple[Program, str, dict[str, str]]]:
    """A router with four workers and keys: program, address, keys by name."""
    keys = write_keys(
        folder / "keys.json",
        web={"daily_quota": QUOTA},
        free={},
        prom={"models": [], "metrics": True},
    )
    (folder / "models.toml").write_text(
        f'[colours]\ninput_size = [4, 6]\nlabels = ["r", "g", "b"]\nupstream = ["{module_toy.url}"]\n'
    )
    (folder / "tmp").mkdir()
    port = free_port()
    env = {
        "MODELS_FILE": str(folder / "models.toml"),
        "API_KEYS_FILE": str(folder / "keys.json"),
        "STATE_DIR": str(folder / "state"),
        "TMPDIR": str(folder / "tmp"),
        "WORKERS": "4",
        "PORT": str(port),
        "DRAIN_SECONDS": "0",
    }
    with running("-m", "flask_server", log=folder / "log", env=env) as program:
        program.wait_for(f"http://127.0.0.1:{port}/livez")
        yield program, f"http://127.0.0.1:{port}", keys
        program.stop()
    assert not list((folder / "tmp").iterdir())


def scrape(address: str, key: str) -> Samples:
    """What `/metrics` says, asked over a connection of its own, so that any worker may answer."""
    response = urllib3.request("GET", f"{address}/metrics", headers={"X-API-Key": key})
    assert response.status == 200, response.data
    return samples(response.data.decode())


def post(address: str, key: str) -> int:
    """The status of a prediction, asked over a connection of its own."""
    headers = {"X-API-Key": key, "Content-Type": "image/png", "Connection": "close"}
    return urllib3.request("POST", address + PATH, body=RED, headers=headers, retries=False).status


@pytest.mark.slow
def test_four_workers_hold_a_quota_exactly(
    four_workers: tuple[Program, str, dict[str, str]],
) -> None:
    """Under concurrent load on four workers exactly the quota is answered, and the metrics add up to it."""
    _, address, keys = four_workers
    with ThreadPoolExecutor(16) as pool:
        statuses = list(pool.map(lambda _: post(address, keys["web"]), range(QUOTA + 80)))
    assert {status: statuses.count(status) for status in set(statuses)} == {200: QUOTA, 429: 80}
    for _ in range(6):
        told = scrape(address, keys["prom"])
        good = value(told, "router_requests_total", model="colours", version="1", status="200")
        refused = value(told, "router_problems_total", model="colours", problem="Too many requests")
        assert (good, refused) == (QUOTA, 80)
        assert value(told, "router_key_requests_total", key="web") == QUOTA + 80
        assert value(told, "router_requests_in_flight") == 1  # the scrape itself


def test_metrics_survive_their_workers(
    four_workers: tuple[Program, str, dict[str, str]],
) -> None:
    """After workers were killed the sums are what they were, and go on from there."""
    program, address, keys = four_workers
    count = partial(value, name="router_key_requests_total", key="free")
    with ThreadPoolExecutor(8) as pool:
        assert set(pool.map(lambda _: post(address, keys["free"]), range(40))) == {200}
    before = count(scrape(address, keys["prom"]))
    old = children(program)
    for pid in old:
        os.kill(pid, signal.SIGKILL)
    wait_until(
        lambda: len(children(program)) == 4 and not old & children(program),
        seconds=30,
        what="four new workers",
    )
    assert count(scrape(address, keys["prom"])) == before
    assert post(address, keys["free"]) == 200
    told = scrape(address, keys["prom"])
    assert count(told) == before + 1
    assert value(told, "router_requests_in_flight") == 1


@pytest.mark.slow
def test_metrics_survive_reading_the_models_again(
    four_workers: tuple[Program, str, dict[str, str]],
) -> None:
    """SIGHUP replaces the application in each worker; what was counted stays, and goes on."""
    program, address, keys = four_workers
    count = partial(value, name="router_key_requests_total", key="free")
    before = count(scrape(address, keys["prom"]))
    said = program.output().count("models: colours")
    program.process.send_signal(signal.SIGHUP)
    wait_until(
        lambda: program.output().count("models: colours") > said, seconds=10, what="read again"
    )
    with ThreadPoolExecutor(8) as pool:
        assert set(pool.map(lambda _: post(address, keys["free"]), range(40))) == {200}
    assert count(scrape(address, keys["prom"])) == before + 40


def children(program: Program) -> set[int]:
    """The process ids of its workers."""
    pid = program.process.pid
    return set(map(int, Path(f"/proc/{pid}/task/{pid}/children").read_text().split()))
