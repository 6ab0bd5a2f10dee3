"""Put the WSGI application on a port, a thread for each connection, and take it off again in order.

The clients of a model server are few and stay: routers, with connections kept alive. A thread that reads, computes and
writes for one of them hands nothing to another thread, which is what a server built around a loop pays for.
"""

from __future__ import annotations

import logging
import socket
import threading
import time
from typing import TYPE_CHECKING

from serving.errors import Unavailable
from serving.http_connection import HttpConnection

if TYPE_CHECKING:
    from serving.wsgi import Application

logger = logging.getLogger(__name__)

_CONNECTIONS = 1000
_BACKLOG = 1024
_IDLE_SECONDS = 1.0  # a request that has come within this may not have been seen yet
_GLANCE_SECONDS = 0.01
_PAUSE_SECONDS = 0.1


class HttpServer:
    """The REST API on its port."""

    def __init__(self, application: Application, host: str, port: int, threads: int) -> None:
        """Bind the port; nothing is answered before `start`.

        Args:
            application: what answers.
            host: an address of this machine, or `*`.
            port: where to listen.
            threads: how many requests it answers at once; the others wait.

        Raises:
            Unavailable: the port cannot be had.
        """
        self._application = application
        self._turns = threading.BoundedSemaphore(threads)
        self._places = threading.BoundedSemaphore(_CONNECTIONS)
        self._connections: set[HttpConnection] = set()
        self._draining = False
        try:
            self._listener = _listener(host, port)
        except OSError as error:
            raise Unavailable(
                f"Could not listen on {host_and_port(host, port)} ({error.strerror}); "
                "stop what uses the port, or choose another with --rest_api_port"
            ) from None
        self._thread = threading.Thread(target=self._accept, name="http", daemon=True)

    def start(self) -> None:
        """Answer requests from now on."""
        self._thread.start()

    def drain(self, timeout_seconds: float) -> bool:
        """Accept nothing new, finish what runs, write it out; say whether that was in time."""
        deadline = time.monotonic() + timeout_seconds
        if not self._draining:
            self._draining = True
            self._listener.shutdown(socket.SHUT_RDWR)  # wakes the thread that accepts
            self._thread.join()
            self._listener.close()
        finished = self._application.drain(timeout_seconds)
        while self._is_writing() and time.monotonic() < deadline:
            time.sleep(_GLANCE_SECONDS)
        return finished and not self._is_writing()

    def _is_writing(self) -> bool:
        return any(connection.is_busy for connection in self._connections.copy())

    def _accept(self) -> None:
        while not self._draining:
            try:
                client, _ = self._listener.accept()
            except OSError as error:
                self._pause_after(error)
                continue
            if self._has_place():
                self._start_serving(client)
            else:
                client.close()

    def _has_place(self) -> bool:
        """Take a place for one more, as soon as there is one; whoever has been idle for longest has to make way."""
        if self._places.acquire(blocking=False):
            return True
        while not self._draining:
            self._end_longest_idle()
            if self._places.acquire(timeout=_PAUSE_SECONDS):
                return True
        return False

    def _end_longest_idle(self) -> None:
        since = {one: one.idle_since for one in self._connections.copy()}
        latest = time.monotonic() - _IDLE_SECONDS
        idle = {one: when for one, when in since.items() if when is not None and when < latest}
        if idle:
            min(idle, key=idle.__getitem__).hang_up()

    def _start_serving(self, client: socket.socket) -> None:
        connection = HttpConnection(client, self._application, self._turns)
        self._connections.add(connection)
        try:
            threading.Thread(target=self._serve, args=(connection,), daemon=True).start()
        except RuntimeError as error:
            client.close()
            self._end(connection)
            self._pause_after(error)

    def _pause_after(self, error: Exception) -> None:
        """Out of file descriptors or threads: others have to end first."""
        if not self._draining:
            logger.error("a connection could not be taken: %s", error)
            time.sleep(_PAUSE_SECONDS)

    def _serve(self, connection: HttpConnection) -> None:
        try:
            connection.serve()
        except Exception:
            logger.exception("a connection ended")
        finally:
            self._end(connection)

    def _end(self, connection: HttpConnection) -> None:
        self._connections.discard(connection)
        self._places.release()


def host_and_port(host: str, port: int) -> str:
    """Both as one word; an IPv6 address stands in brackets (RFC 3986, section 3.2.2)."""
    return f"[{host}]:{port}" if ":" in host else f"{host}:{port}"


def _listener(host: str, port: int) -> socket.socket:
    if host == "*":
        both = socket.has_dualstack_ipv6()
        family = socket.AF_INET6 if both else socket.AF_INET
        return socket.create_server(
            ("", port), family=family, backlog=_BACKLOG, dualstack_ipv6=both
        )
    family, _, _, _, address = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)[0]
    return socket.create_server(address, family=family, backlog=_BACKLOG)
