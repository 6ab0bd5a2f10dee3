"""One worker process: receives requests within a time limit, answers what is no HTTP as a problem document."""

from __future__ import annotations

import logging
import selectors
import signal
import ssl
import threading
import time
from functools import cache, partial
from http import HTTPStatus
from typing import TYPE_CHECKING, ClassVar

import orjson
from gunicorn import http, util
from gunicorn.http import errors as http_errors
from gunicorn.http.unreader import SocketUnreader
from gunicorn.workers.gthread import TConn, ThreadWorker

from flask_server.errors import RequestTimeout
from flask_server.problems import CONTENT_TYPE, document
from flask_server.served_app import served_app
from model_config import ConfigError

if TYPE_CHECKING:
    import socket
    from collections.abc import Callable
    from types import FrameType

    from flask import Flask

_STATUSES: tuple[tuple[type[Exception], int], ...] = (
    (RequestTimeout, 408),
    (http_errors.LimitRequestLine, 414),
    (http_errors.ExpectationFailed, 417),
    (http_errors.LimitRequestHeaders, 431),
    (http_errors.UnsupportedTransferCoding, 501),
    (http_errors.InvalidHTTPVersion, 505),
    (http_errors.ParseException, 400),
    (ssl.SSLError, 400),
)
_log = logging.getLogger(__name__)


class TimedUnreader(SocketUnreader):  # type: ignore[misc]  # gunicorn has no types
    """Reads a request from its connection until `deadline`, however slowly it trickles."""

    deadline = 0.0

    def chunk(self, size_hint: int | None = None) -> bytes:
        """The next bytes of the request.

        Raises:
            RequestTimeout: The deadline has passed.
        """
        left = self.deadline - time.monotonic()
        try:
            self.sock.settimeout(max(left, 0.001))
            data: bytes = super().chunk(size_hint)
        except TimeoutError:
            raise RequestTimeout("The request was not received whole in time.") from None
        return data


class Connection(TConn):  # type: ignore[misc]  # gunicorn has no types
    """One client's connection."""

    initialized: bool
    sock: socket.socket
    receive_timeout = 30.0

    def init(self) -> None:
        """Shake hands (TLS) and set up the parser, once."""
        if self.initialized:
            return
        self.initialized = True
        self.sock.settimeout(self.receive_timeout)
        if self.cfg.is_ssl:
            context = _tls_context(self.cfg.certfile, self.cfg.keyfile)
            self.sock = context.wrap_socket(self.sock, server_side=True)
        self.parser = http.get_parser(self.cfg, self.sock, self.client)
        self.parser.unreader = TimedUnreader(self.sock)

    def expect_request(self) -> None:
        """Start the time in which the next request must arrive."""
        self.init()
        self.parser.unreader.deadline = time.monotonic() + self.receive_timeout


@cache
def _tls_context(certificate: str, key: str) -> ssl.SSLContext:
    context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
    context.load_cert_chain(certificate, key)
    return context


class RouterWorker(ThreadWorker):  # type: ignore[misc]  # gunicorn has no types
    """Gunicorn's threaded worker, with a limit on receiving, our errors, and a reload in place."""

    wsgi: Flask
    SIGNALS: ClassVar = [one for one in ThreadWorker.SIGNALS if one != signal.SIGHUP]

    def init_signals(self) -> None:
        """SIGHUP reads the models again instead of ending the process."""
        signal.signal(signal.SIGHUP, self.handle_hup)
        signal.siginterrupt(signal.SIGHUP, False)
        super().init_signals()

    def accept(self, listener: socket.socket) -> None:
        """Take a connection; it costs no thread until its first bytes are there."""
        try:
            client, address = listener.accept()
        except (BlockingIOError, ConnectionAbortedError):
            return
        connection = Connection(self.cfg, client, address, listener.getsockname())
        connection.receive_timeout = self.app.settings.receive_timeout
        connection.timeout = time.monotonic() + self.cfg.keepalive
        self.nr_conns += 1
        self.pending_conns.append(connection)
        readable = partial(self.on_pending_socket_readable, connection)
        self.poller.register(client, selectors.EVENT_READ, readable)

    def handle(self, conn: Connection) -> object:
        """Answer one request; runs in a thread."""
        conn.sock.setblocking(True)
        try:
            conn.expect_request()
        except OSError as error:
            _log.debug("no TLS handshake: %s", error)
            return False
        keep = super().handle(conn)
        if not keep:
            util.close_graceful(
                conn.sock
            )  # may wait for the client: here, not in the thread of all connections
        return keep

    def handle_error(
        self, req: object, client: socket.socket, addr: object, exc: BaseException
    ) -> None:
        """Answer a request that never reached the application."""
        del req  # broken as it is, it tells nothing
        status = next((number for kind, number in _STATUSES if isinstance(exc, kind)), 500)
        if status == 500:
            _log.error("a request failed outside the application", exc_info=exc)
        else:
            _log.info("not a request, from %s: %s", addr, exc)
        detail = str(exc) if status == 408 else "This is not an HTTP request that can be answered."
        try:
            client.sendall(_raw_response(status, detail))
        except OSError as error:
            _log.debug("the client did not wait for its answer: %s", error)

    def _cap_keepalive(self, deadline: float) -> None:
        """When stopping, wait no longer for connections that have sent nothing yet than for idle ones."""
        super()._cap_keepalive(deadline)
        for connection in self.pending_conns:
            connection.timeout = min(connection.timeout, deadline)

    def handle_exit(self, sig: int, frame: FrameType | None) -> None:
        """SIGTERM: not ready from now on; stop accepting a little later, when load balancers have noticed."""
        self.method_queue.defer(self._drain, partial(super().handle_exit, sig, frame))

    def _drain(self, stop: Callable[[], None]) -> None:
        self.wsgi.extensions["router"].health.draining.set()
        delay = threading.Timer(self.app.settings.drain_seconds, stop)
        delay.daemon = True
        delay.start()

    def handle_hup(self, sig: int, frame: FrameType | None) -> None:  # noqa: ARG002 - a signal handler's form
        """SIGHUP: do it between requests, in the main loop."""
        self.method_queue.defer(self._reload)

    def _reload(self) -> None:
        try:
            fresh = served_app(self.app.settings)
        except ConfigError as error:
            _log.error("nothing was changed: %s", error)
            return
        stale, self.wsgi = self.wsgi, fresh
        stale.extensions["router"].close()


def _raw_response(status: int, detail: str) -> bytes:
    phrase = HTTPStatus(status).phrase
    body = orjson.dumps(document(status, phrase, detail))
    head = (
        f"HTTP/1.1 {status} {phrase}\r\nConnection: close\r\nContent-Type: {CONTENT_TYPE}\r\n"
        f"Content-Length: {len(body)}\r\n\r\n"
    )
    return head.encode("latin-1") + body
