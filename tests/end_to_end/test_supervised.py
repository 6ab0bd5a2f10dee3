"""From nothing to labels with one command, and what happens when something breaks."""

from __future__ import annotations

import contextlib
import functools
import os
import pty
import shutil
import signal
import socket
import subprocess
import sys
import threading
import time
from typing import TYPE_CHECKING

import pytest
import requests

from tests.end_to_end.supervised import Deployed, deployed, descendants, is_running
from tests.processes import ROOT, free_port, wait_until

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

pytestmark = [pytest.mark.tensorflow, pytest.mark.timeout(600)]
SEVEN = ROOT / "test_images" / "digit_7.png"
CHAOS_SECONDS = 60


@pytest.fixture(scope="module")
def trained(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder in which one run has trained and exported the digits, as a newcomer's first run does."""
    folder = tmp_path_factory.mktemp("trained")
    with deployed(folder) as it:
        (folder / "first_run.txt").write_text(it.program.output())
        assert it.labels("digits", SEVEN)[0][1] == "seven"
        for model in ("imageclassifier", "mobilenet_v2"):
            response = it.post(model, SEVEN)
            assert response.status_code == 503
            assert response.headers["Content-Type"] == "application/problem+json"
            assert f"{folder}/weights/{model}.weights.h5" in response.json()["detail"]
    return folder


@pytest.fixture
def digits(trained: Path, tmp_path: Path) -> Iterator[Deployed]:
    """The digits alone, exported already."""
    shutil.copytree(trained / "saved_models", tmp_path / "saved_models")
    with deployed(tmp_path, "--only", "digits") as it:
        yield it


def test_first_run_explains_itself(trained: Path) -> None:
    """A first run without weights ends in a table with the digits AVAILABLE and the others explained."""
    output = (trained / "first_run.txt").read_text()
    assert "held-out accuracy" in output
    rows = {line.split()[0]: line for line in output.splitlines() if "/predict/ " in line}
    assert "AVAILABLE (version 1)" in rows["digits"]
    for model in ("imageclassifier", "mobilenet_v2"):
        assert "UNAVAILABLE" in rows[model]
        assert f"{model} is not served: Model '{model}': its ImageNet weights" in output


def test_the_printed_example_works(trained: Path, tmp_path: Path) -> None:
    """The command under the table, typed as it stands where the run was started, prints the digit first."""
    shutil.copytree(trained / "saved_models", tmp_path / "saved_models")
    with deployed(tmp_path, "--only", "digits", cwd=tmp_path) as it:
        (example,) = [
            line.removeprefix("Try it:")
            for line in it.program.output().splitlines()
            if line.startswith("Try it:")
        ]
        answer = subprocess.run(
            example,
            shell=True,
            cwd=tmp_path,
            capture_output=True,
            text=True,
            timeout=60,
            check=True,
        )
    assert "seven" in answer.stdout.splitlines()[0]


class Traffic:
    """Requests in a loop, and what became of each."""

    def __init__(self, it: Deployed, model: str) -> None:
        self.statuses: list[int | str] = []
        self.slowest_failure_seconds = 0.0
        self._it = it
        self._model = model
        self._over = threading.Event()
        self._thread = threading.Thread(target=self._run)

    def __enter__(self) -> Traffic:
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._over.set()
        self._thread.join()

    def _run(self) -> None:
        while not self._over.is_set():
            started = time.monotonic()
            try:
                self.statuses.append(self._it.post(self._model, SEVEN).status_code)
            except requests.RequestException as error:
                self.statuses.append(repr(error))
            if self.statuses[-1] != 200:
                self.slowest_failure_seconds = max(
                    self.slowest_failure_seconds, time.monotonic() - started
                )
            time.sleep(0.02)


TWO_MODELS = """
[digits]
color_mode = "grayscale"
input_size = [8, 8]
base_path = "saved_models/digits"

[others]
color_mode = "grayscale"
input_size = [8, 8]
base_path = "saved_models/digits"
"""


def test_a_killed_model_server_comes_back(trained: Path, tmp_path: Path) -> None:
    """After kill -9 of a model server, other models never fail, its own answer 503 at once, and it comes back."""
    shutil.copytree(trained / "saved_models", tmp_path / "saved_models")
    (tmp_path / "models.toml").write_text(TWO_MODELS)
    with deployed(tmp_path, models=tmp_path / "models.toml") as it:
        port = it.placement()["digits"]["upstream"][0].rsplit(":", 1)[1]
        (victim,) = [
            pid for pid, line in it.children().items() if f"--rest_api_port={port}" in line
        ]
        with Traffic(it, "others") as others, Traffic(it, "digits") as own:
            wait_until(lambda: len(own.statuses) > 5, seconds=20, what="traffic flows")
            os.kill(victim, signal.SIGKILL)
            wait_until(lambda: 503 in own.statuses, seconds=10, what="its own requests are refused")
            wait_until(lambda: own.statuses[-1] == 200, seconds=120, what="it is back by itself")
        assert set(others.statuses) == {200}
        assert set(own.statuses) == {200, 503}
        assert own.slowest_failure_seconds < 1


def test_a_new_version_is_taken_up_under_traffic(digits: Deployed, tmp_path: Path) -> None:
    """A second version dropped into a base path is served without one failed request."""
    base_path = tmp_path / "saved_models" / "digits"
    with Traffic(digits, "digits") as traffic:
        wait_until(lambda: len(traffic.statuses) > 5, seconds=20, what="traffic flows")
        shutil.copytree(base_path / "1", base_path / "2.new")
        (base_path / "2.new").rename(base_path / "2")
        wait_until(
            lambda: digits.post("digits", SEVEN).headers.get("X-Model-Version") == "2",
            seconds=30,
            what="version 2 answers",
        )
        seen = len(traffic.statuses)
        wait_until(lambda: len(traffic.statuses) > seen + 20, seconds=20, what="traffic goes on")
    assert set(traffic.statuses) == {200}


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_signals_stop_everything(digits: Deployed, number: signal.Signals) -> None:
    """SIGTERM and Ctrl-C stop all in order, with the exit status that shells expect."""
    children = digits.children()
    digits.program.process.send_signal(number)
    assert digits.program.process.wait(timeout=40) == 128 + number
    assert [line for pid, line in children.items() if is_running(pid)] == []
    assert "all stopped" in digits.program.output()


def test_a_sigterm_to_all_costs_no_request(digits: Deployed) -> None:
    """What is being uploaded is answered although every process is told SIGTERM, and all are told again."""
    photo = SEVEN.read_bytes()
    host, port = digits.url.removeprefix("http://").split(":")
    head = f"POST /digits/predict/ HTTP/1.1\r\nHost: {host}\r\nContent-Type: image/png\r\n"
    with socket.create_connection((host, int(port)), timeout=30) as client:
        client.sendall(f"{head}Content-Length: {len(photo)}\r\n\r\n".encode() + photo[:50])
        _send_all(digits, signal.SIGTERM)
        wait_until(lambda: _is_closed(host, int(port)), seconds=20, what="the router takes no more")
        _send_all(digits, signal.SIGTERM)
        client.sendall(photo[50:])
        answer = client.makefile("rb").read().decode()
    assert answer.startswith("HTTP/1.1 200 "), answer
    assert "seven" in answer
    assert digits.program.process.wait(timeout=40) == 128 + signal.SIGTERM
    assert "all stopped" in digits.program.output()


def _send_all(it: Deployed, number: signal.Signals) -> None:
    """As Heroku does it: to each process by itself, in any order."""
    for pid in (*it.children(), it.program.process.pid):
        with contextlib.suppress(ProcessLookupError):
            os.kill(pid, number)


def _is_closed(host: str, port: int) -> bool:
    try:
        socket.create_connection((host, port), timeout=5).close()
    except OSError:
        return True
    return False


def test_no_orphan_is_left(digits: Deployed) -> None:
    """Not even kill -9 of the supervisor leaves a process behind."""
    children = digits.children()
    assert len(children) >= 3
    digits.program.process.kill()
    digits.program.process.wait(timeout=10)
    wait_until(
        lambda: not any(is_running(pid) for pid in children),
        seconds=30,
        what="all children are gone",
    )


def test_typing_q_stops_everything(trained: Path, tmp_path: Path) -> None:
    """Typing q at the terminal stops all, and the exit status is 0."""
    ours, theirs = pty.openpty()
    env = {
        **os.environ,
        "PORT": str(free_port()),
        "SAVED_MODELS_DIR": str(trained / "saved_models"),
        "STATE_DIR": str(tmp_path / "state"),
        "LOGS_DIR": str(tmp_path / "logs"),
    }
    with subprocess.Popen(
        [sys.executable, str(ROOT / "auto_cmd.py"), "--only", "digits"],
        stdin=theirs,
        stdout=theirs,
        stderr=theirs,
        env=env,
        cwd=tmp_path,
        start_new_session=True,
    ) as process:
        os.close(theirs)
        try:
            shown = _read_until(ours, b"Stop:")
            children = descendants(process.pid)
            os.write(ours, b"q\n")
            _read_until(ours, b"all stopped")
            assert process.wait(timeout=40) == 0
        finally:
            with contextlib.suppress(ProcessLookupError):
                os.killpg(process.pid, signal.SIGKILL)
            os.close(ours)
    assert "│".encode() in shown
    assert not any(is_running(pid) for pid in children)


def _read_until(terminal: int, what: bytes) -> bytes:
    shown = b""
    deadline = time.monotonic() + CHAOS_SECONDS
    while what not in shown:
        assert time.monotonic() < deadline, shown.decode(errors="replace")
        shown += os.read(terminal, 65536)
    return shown


def test_a_port_in_use_is_named(tmp_path: Path) -> None:
    """When the router's port is taken, one sentence names it and nothing is started."""
    with socket.create_server(("127.0.0.1", 0)) as listener:
        port = listener.getsockname()[1]
        answer = subprocess.run(
            [sys.executable, str(ROOT / "auto_cmd.py"), "--port", str(port)],
            capture_output=True,
            text=True,
            timeout=60,
            check=False,
            cwd=tmp_path,
        )
    assert answer.returncode == 1
    assert answer.stderr.startswith(f"auto_cmd.py: Port {port} is in use by process {os.getpid()}")
    assert answer.stderr.count("\n") == 1


def test_check_does_nothing(tmp_path: Path) -> None:
    """`--check` says what would be done and leaves no file."""
    env = {**os.environ, "STATE_DIR": str(tmp_path / "s"), "SAVED_MODELS_DIR": str(tmp_path / "m")}
    answer = subprocess.run(
        [sys.executable, str(ROOT / "auto_cmd.py"), "--check"],
        capture_output=True,
        text=True,
        timeout=60,
        check=True,
        env=env,
        cwd=tmp_path,
    )
    assert "digits: http://127.0.0.1:5000/digits/predict/ -> http://127.0.0.1:90" in answer.stdout
    assert "would train it" in answer.stdout
    assert list(tmp_path.iterdir()) == []


def test_the_models_file_is_followed(trained: Path, tmp_path: Path) -> None:
    """SIGHUP adds and removes models as the file then says, without a failed request; a bad file changes nothing."""
    shutil.copytree(trained / "saved_models", tmp_path / "saved_models")
    models = tmp_path / "models.toml"
    digits = TWO_MODELS.partition("[others]")[0]
    models.write_text(digits)
    with deployed(tmp_path, models=models) as it, Traffic(it, "digits") as traffic:
        hang_up = functools.partial(it.program.process.send_signal, signal.SIGHUP)
        assert it.post("others", SEVEN).status_code == 404
        models.write_text(TWO_MODELS)
        hang_up()
        wait_until(
            lambda: it.post("others", SEVEN).status_code == 200, seconds=90, what="it is added"
        )
        models.write_text("[digits]\nunknown = 1\n")
        hang_up()
        wait_until(
            lambda: "unknown key 'unknown'" in it.program.output(),
            seconds=20,
            what="the mistake is named",
        )
        assert it.post("others", SEVEN).status_code == 200
        models.write_text(digits)
        hang_up()
        wait_until(
            lambda: it.post("others", SEVEN).status_code == 404, seconds=90, what="it is removed"
        )
        wait_until(
            lambda: _has_model_servers(it, 1),
            seconds=40,
            what="its model server is stopped",
        )
    assert set(traffic.statuses) == {200}


def test_model_servers_are_exchanged_under_traffic(trained: Path, tmp_path: Path) -> None:
    """From shared to separate model servers and back with SIGHUP, no request fails."""
    shutil.copytree(trained / "saved_models", tmp_path / "saved_models")
    models = tmp_path / "models.toml"
    shared = 'model_servers = "shared"\n' + TWO_MODELS
    models.write_text(shared)
    with (
        deployed(tmp_path, models=models) as it,
        Traffic(it, "digits") as digits,
        Traffic(it, "others") as others,
    ):
        for text, tables, servers in ((TWO_MODELS, 2, 2), (shared, 3, 1)):
            models.write_text(text)
            it.program.process.send_signal(signal.SIGHUP)
            wait_until(
                functools.partial(_has_printed_tables, it, tables),
                seconds=90,
                what="the models file is read again",
            )
            assert _has_model_servers(it, servers)
    assert set(digits.statuses) == set(others.statuses) == {200}


def test_a_damaged_version_takes_nothing_down(trained: Path, tmp_path: Path) -> None:
    """A start goes on with the version before it, and with the other models; once it is whole, it goes live by itself."""
    whole = trained / "saved_models" / "digits" / "1"
    for name in ("digits", "others"):
        shutil.copytree(whole, tmp_path / "saved_models" / name / "1")
    damaged = tmp_path / "saved_models" / "digits" / "2"
    damaged.mkdir()
    (damaged / "saved_model.pb").write_bytes((whole / "saved_model.pb").read_bytes()[:5000])
    models = tmp_path / "models.toml"
    table = TWO_MODELS.partition("[others]")[0]
    models.write_text('model_servers = "shared"\n' + table + table.replace("digits", "others"))
    with deployed(tmp_path, models=models) as it:
        for model in ("digits", "others"):
            assert it.post(model, SEVEN).headers["X-Model-Version"] == "1"
        assert "version 2 of digits cannot be loaded, and is left out" in it.program.output()
        shutil.copytree(whole, damaged, dirs_exist_ok=True)
        wait_until(
            lambda: it.post("digits", SEVEN).headers["X-Model-Version"] == "2",
            seconds=30,
            what="the version that was mended is served",
        )


def _has_model_servers(it: Deployed, number: int) -> bool:
    return sum("--rest_api_port" in line for line in it.children().values()) == number


def _has_printed_tables(it: Deployed, number: int) -> bool:
    return it.program.output().count("MODEL SERVER") == number
