"""A load generator that costs little: one process, a thread and a kept-alive socket for each client.

It runs on the same cores as what it measures, so it sends bytes made beforehand and reads only what it must.
"""

from __future__ import annotations

import socket
import threading
import time
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    from collections.abc import Callable

HEADER_END = b"\r\n\r\n"
RECEIVE_BYTES = 65536
TIMEOUT_SECONDS = 120.0
LONGEST_SECONDS = 300.0
"""A measurement that waits for its least number of requests ends after this at the latest."""


@dataclass(frozen=True, slots=True)
class Load:
    """What came of one measurement."""

    latencies_ms: tuple[float, ...]
    seconds: float
    failures: int = 0
    """Answers other than 200, and broken connections."""

    @property
    def throughput(self) -> float:
        """Answered requests a second."""
        return len(self.latencies_ms) / self.seconds

    def percentile_ms(self, percent: float) -> float:
        """Latency in milliseconds that so many percent of the requests stay under."""
        return float(np.percentile(self.latencies_ms, percent))


class Client:
    """One kept-alive HTTP/1.1 connection that sends the same request over and over."""

    def __init__(self, port: int, path: str, body: bytes) -> None:
        self._address = ("127.0.0.1", port)
        self._request = (
            f"POST {path} HTTP/1.1\r\nHost: 127.0.0.1:{port}\r\nContent-Type: application/json\r\n"
            f"Content-Length: {len(body)}\r\n\r\n"
        ).encode() + body
        self._socket: socket.socket | None = None

    def ask(self) -> int:
        """Send the request and read the whole answer; return its status."""
        if self._socket is None:
            self._socket = socket.create_connection(self._address, TIMEOUT_SECONDS)
            self._socket.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        self._socket.sendall(self._request)
        head, _, rest = self._receive_head(self._socket).partition(HEADER_END)
        status, headers = _parse_head(head)
        missing = int(headers[b"content-length"]) - len(rest)
        while missing > 0:
            missing -= len(_receive(self._socket))
        if headers.get(b"connection", b"").lower() == b"close" or head.startswith(b"HTTP/1.0"):
            self.close()
        return status

    def succeeds(self) -> bool:
        """Whether one more request is answered with 200."""
        try:
            return self.ask() == 200
        except OSError:
            self.close()
            return False

    def close(self) -> None:
        """End the connection; the next request opens another."""
        if self._socket is not None:
            self._socket.close()
            self._socket = None

    @staticmethod
    def _receive_head(connection: socket.socket) -> bytes:
        received = b""
        while HEADER_END not in received:
            received += _receive(connection)
        return received


def drive(
    make_client: Callable[[], Client], *, clients: int, seconds: float, least: int = 1
) -> Load:
    """Let `clients` clients ask as fast as they are answered.

    Args:
        make_client: Makes a client that is not connected yet.
        clients: How many ask at once.
        seconds: For how long.
        least: Go on past `seconds` until so many requests are answered (a slow server gives too few otherwise).
    """
    asking = [make_client() for _ in range(clients)]
    try:
        return repeat([client.succeeds for client in asking], seconds=seconds, least=least)
    finally:
        for client in asking:
            client.close()


def repeat(calls: list[Callable[[], bool]], *, seconds: float, least: int = 1) -> Load:
    """Repeat each call in a thread of its own for so many seconds, and time every one."""
    latencies: list[float] = []
    failures: list[float] = []
    begin = time.perf_counter()

    def enough() -> bool:
        passed = time.perf_counter() - begin
        return passed >= seconds and (len(latencies) >= least or passed > LONGEST_SECONDS)

    def run(call: Callable[[], bool]) -> None:
        while not enough():
            started = time.perf_counter()
            answered = call()
            latency = (time.perf_counter() - started) * 1000
            (latencies if answered else failures).append(latency)

    threads = [threading.Thread(target=run, args=(call,)) for call in calls]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    return Load(tuple(latencies), time.perf_counter() - begin, len(failures))


def _receive(connection: socket.socket) -> bytes:
    received = connection.recv(RECEIVE_BYTES)
    if not received:
        raise ConnectionError("The server closed the connection before its answer was whole.")
    return received


def _parse_head(head: bytes) -> tuple[int, dict[bytes, bytes]]:
    status_line, *lines = head.split(b"\r\n")
    pairs = (line.split(b":", 1) for line in lines)
    return int(status_line.split()[1]), {name.lower(): value.strip() for name, value in pairs}
