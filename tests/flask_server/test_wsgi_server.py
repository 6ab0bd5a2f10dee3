"""The router as a program: `python -m flask_server`."""

from __future__ import annotations

import contextlib
import http.client
import os
import signal
import socket
import ssl
import subprocess
import sys
import threading
import time
import urllib.request
from pathlib import Path
from typing import TYPE_CHECKING, Any

import orjson
import pytest

from tests.flask_server.conftest import encoded
from tests.flask_server.toy_model_server import ToyModelServer
from tests.processes import ROOT, free_port, running, wait_until

if TYPE_CHECKING:
    from collections.abc import Iterator

    from tests.processes import Program

RED = encoded((255, 51, 0))
PATH = "/colours/predict/"


class Router:
    """A running router."""

    def __init__(self, program: Program, port: int, models_file: Path) -> None:
        self.program = program
        self.port = port
        self.models_file = models_file
        self.url = f"http://127.0.0.1:{port}"

    def raw(self, sent: bytes, *, seconds: float = 5) -> bytes:
        """Send bytes and return all that comes back until the connection is closed."""
        with socket.create_connection(("127.0.0.1", self.port), timeout=seconds) as connection:
            connection.sendall(sent)
            received = b""
            with contextlib.suppress(ConnectionResetError):
                while more := connection.recv(65536):
                    received += more
            return received

    def predict(self, path: str = PATH) -> int:
        """Ask for a prediction; the status of the answer."""
        connection = http.client.HTTPConnection("127.0.0.1", self.port, timeout=10)
        with contextlib.closing(connection):
            connection.request("POST", path, RED, {"Content-Type": "image/png"})
            return connection.getresponse().status


@contextlib.contextmanager
def started(tmp_path: Path, models: str, **env: str) -> Iterator[Router]:
    """Start a router on a free port with these tables."""
    models_file = tmp_path / "models.toml"
    models_file.write_text(models)
    port = free_port()
    settings = {"PORT": str(port), "MODELS_FILE": str(models_file), "WORKERS": "1", **env}
    with running("-m", "flask_server", log=tmp_path / "router.log", env=settings) as program:
        scheme = "https" if "TLS_KEY" in env else "http"
        if scheme == "http":
            program.wait_for(f"http://127.0.0.1:{port}/livez")
        yield Router(program, port, models_file)


def table(toy: ToyModelServer, name: str = "colours") -> str:
    """A table of the models file that points at the toy."""
    return f'[{name}]\ninput_size = [4, 6]\nlabels = ["r", "g", "b"]\nupstream = ["{toy.url}"]\n'


@pytest.fixture(scope="module")
def shared_toy() -> Iterator[ToyModelServer]:
    """One model server for the tests that only look."""
    with ToyModelServer() as server:
        yield server


@pytest.fixture(scope="module")
def router(
    shared_toy: ToyModelServer, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Router]:
    """One router for the tests that only look."""
    folder = tmp_path_factory.mktemp("router")
    env = {"RECEIVE_TIMEOUT": "1", "MAX_BODY_BYTES": "100000", "DRAIN_SECONDS": "0"}
    with started(folder, table(shared_toy), **env) as one:
        yield one


def problem_of(answer: bytes) -> dict[str, Any]:
    """The problem document of a raw answer."""
    head, _, body = answer.partition(b"\r\n\r\n")
    assert b"Content-Type: application/problem+json" in head, answer
    problem: dict[str, Any] = orjson.loads(body)
    assert head.split(b" ")[1] == str(problem["status"]).encode()
    return problem


POST = b"POST /colours/predict/ HTTP/1.1\r\nHost: x\r\n"
BROKEN = {
    "no HTTP": (b"GARBAGE\r\n\r\n", 400),
    "TLS": (b"\x16\x03\x01\x00\xa5\x01\x00\x00\xa1\x03\x03\n\r\n", 400),
    "version": (b"GET / HTTP/7.3\r\n\r\n", 505),
    "method": (b"get / HTTP/1.1\r\n\r\n", 400),
    "long line": (b"GET /" + b"x" * 9000 + b" HTTP/1.1\r\n\r\n", 414),
    "long header": (b"GET / HTTP/1.1\r\nA: " + b"x" * 9000 + b"\r\n\r\n", 431),
    "many headers": (b"GET / HTTP/1.1\r\n" + b"A: b\r\n" * 200 + b"\r\n", 431),
    "header name": (b"GET / HTTP/1.1\r\nA b: c\r\n\r\n", 400),
    "two lengths": (POST + b"Content-Length: 1\r\nContent-Length: 2\r\n\r\nxx", 400),
    "length and chunks": (
        POST + b"Content-Length: 1\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n",
        400,
    ),
    "negative length": (POST + b"Content-Length: -1\r\n\r\n", 400),
    "coding": (POST + b"Transfer-Encoding: br\r\n\r\n", 501),
    "chunk size": (POST + b"Transfer-Encoding: chunked\r\n\r\nzz\r\n", 400),
    "chunk end": (POST + b"Transfer-Encoding: chunked\r\n\r\n1\r\nabcdef\r\n", 400),
    "expectation": (POST + b"Expect: tea\r\nContent-Length: 1\r\n\r\n", 417),
    "NUL in the path": (b"GET /%00\x00 HTTP/1.1\r\nHost: x\r\n\r\n", 400),
}


@pytest.mark.parametrize(("sent", "status"), BROKEN.values(), ids=BROKEN)
def test_what_is_not_http(router: Router, sent: bytes, status: int) -> None:
    """What is no HTTP request is answered in the same shape as everything else."""
    sent = sent.replace(b"\r\nHost: x", b"\r\nHost: x\r\nConnection: close")
    assert problem_of(router.raw(sent))["status"] == status


def test_body_over_the_limit_is_not_read(router: Router) -> None:
    """A body over the limit is refused by its length, before any of it is sent."""
    begun = time.monotonic()
    sent = POST + b"Connection: close\r\nContent-Length: 99999999999\r\n\r\n"
    problem = problem_of(router.raw(sent))
    assert problem["status"] == 413, problem
    assert time.monotonic() - begun < 3


def test_chunked_body_over_the_limit(router: Router) -> None:
    """A body of unknown length is refused as soon as it is over the limit."""
    chunks = b"8000\r\n" + b"x" * 0x8000 + b"\r\n"
    sent = POST + b"Connection: close\r\nTransfer-Encoding: chunked\r\n\r\n" + chunks * 4
    problem = problem_of(router.raw(sent))
    assert problem["status"] == 413, problem


@pytest.mark.parametrize(
    "sent",
    [b"GET /livez HT", POST + b"Content-Length: 500\r\n\r\nabc", POST + b"X: y\r\n"],
    ids=["request line", "body", "headers"],
)
def test_slow_senders_are_cut_off(router: Router, sent: bytes) -> None:
    """A request that trickles in is cut off after RECEIVE_TIMEOUT, however often a byte comes."""
    begun = time.monotonic()
    with socket.create_connection(("127.0.0.1", router.port), timeout=8) as connection:
        connection.sendall(sent)
        connection.settimeout(0.2)
        answer = b""
        while not answer and time.monotonic() - begun < 6:
            with contextlib.suppress(TimeoutError):
                answer = connection.recv(65536)
                break
            connection.sendall(b"a")
    assert problem_of(answer)["status"] == 408
    assert 0.8 < time.monotonic() - begun < 5


def test_slow_senders_do_not_keep_others_waiting(router: Router) -> None:
    """While many connections trickle, others are answered."""
    with contextlib.ExitStack() as stack:
        for sent in (
            b"GET /li",
            POST,
            POST + b"Content-Length: 90000\r\n\r\n" + b"x" * 50_000,
        ) * 50:
            slow = stack.enter_context(socket.create_connection(("127.0.0.1", router.port)))
            slow.sendall(sent)
        assert router.predict() == 200


def test_requests_one_after_another_in_one_packet(router: Router) -> None:
    """Pipelined requests are answered in their order; so are those that come in pieces."""
    body = POST + b"Content-Type: image/png\r\nContent-Length: %d\r\n\r\n" % len(RED) + RED
    chunked = POST + b"Content-Type: image/png\r\nTransfer-Encoding: chunked\r\n\r\n"
    chunked += b"%x\r\n%b\r\n0\r\n\r\n" % (len(RED), RED)
    last = b"GET /livez HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n"
    answers = router.raw(body + body + chunked + body + last)
    assert answers.count(b"HTTP/1.1 200 OK") == 5, answers
    assert answers.count(b'"r"') == answers.count(b"X-Model-Version: 1") == 4
    with socket.create_connection(("127.0.0.1", router.port), timeout=5) as connection:
        for piece in [body[start : start + 90] for start in range(0, len(body), 90)]:
            connection.sendall(piece)
            time.sleep(0.02)
        assert connection.recv(65536).startswith(b"HTTP/1.1 200")
        connection.sendall(chunked[:100])
        time.sleep(0.05)
        connection.sendall(chunked[100:])
        assert connection.recv(65536).startswith(b"HTTP/1.1 200")


def test_client_that_waits_to_be_asked(router: Router) -> None:
    """A client that expects 100-continue is told to go on before it sends its body."""
    head = POST + b"Content-Type: image/png\r\nExpect: 100-continue\r\nContent-Length: %d\r\n\r\n"
    with socket.create_connection(("127.0.0.1", router.port), timeout=5) as connection:
        connection.sendall(head % len(RED))
        assert connection.recv(65536) == b"HTTP/1.1 100 Continue\r\n\r\n"
        connection.sendall(RED)
        assert connection.recv(65536).startswith(b"HTTP/1.1 200")


def test_idle_connections_cost_no_thread(router: Router) -> None:
    """Connections that send nothing leave the threads to others."""
    with contextlib.ExitStack() as stack:
        for _ in range(200):
            stack.enter_context(socket.create_connection(("127.0.0.1", router.port)))
        assert router.predict() == 200


def test_client_that_goes_away_frees_its_place(tmp_path: Path, toy: ToyModelServer) -> None:
    """A client that hangs up while the model computes leaves its place to the next."""
    limits = {"MODEL_CONCURRENCY": "1", "MODEL_QUEUE": "0", "DRAIN_SECONDS": "0"}
    with started(tmp_path, table(toy), **limits) as router:
        assert router.predict() == 200
        toy.model.delay_seconds = 20
        with socket.create_connection(("127.0.0.1", router.port)) as impatient:
            impatient.sendall(POST + b"Content-Length: %d\r\n\r\n" % len(RED) + RED)
            wait_until(lambda: len(toy.model.requests) == 2, seconds=5, what="the model computes")
            assert router.predict() == 503
        toy.model.delay_seconds = 0
        wait_until(lambda: router.predict() == 200, seconds=5, what="the place is free again")
        wait_until(lambda: "status=499" in router.program.output(), seconds=5, what="it is logged")


def test_memory(router: Router) -> None:
    """A worker stays under 80 MB after some requests, and imports no TensorFlow."""
    for _ in range(20):
        assert router.predict() == 200
    [worker] = _children(router.program.process.pid)
    status = dict(
        line.split(":\t", 1) for line in Path(f"/proc/{worker}/status").read_text().splitlines()
    )
    assert int(status["VmRSS"].split()[0]) < 80_000
    assert "tensorflow" not in Path(f"/proc/{worker}/maps").read_text()


def _children(pid: int) -> list[int]:
    return [int(one) for one in Path(f"/proc/{pid}/task/{pid}/children").read_text().split()]


def test_reload(tmp_path: Path, toy: ToyModelServer) -> None:
    """SIGHUP adds, changes and removes models without a failed request; a bad file changes nothing."""
    with started(tmp_path, table(toy), WORKERS="2") as router:
        stop, statuses = threading.Event(), []

        def load() -> None:
            while not stop.is_set():
                statuses.append(router.predict())

        thread = threading.Thread(target=load)
        thread.start()
        for round_ in range(3):
            router.models_file.write_text(table(toy) + table(toy, f"more{round_}"))
            router.program.process.send_signal(signal.SIGHUP)
            path = f"/more{round_}/predict/"
            wait_until(
                lambda path=path: all(router.predict(path) == 200 for _ in range(8)),  # type: ignore[misc]
                seconds=10,
                what="the new model predicts in every worker",
            )
        router.models_file.write_text("[colours]\ninput = 3")
        router.program.process.send_signal(signal.SIGHUP)
        wait_until(
            lambda: "nothing was changed" in router.program.output(), seconds=10, what="it says why"
        )
        assert "unknown key 'input'" in router.program.output()
        assert router.predict("/more2/predict/") == 200
        assert router.predict("/more0/predict/") == 404
        stop.set()
        thread.join()
        assert set(statuses) == {200}


def test_drain(tmp_path: Path, toy: ToyModelServer) -> None:
    """SIGTERM turns readiness off while requests are still answered; those under way are finished."""
    with started(tmp_path, table(toy), DRAIN_SECONDS="1") as router:
        assert router.predict() == 200
        toy.model.delay_seconds = 1.5
        statuses: list[int] = []
        thread = threading.Thread(target=lambda: statuses.append(router.predict()))
        thread.start()
        wait_until(lambda: len(toy.model.requests) == 2, seconds=5, what="the model computes")
        router.program.process.send_signal(signal.SIGTERM)
        time.sleep(0.4)
        with pytest.raises(urllib.error.HTTPError, match="503"):
            urllib.request.urlopen(f"{router.url}/readyz", timeout=5)
        assert urllib.request.urlopen(f"{router.url}/livez", timeout=5).status == 200
        assert router.program.process.wait(15) == 0
        thread.join()
        assert statuses == [200]


def test_ends_with_its_parent(tmp_path: Path, toy: ToyModelServer) -> None:
    """With --exit-with-parent no router is left after its parent is killed."""
    models_file = tmp_path / "models.toml"
    models_file.write_text(table(toy))
    port = free_port()
    parent = (
        "import subprocess, sys, time\n"
        f"subprocess.Popen([sys.executable, '-m', 'flask_server', '--port', '{port}', '--exit-with-parent'])\n"
        "time.sleep(60)"
    )
    env = {"MODELS_FILE": str(models_file), "DRAIN_SECONDS": "0"}
    with running("-c", parent, log=tmp_path / "log", env=env) as program:
        program.wait_for(f"http://127.0.0.1:{port}/livez")
        os.kill(program.process.pid, signal.SIGKILL)
        program.process.wait()
        wait_until(lambda: not _listens(port), seconds=10, what="the router has ended")


def _listens(port: int) -> bool:
    with socket.socket() as probe:
        return probe.connect_ex(("127.0.0.1", port)) == 0


@pytest.fixture(scope="session")
def certificate(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Path]:
    """A self-signed certificate for 127.0.0.1 and its key."""
    folder = tmp_path_factory.mktemp("tls")
    made = (folder / "certificate.pem", folder / "key.pem")
    subprocess.run(
        [
            "openssl",
            "req",
            "-x509",
            "-newkey",
            "rsa:2048",
            "-nodes",
            "-days",
            "2",
            "-subj",
            "/CN=127.0.0.1",
            "-addext",
            "subjectAltName=IP:127.0.0.1",
            "-out",
            str(made[0]),
            "-keyout",
            str(made[1]),
        ],
        check=True,
        capture_output=True,
    )
    return made


def test_https(tmp_path: Path, toy: ToyModelServer, certificate: tuple[Path, Path]) -> None:
    """With a certificate the router speaks HTTPS; a client that never shakes hands holds up nobody."""
    tls = {"TLS_CERTIFICATE": str(certificate[0]), "TLS_KEY": str(certificate[1])}
    with started(tmp_path, table(toy), RECEIVE_TIMEOUT="0.5", DRAIN_SECONDS="0", **tls) as router:
        wait_until(lambda: _listens(router.port), seconds=10, what="the port is open")
        context = ssl.create_default_context(cafile=certificate[0])
        silent = socket.create_connection(("127.0.0.1", router.port))
        silent.sendall(b"\x16\x03\x01")
        connection = http.client.HTTPSConnection(
            "127.0.0.1", router.port, timeout=10, context=context
        )
        for _ in range(3):
            connection.request("POST", PATH, RED, {"Content-Type": "image/png"})
            response = connection.getresponse()
            assert response.status == 200
            assert len(orjson.loads(response.read())) == 3
        connection.close()
        silent.settimeout(8)
        with contextlib.suppress(ConnectionResetError):
            while silent.recv(1000):
                pass
        silent.close()


@pytest.mark.parametrize(
    ("arguments", "env", "words"),
    [
        ([], {"PLACEMENT_FILE": "/nowhere/p.json"}, ["/nowhere/p.json"]),
        (["--host", "203.0.113.1"], {}, ["203.0.113.1", "--host"]),
    ],
)
def test_wrong_settings(
    tmp_path: Path, arguments: list[str], env: dict[str, str], words: list[str]
) -> None:
    """Whatever is set wrongly stops the program with one sentence that names it."""
    models_file = tmp_path / "models.toml"
    models_file.write_text("[m]\ninput_size = [1, 1]")
    ended = subprocess.run(
        [sys.executable, "-m", "flask_server", *arguments],
        env={**os.environ, "MODELS_FILE": str(models_file), "PORT": str(free_port()), **env},
        cwd=ROOT,
        capture_output=True,
        text=True,
        timeout=20,
        check=False,
    )
    assert ended.returncode == 2
    assert ended.stdout == ""
    [sentence] = ended.stderr.splitlines()
    assert all(word in sentence for word in words), sentence


def test_port_in_use(tmp_path: Path, shared_toy: ToyModelServer) -> None:
    """A port in use is named, with who should change what."""
    models_file = tmp_path / "models.toml"
    models_file.write_text("[m]\ninput_size = [1, 1]")
    ended = subprocess.run(
        [sys.executable, "-m", "flask_server", "--port", str(shared_toy.server_port)],
        env={**os.environ, "MODELS_FILE": str(models_file)},
        cwd=ROOT,
        capture_output=True,
        text=True,
        timeout=20,
        check=False,
    )
    assert ended.returncode == 2
    assert str(shared_toy.server_port) in ended.stderr
    assert "--port" in ended.stderr
