"""One HTTP exchange with one model server: kept-alive connections, a total deadline, a client to watch.

The seam at which tests replace the network: whatever has `exchange` is a `Transport`.
"""

from __future__ import annotations

import contextlib
import io
import select
import socket
import threading
import time
from dataclasses import dataclass
from functools import partial
from http.client import HTTPConnection, HTTPException, HTTPResponse, HTTPSConnection
from typing import TYPE_CHECKING, Protocol
from urllib.parse import urlsplit

from flask_server.errors import ClientGone

if TYPE_CHECKING:
    from collections.abc import Mapping
    from typing import Any

_IDLE_CONNECTIONS = 64
_WATCH_SECONDS = 0.5
_SILENCE_SECONDS = 3
_KEEP_ALIVE = {
    "TCP_KEEPIDLE": 1,
    "TCP_KEEPINTVL": 1,
    "TCP_KEEPCNT": _SILENCE_SECONDS,
    "TCP_USER_TIMEOUT": 1000 * _SILENCE_SECONDS,
}
"""Linux, tcp(7); systems without one of them do without it."""


@dataclass(frozen=True, slots=True)
class Answer:
    """What a model server answered."""

    status: int
    body: bytes


@dataclass(frozen=True, slots=True)
class Exchange:
    """What is asked of a model server."""

    method: str
    path: str
    deadline: float
    """In seconds of `time.monotonic`."""
    headers: Mapping[str, str]
    body: bytes | None = None
    client: int | None = None
    """The file descriptor of the connection of whoever waits for the answer: given up when they hang up."""


class Transport(Protocol):
    """How a model server is reached."""

    def exchange(self, request: Exchange, *, connect_seconds: float) -> Answer:
        """Send a request and return the answer.

        Raises:
            ConnectionRefusedError: It cannot be reached, and nothing was sent.
            ConnectionError: The connection broke before an answer was received.
            TimeoutError: No answer by the deadline.
            ClientGone: The client hung up before the answer came.
        """

    def close(self) -> None:
        """Keep no connection any longer."""


class HttpTransport:
    """HTTP/1.1 over kept-alive connections; safe for many threads."""

    def __init__(self, base_url: str) -> None:
        parts = urlsplit(base_url)
        self._class = HTTPSConnection if parts.scheme == "https" else HTTPConnection
        self._host = parts.hostname or ""
        self._port = parts.port
        self._prefix = parts.path
        self._idle: list[HTTPConnection] = []
        self._closed = False
        self._lock = threading.Lock()

    def close(self) -> None:
        """Keep no connection from now on; exchanges under way go on to their end."""
        self._closed = True
        self._drop_idle()

    def exchange(self, request: Exchange, *, connect_seconds: float) -> Answer:
        """See `Transport`.

        A kept-alive connection may have been closed at the other end just now. A prediction may be asked for twice, so
        the request is then sent once more over a new connection.
        """
        connection = self._take_idle()
        if connection is not None:
            with contextlib.suppress(ConnectionError):
                return self._exchange_on(connection, request)
            self._drop_idle()
        return self._exchange_on(self._connect(request, connect_seconds), request)

    def _take_idle(self) -> HTTPConnection | None:
        while True:
            with self._lock:
                if not self._idle:
                    return None
                connection = self._idle.pop()
            if not _readable(connection):
                return connection
            connection.close()  # the other end has closed it, or sent what nobody asked for

    def _drop_idle(self) -> None:
        with self._lock:
            stale, self._idle = self._idle, []
        for connection in stale:
            connection.close()

    def _connect(self, request: Exchange, connect_seconds: float) -> HTTPConnection:
        seconds = min(connect_seconds, max(request.deadline - time.monotonic(), 0.001))
        connection = self._class(self._host, self._port, timeout=seconds)
        try:
            connection.connect()  # sets TCP_NODELAY
        except (OSError, UnicodeError) as error:  # of UnicodeErrors: no name that can be looked up
            connection.close()
            # Who gives it less than `connect_seconds` learns nothing about the server.
            _remaining(request.deadline)
            raise ConnectionRefusedError(str(error)) from None
        _notice_silence(connection.sock)
        return connection

    def _exchange_on(self, connection: HTTPConnection, request: Exchange) -> Answer:
        try:
            answer = _send_and_receive(connection, self._prefix, request)
        except BaseException:
            connection.close()
            raise
        if connection.sock is not None:
            self._keep(connection)
        return answer

    def _keep(self, connection: HTTPConnection) -> None:
        with self._lock:
            if len(self._idle) < _IDLE_CONNECTIONS and not self._closed:
                self._idle.append(connection)
                return
        connection.close()


def _notice_silence(connection: socket.socket) -> None:
    """Let the kernel break a connection whose other end has vanished (a pulled cable, a dead host).

    A busy model server is silent, too, but its kernel answers. Not if it is frozen, and more was sent than its kernel holds:
    then it is as good as gone.
    """
    connection.setsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE, 1)
    for name, value in _KEEP_ALIVE.items():
        if hasattr(socket, name):
            connection.setsockopt(socket.IPPROTO_TCP, getattr(socket, name), value)


def _readable(connection: HTTPConnection) -> bool:
    poll = select.poll()
    poll.register(connection.sock, select.POLLIN)
    return bool(poll.poll(0))


class _Incoming(io.RawIOBase):
    """What an `HTTPResponse` reads of a socket: each time there is what is left until the deadline, not all of it anew."""

    def __init__(self, connected: socket.socket, deadline: float) -> None:
        self._connected = connected
        self._deadline = deadline
        # Until this is closed, the socket stays open.
        self._held = connected.makefile("rb", buffering=0)

    def makefile(self, _mode: str) -> io.BufferedReader:
        """What the response asks of a socket."""
        return io.BufferedReader(self)

    def readable(self) -> bool:
        """See `io.IOBase`."""
        return True

    def readinto(self, buffer: Any) -> int:  # noqa: ANN401 - typeshed's Buffer is no runtime type
        """See `io.RawIOBase`; raises TimeoutError at the deadline."""
        self._connected.settimeout(_remaining(self._deadline))
        return self._connected.recv_into(buffer)

    def close(self) -> None:
        """See `io.IOBase`."""
        self._held.close()
        super().close()


def _response(deadline: float, connected: socket.socket, **options: Any) -> HTTPResponse:  # noqa: ANN401 - http.client's
    return HTTPResponse(_Incoming(connected, deadline), **options)  # type: ignore[arg-type]  # asked for `makefile` only


def _send_and_receive(connection: HTTPConnection, prefix: str, request: Exchange) -> Answer:
    connection.sock.settimeout(_remaining(request.deadline))
    try:
        connection.request(
            request.method, prefix + request.path, request.body, dict(request.headers)
        )
        _wait(connection, request)
        connection.response_class = partial(_response, request.deadline)  # type: ignore[assignment]  # called, no more
        response = connection.getresponse()
        return Answer(response.status, response.read())
    except HTTPException as error:
        raise ConnectionError(f"no HTTP answer: {error!r}") from None
    except OSError as error:
        ours = isinstance(error, TimeoutError) and error.errno is None  # else the kernel gave up
        if ours or isinstance(error, ConnectionError):
            raise
        raise ConnectionError(str(error)) from None


def _remaining(deadline: float) -> float:
    seconds = deadline - time.monotonic()
    if seconds <= 0:
        raise TimeoutError
    return seconds


def _wait(connection: HTTPConnection, request: Exchange) -> None:
    """Wait until the answer begins; give up when the client hangs up or time is up."""
    poll = select.poll()
    poll.register(connection.sock, select.POLLIN)
    while not poll.poll(1000 * min(_remaining(request.deadline), _WATCH_SECONDS)):
        if request.client is not None and hung_up(request.client):
            raise ClientGone("The client closed its connection.")


def hung_up(client: int) -> bool:
    """Whether the peer of a connection, given by its file descriptor, has closed it."""
    poll = select.poll()
    poll.register(client, select.POLLRDHUP)
    return bool(poll.poll(0))
