from __future__ import annotations

import socket
import threading
from functools import partial
from typing import TYPE_CHECKING

import pytest

from benchmarks.load import Client, Load, drive, repeat

if TYPE_CHECKING:
    from collections.abc import Iterator

ANSWER = b"HTTP/1.1 %s\r\nContent-Length: 2\r\n\r\n[]"


class Server:
    """Answers every request with the same bytes and counts connections."""

    def __init__(self, answer: bytes) -> None:
        self.answer = answer
        self.connections = 0
        self.received: list[bytes] = []
        self._listener = socket.create_server(("127.0.0.1", 0))
        self.port = self._listener.getsockname()[1]
        threading.Thread(target=self._accept, daemon=True).start()

    def close(self) -> None:
        """Accept nobody any more."""
        self._listener.close()

    def _accept(self) -> None:
        while True:
            try:
                connection, _ = self._listener.accept()
            except OSError:
                return
            self.connections += 1
            threading.Thread(target=self._serve, args=(connection,), daemon=True).start()

    def _serve(self, connection: socket.socket) -> None:
        with connection:
            while request := connection.recv(65536):
                self.received.append(request)
                connection.sendall(self.answer)
                if b"close" in self.answer:
                    return


@pytest.fixture
def server(request: pytest.FixtureRequest) -> Iterator[Server]:
    """A server that answers with the parameter."""
    running = Server(request.param)
    yield running
    running.close()


@pytest.mark.parametrize("server", [ANSWER % b"200 OK"], indirect=True)
def test_a_client_keeps_its_connection(server: Server) -> None:
    """Many requests of one client go over one connection, each whole."""
    client = Client(server.port, "/here/", b"body")
    assert [client.ask() for _ in range(5)] == [200] * 5
    client.close()
    assert server.connections == 1
    assert server.received[0].startswith(b"POST /here/ HTTP/1.1\r\n")
    assert server.received[0].endswith(b"Content-Length: 4\r\n\r\nbody")


@pytest.mark.parametrize(
    "server",
    [b"HTTP/1.1 200 OK\r\nConnection: close\r\nContent-Length: 2\r\n\r\n[]"],
    indirect=True,
)
def test_a_client_connects_again_where_the_server_closes(server: Server) -> None:
    """A server that closes after each answer gets a connection for each request."""
    client = Client(server.port, "/", b"")
    assert [client.ask() for _ in range(3)] == [200] * 3
    assert server.connections == 3


@pytest.mark.parametrize("server", [ANSWER % b"503 Busy"], indirect=True)
def test_answers_other_than_200_are_failures(server: Server) -> None:
    """What is refused counts neither as throughput nor as latency."""
    load = drive(partial(Client, server.port, "/", b""), clients=2, seconds=0.05, least=0)
    assert load.latencies_ms == ()
    assert load.failures >= 2


def test_at_least_so_many_requests_are_made() -> None:
    """A measurement goes on past its time until it has enough."""
    load = repeat([lambda: True] * 2, seconds=0, least=50)
    assert len(load.latencies_ms) >= 50


def test_percentiles_are_of_the_latencies() -> None:
    """The 50th percentile is the median."""
    assert Load((1.0, 2.0, 30.0), seconds=1.0).percentile_ms(50) == 2.0
