"""A router as a program of its own, for tests that need its sockets, signals and processes."""

from __future__ import annotations

import contextlib
import http.client
import socket
from typing import TYPE_CHECKING

from tests.flask_server.conftest import encoded
from tests.processes import free_port, running

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence
    from pathlib import Path

    from tests.flask_server.toy_model_server import ToyModelServer
    from tests.processes import Program

RED = encoded((255, 51, 0))
PATH = "/colours/predict/"
POST = b"POST /colours/predict/ HTTP/1.1\r\nHost: x\r\n"


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

    def predict(self, path: str = PATH, *, seconds: float = 10) -> int:
        """Ask for a prediction; the status of the answer."""
        connection = http.client.HTTPConnection("127.0.0.1", self.port, timeout=seconds)
        with contextlib.closing(connection):
            connection.request("POST", path, RED, {"Content-Type": "image/png"})
            return connection.getresponse().status


@contextlib.contextmanager
def started(
    tmp_path: Path, models: str, program: Sequence[str] = ("-m", "flask_server"), **env: str
) -> Iterator[Router]:
    """Start a router, or a program that is one, on a free port with these tables."""
    models_file = tmp_path / "models.toml"
    models_file.write_text(models)
    port = free_port()
    settings = {"PORT": str(port), "MODELS_FILE": str(models_file), "WORKERS": "1", **env}
    with running(*program, log=tmp_path / "router.log", env=settings) as running_router:
        scheme = "https" if "TLS_KEY" in env else "http"
        if scheme == "http":
            running_router.wait_for(f"http://127.0.0.1:{port}/livez")
        yield Router(running_router, port, models_file)


def table(toy: ToyModelServer, name: str = "colours") -> str:
    """A table of the models file that points at the toy."""
    return f'[{name}]\ninput_size = [4, 6]\nlabels = ["r", "g", "b"]\nupstream = ["{toy.url}"]\n'
