from __future__ import annotations

import contextlib
import os
import shutil
import socket
import sys
import threading
import urllib.error
import urllib.request
from concurrent.futures import ThreadPoolExecutor
from typing import TYPE_CHECKING

import pytest

from tests.processes import answers, free_port, running_command

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from tests.processes import Program

pytestmark = pytest.mark.slow

ACTIVATE = "systemd-socket-activate"
HAND_OVER = """\
import os, sys
os.dup2(int(sys.argv[1]), 3)
os.environ.update(LISTEN_FDS="1", LISTEN_PID=str(os.getpid()))
os.execv(sys.executable, [sys.executable, "-m", "flask_server"])
"""


@pytest.mark.skipif(shutil.which(ACTIVATE) is None, reason=f"needs {ACTIVATE} (package systemd)")
def test_the_router_takes_its_socket_from_systemd(tmp_path: Path) -> None:
    """Systemd listens, the first request starts the router, which tells that it is ready and answers that request."""
    models = tmp_path / "models.toml"
    models.write_text("[any]\ninput_size = [8, 8]\n")
    port = free_port()
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as notified:
        notified.bind(str(tmp_path / "notify"))
        notified.settimeout(30)
        env = {
            **os.environ,
            "MODELS_FILE": str(models),
            "PORT": str(port),
            "NOTIFY_SOCKET": str(tmp_path / "notify"),
            "WORKERS": "1",
        }
        pass_on = [f"--setenv={name}" for name in env]
        command = [ACTIVATE, f"--listen=127.0.0.1:{port}", *pass_on, sys.executable]
        log = tmp_path / "log"
        with running_command(*command, "-m", "flask_server", log=log, env=env) as router:
            router.wait_for(f"http://127.0.0.1:{port}/livez", seconds=30)
            assert b"READY=1" in notified.recv(1000)
            assert router.stop() in (0, -15)
    assert not answers(f"http://127.0.0.1:{port}/livez")


@contextlib.contextmanager
def activated(listening: socket.socket, folder: Path) -> Iterator[Program]:
    """A router that is handed a listening socket as systemd does it (sd_listen_fds(3))."""
    models = folder / "models.toml"
    models.write_text("[any]\ninput_size = [8, 8]\n")
    command = [sys.executable, "-c", HAND_OVER, str(listening.fileno())]
    env = {**os.environ, "MODELS_FILE": str(models), "STATE_DIR": str(folder / "state")}
    env |= {"PORT": str(listening.getsockname()[1]), "WORKERS": "2", "DRAIN_SECONDS": "0.2"}
    log, files = folder / "log", [listening.fileno()]
    with running_command(*command, log=log, env=env, pass_fds=files) as router:
        yield router


def keep_asking(url: str, over: threading.Event) -> list[int | str]:
    """Ask again and again, each time on a new connection; the statuses, or why there was none."""
    answered: list[int | str] = []
    while not over.is_set():
        try:
            with urllib.request.urlopen(url, timeout=30) as response:
                answered.append(response.status)
        except urllib.error.HTTPError as error:
            answered.append(error.code)
        except OSError as error:
            answered.append(str(error))
    return answered


def test_no_connection_is_refused_while_the_router_restarts(tmp_path: Path) -> None:
    """The router leaves systemd's socket as it is: who connects between two routers is answered by the second."""
    over = threading.Event()
    with socket.create_server(("127.0.0.1", 0), backlog=1024) as listening:
        url = f"http://127.0.0.1:{listening.getsockname()[1]}/livez"
        with ThreadPoolExecutor(4) as pool:
            clients = [pool.submit(keep_asking, url, over) for _ in range(4)]
            try:
                for _ in range(2):
                    with activated(listening, tmp_path) as router:
                        router.wait_for(url, seconds=30)
                        assert router.stop(seconds=10) == 0
                with activated(listening, tmp_path) as router:
                    router.wait_for(url, seconds=30)
                    over.set()
                    answered = [one for client in clients for one in client.result(timeout=30)]
            finally:
                over.set()
    assert {*answered} == {200}
