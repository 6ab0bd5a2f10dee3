"""The router as a program: `python -m flask_server`."""

from __future__ import annotations

import base64
import contextlib
import http.client
import io
import os
import shutil
import signal
import socket
import ssl
import subprocess
import sys
import threading
import time
import urllib.request
from pathlib import Path
from typing import TYPE_CHECKING

import orjson
import pytest
from PIL import Image

from model_config import digest_of
from tests.certificates import self_signed
from tests.flask_server.running_router import PATH, POST, RED, started, table
from tests.processes import ROOT, free_port, wait_until

if TYPE_CHECKING:
    from tests.flask_server.running_router import Router
    from tests.flask_server.toy_model_server import ToyModelServer

pytestmark = pytest.mark.slow


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


def test_memory(tmp_path: Path, toy: ToyModelServer) -> None:
    """A worker stays under 80 MB after some requests, and imports no TensorFlow."""
    with started(tmp_path, table(toy), DRAIN_SECONDS="0") as router:
        for _ in range(20):
            assert router.predict() == 200
        [worker] = _children(router.program.process.pid)
        resident = Path(f"/proc/{worker}/status").read_text().split("VmRSS:")[1].split()[0]
        assert int(resident) < 80_000
        assert "tensorflow" not in Path(f"/proc/{worker}/maps").read_text()


def test_memory_is_kept_for_the_next_photo(tmp_path: Path, toy: ToyModelServer) -> None:
    """After small photos in many threads, large ones do not find their buffers given back to the kernel each time."""
    asked = 40
    with started(tmp_path, table(toy).replace("[4, 6]", "[224, 224]")) as router:
        [worker] = _children(router.program.process.pid)
        small, large = _photo(224, 224), _photo(1280, 960)
        threads = [threading.Thread(target=_post, args=(router.port, small, 20)) for _ in range(16)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join(30)
        _post(router.port, large, asked)
        before = _page_faults(worker)
        _post(router.port, large, asked)
        assert (_page_faults(worker) - before) / asked < 100


def _photo(width: int, height: int) -> bytes:
    """A JSON body with a noisy JPEG."""
    file = io.BytesIO()
    Image.effect_noise((width, height), 60).convert("RGB").save(file, "JPEG", quality=85)
    return orjson.dumps({"b64": base64.b64encode(file.getvalue()).decode()})


def _post(port: int, body: bytes, times: int) -> None:
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=10)
    with contextlib.closing(connection):
        for _ in range(times):
            connection.request("POST", PATH, body, {"Content-Type": "application/json"})
            answer = connection.getresponse()
            assert answer.status == 200
            answer.read()


def _page_faults(pid: int) -> int:
    """How often a process was given a page of memory (proc(5), minflt)."""
    return int(Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[7])


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


def test_readiness_tells_what_all_workers_have_read(tmp_path: Path, toy: ToyModelServer) -> None:
    """`/readyz` waits a moment until no worker answers by the old models file, then it tells no configuration."""
    with started(tmp_path, table(toy), WORKERS="2") as router:
        wait_until(lambda: _configuration(router) is not None, seconds=10, what="both have begun")
        before = _configuration(router)
        behind = _children(router.program.process.pid)[0]
        os.kill(behind, signal.SIGSTOP)
        router.models_file.write_text(table(toy) + table(toy, "more"))
        router.program.process.send_signal(signal.SIGHUP)
        wait_until(lambda: _configuration(router) != before, seconds=10, what="one has read it")
        assert _configuration(router) is None
        os.kill(behind, signal.SIGCONT)
        wait_until(lambda: _configuration(router) is not None, seconds=10, what="both have")
        assert _configuration(router) == digest_of(router.models_file, None)


def _configuration(router: Router) -> object:
    with urllib.request.urlopen(f"{router.url}/readyz", timeout=5) as answer:
        return orjson.loads(answer.read())["configuration"]


def test_a_reload_reaches_a_worker_that_is_just_being_made(
    tmp_path: Path, toy: ToyModelServer
) -> None:
    """A SIGHUP that comes after a worker was forked, and before it heeds signals, is not lost."""
    with started(tmp_path, table(toy), program=("-c", _SLOW_TO_LISTEN)) as router:
        before = _configuration(router)
        arbiter = router.program.process.pid
        [worker] = _children(arbiter)
        os.kill(worker, signal.SIGKILL)
        wait_until(lambda: _children(arbiter) not in ([], [worker]), seconds=10, what="a new one")
        router.models_file.write_text(table(toy) + table(toy, "more"))
        router.program.process.send_signal(signal.SIGHUP)
        wait_until(
            lambda: router.predict("/more/predict/", seconds=20) == 200, seconds=10, what="it knows"
        )
        assert _configuration(router) not in (None, before)


_SLOW_TO_LISTEN = """
import sys, time
from flask_server import __main__, wsgi_worker
init_signals = wsgi_worker.RouterWorker.init_signals
wsgi_worker.RouterWorker.init_signals = lambda self: (time.sleep(2), init_signals(self))
sys.argv = ["flask_server"]
sys.exit(__main__.main())
"""


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


def test_drain_takes_the_rest_of_a_body(tmp_path: Path, toy: ToyModelServer) -> None:
    """However many connections it has closed before, a router that stops waits for a body that had begun to come."""
    with started(tmp_path, table(toy), DRAIN_SECONDS="0") as router:
        for _ in range(3):
            router.raw(b"GET /livez HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n")
        with socket.create_connection(("127.0.0.1", router.port), timeout=5) as connection:
            head = b"Content-Type: image/png\r\nContent-Length: %d\r\n\r\n" % len(RED)
            connection.sendall(POST + head + RED[:10])
            time.sleep(0.2)
            router.program.process.send_signal(signal.SIGTERM)
            time.sleep(1.5)
            connection.sendall(RED[10:])
            assert connection.recv(65536).startswith(b"HTTP/1.1 200")
        assert router.program.process.wait(15) == 0


def test_connections_are_shared_out(tmp_path: Path, toy: ToyModelServer) -> None:
    """Each worker takes its share of connections that stay, also when others were closed before."""
    with started(tmp_path, table(toy), WORKERS="2") as router, contextlib.ExitStack() as stack:
        arbiter = router.program.process.pid
        wait_until(lambda: sum(map(_waits, _children(arbiter))) == 2, seconds=5, what="both accept")
        for _ in range(5):
            router.raw(b"GET /livez HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n")
        for wanted in range(1, 21):
            stack.enter_context(socket.create_connection(("127.0.0.1", router.port)))
            wait_until(
                lambda wanted=wanted: sum(_connections(arbiter, router.port)) == wanted,
                seconds=5,
                what="taken",
            )
        assert max(_connections(arbiter, router.port)) <= 11


def _waits(pid: int) -> bool:
    return "anon_inode:[eventpoll]" in _open_files(pid)


def _connections(arbiter: int, port: int) -> list[int]:
    """How many connections to this port each worker holds (proc(5), net/tcp)."""
    rows = [line.split() for line in Path("/proc/net/tcp").read_text().splitlines()[1:]]
    ours = {
        f"socket:[{row[9]}]" for row in rows if row[1].endswith(f":{port:04X}") and row[3] == "01"
    }
    return [len(ours.intersection(_open_files(worker))) for worker in _children(arbiter)]


def _open_files(pid: int) -> list[str]:
    found = []
    for link in Path(f"/proc/{pid}/fd").iterdir():
        with contextlib.suppress(FileNotFoundError):  # closed meanwhile
            found.append(str(link.readlink()))
    return found


def test_stopping_under_load(tmp_path: Path, toy: ToyModelServer) -> None:
    """A router that stops answers whoever got in and refuses the others."""
    with started(tmp_path, table(toy), WORKERS="2", DRAIN_SECONDS="0.3") as router:
        ends: list[object] = []

        def ask_until_refused() -> None:
            try:
                while (status := router.predict()) == 200:
                    pass
                ends.append(status)
            except OSError as error:
                ends.append(type(error))

        threads = [threading.Thread(target=ask_until_refused) for _ in range(6)]
        for thread in threads:
            thread.start()
        time.sleep(0.3)
        router.program.process.send_signal(signal.SIGTERM)
        for thread in threads:
            thread.join()
        # Reset is who had been queued by the kernel, but not yet accepted, at that very instant.
        assert set(ends) <= {ConnectionRefusedError, ConnectionResetError}
        assert router.program.process.wait(15) == 0


def _listens(port: int) -> bool:
    with socket.socket() as probe:
        return probe.connect_ex(("127.0.0.1", port)) == 0


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


def test_a_renewed_certificate_is_served(
    tmp_path: Path, toy: ToyModelServer, certificate: tuple[Path, Path]
) -> None:
    """Who connects after the files have changed sees the new certificate; while they do not fit, the old one."""
    mine = tuple(Path(shutil.copy(file, tmp_path / f"my-{file.name}")) for file in certificate)
    (tmp_path / "new").mkdir()
    new = self_signed(tmp_path / "new", "IP:127.0.0.1")
    tls = {"TLS_CERTIFICATE": str(mine[0]), "TLS_KEY": str(mine[1])}

    def served() -> str:
        return ssl.get_server_certificate(("127.0.0.1", router.port), timeout=10)

    with started(tmp_path, table(toy), DRAIN_SECONDS="0", **tls) as router:
        wait_until(lambda: _listens(router.port), seconds=10, what="the port is open")
        old = served()
        shutil.copy(new[0], mine[0])
        assert served() == old
        shutil.copy(new[1], mine[1])
        assert served().strip() == new[0].read_text().strip()
    assert "TLS certificate and key stay as they were" in router.program.output()


@pytest.mark.parametrize(
    ("arguments", "env", "words"),
    [
        ([], {"PLACEMENT_FILE": "/nowhere/p.json"}, ["/nowhere/p.json"]),
        (["--host", "203.0.113.1"], {}, ["203.0.113.1", "--host"]),
        ([], {"TLS_CERTIFICATE": __file__, "TLS_KEY": __file__}, ["TLS_KEY", __file__, "PEM"]),
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


def test_port_in_use(tmp_path: Path, toy: ToyModelServer) -> None:
    """A port in use is named, with who should change what."""
    models_file = tmp_path / "models.toml"
    models_file.write_text("[m]\ninput_size = [1, 1]")
    ended = subprocess.run(
        [sys.executable, "-m", "flask_server", "--port", str(toy.server_port)],
        env={**os.environ, "MODELS_FILE": str(models_file)},
        cwd=ROOT,
        capture_output=True,
        text=True,
        timeout=20,
        check=False,
    )
    assert ended.returncode == 2
    assert str(toy.server_port) in ended.stderr
    assert "--port" in ended.stderr
