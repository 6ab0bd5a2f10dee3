"""One worker process: receives requests within a time limit, answers what is no HTTP as a problem document."""

from __future__ import annotations

import contextlib
import errno
import io
import logging
import secrets
import selectors
import signal
import ssl
import threading
import time
from functools import partial
from http import HTTPStatus
from typing import TYPE_CHECKING, Any, ClassVar

import orjson
from gunicorn import util
from gunicorn.http import errors as http_errors
from gunicorn.workers.gthread import ThreadWorker

from flask_server.connection import Connection
from flask_server.correlation import REQUEST_ID
from flask_server.cors import lines_for
from flask_server.errors import RequestTimeout
from flask_server.facts import received_at
from flask_server.problems import CONTENT_TYPE, document
from flask_server.served_app import reread_app

if TYPE_CHECKING:
    import socket
    from collections.abc import Callable
    from concurrent.futures import Future, ThreadPoolExecutor
    from types import FrameType

    from flask import Flask

    from flask_server.router import Router
    from flask_server.worker_board import WorkerBoard

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
HEEDED = (signal.SIGHUP, signal.SIGTERM)
"""What the arbiter tells its workers."""
_GRACE_SECONDS = 1.0
_LOOK_SECONDS = 0.25
_MOST_HELD_BYTES = 256 * 2**20
_LITTLE_BYTES = 64 * 2**10
# What a client may still be sending when its body was refused: closing sooner would keep the answer from it.
_MOST_DRAINED_BYTES = 256 * 2**20
# So long a new connection is left to workers that hold fewer; they have been woken at the same moment.
_COURTESY_SECONDS = 0.0003
# Of files or memory (accept(2)). The poller tells of the connection again at once, so that one has to pause.
_SHORTAGES = (errno.EMFILE, errno.ENFILE, errno.ENOBUFS, errno.ENOMEM)
_SHORTAGE_SECONDS = 0.05
_TOO_MANY = "Too many requests are being received; try again in a moment."
_TOO_SLOW = "The request was not received whole in time."
_log = logging.getLogger(__name__)


class RouterWorker(ThreadWorker):  # type: ignore[misc]  # gunicorn has no types
    """Gunicorn's threaded worker, with a limit on receiving, our errors, and a reload in place."""

    wsgi: Flask
    tpool: ThreadPoolExecutor
    SIGNALS: ClassVar = [one for one in ThreadWorker.SIGNALS if one != signal.SIGHUP]

    def __init__(self, *arguments: object) -> None:
        super().__init__(*arguments)
        self._board: WorkerBoard = self.app.board
        self._place = self._board.enter()
        self.receiving: dict[Connection, None] = {}
        """Connections that wait for a request, or for the rest of one; in the order in which they began."""
        self._look_at = 0.0
        self._held_bytes = 0
        self._held_lock = threading.Lock()

    def init_signals(self) -> None:
        """SIGHUP reads the models again instead of ending the process."""
        signal.signal(signal.SIGHUP, self.handle_hup)
        signal.siginterrupt(signal.SIGHUP, False)
        super().init_signals()
        signal.pthread_sigmask(signal.SIG_UNBLOCK, HEEDED)

    def load_wsgi(self) -> None:
        """Answer by the newest configuration that was found right, and tell which it is."""
        super().load_wsgi()
        self._tell_configuration()

    def _tell_configuration(self) -> None:
        router: Router = self.wsgi.extensions["router"]
        self._board.tell_configuration(self._place, router.configuration)

    def notify(self) -> None:
        """Once every turn of the main loop: tell the arbiter that we live, and the others what we hold."""
        super().notify()
        self._board.tell_connections(self._place, self.nr_conns)

    def forget(self) -> None:
        """Count no longer: called in the arbiter when the process has ended."""
        self._board.leave(self._place)

    def accept(self, listener: socket.socket) -> None:
        """Take a connection; it costs no thread until a request is there."""
        if self._board.others_hold_fewer(self._place):
            time.sleep(_COURTESY_SECONDS)
        try:
            client, address = listener.accept()
        except OSError as error:
            self._accept_nothing(error)
            return
        self.nr_conns += 1
        self._board.tell_connections(self._place, self.nr_conns)
        if self.nr_conns >= self.worker_connections:
            self._make_room()
        self._wait_for_request(Connection(self.cfg, client, address, listener.getsockname()))

    def _accept_nothing(self, error: OSError) -> None:
        """Go on with what there is: another worker was faster, the client has gone already, or files are short."""
        if error.errno == errno.EINVAL:  # the arbiter has shut the socket: see RouterArbiter.stop
            self.alive = False
        elif error.errno in _SHORTAGES:
            _log.warning("a connection has to wait: %s", error.strerror)
            self._make_room()
            time.sleep(_SHORTAGE_SECONDS)

    def _make_room(self) -> None:
        """Close the connection that has dawdled longest over a request."""
        if self.receiving:
            self._give_up(next(iter(self.receiving)), 503, _TOO_MANY)

    def on_client_socket_readable(self, conn: Connection, client: socket.socket) -> None:
        """A kept-alive connection has something to say again."""
        self._receive_again(conn, self.cfg.keepalive)
        self._receive(conn, client)

    def _receive_again(self, conn: Connection, seconds: float) -> None:
        self.keepalived_conns.remove(conn)
        conn.wait(seconds)
        self.receiving[conn] = None
        self.poller.modify(conn.sock, selectors.EVENT_READ, partial(self._receive, conn))

    def _wait_for_request(self, conn: Connection) -> None:
        conn.wait(self.app.settings.receive_timeout)
        self.receiving[conn] = None
        self.poller.register(conn.sock, selectors.EVENT_READ, partial(self._receive, conn))

    def finish_request(self, conn: Connection, fs: Future[Any]) -> None:
        """An answer is out; what the client has sent beyond its request is the beginning of the next one."""
        super().finish_request(conn, fs)
        if conn.received and conn in self.keepalived_conns:
            self._receive_again(conn, self.app.settings.receive_timeout)
            self._hold(len(conn.received))
            self._go_on(conn, whole=conn.is_whole(self.app.settings))

    def _receive(self, conn: Connection, _: socket.socket) -> None:
        if conn not in self.receiving:
            return  # given up for another one, whose coming the poller has told of at the same time
        before = len(conn.received)
        try:
            whole = conn.receive(self.app.settings)
        except BlockingIOError:
            return
        except OSError:
            self._give_up(conn)
            return
        self._hold(len(conn.received) - before)
        self._go_on(conn, whole=whole)

    def _go_on(self, conn: Connection, *, whole: bool) -> None:
        """Give a whole request to a thread, unless it takes too much of the memory that all have together."""
        if self._held_bytes > _MOST_HELD_BYTES:
            self._give_up_the_largest()
        if whole and conn in self.receiving:
            self._leave_poller(conn)
            conn.data_ready = True
            conn.whole_at = time.monotonic()
            self.enqueue_req(conn)

    def _give_up_the_largest(self) -> None:
        """Whoever holds most has to go, not whoever comes last; what holds little would bring nothing."""
        largest = max(self.receiving, key=lambda one: len(one.received))
        if len(largest.received) > _LITTLE_BYTES:
            self._give_up(largest, 503, _TOO_MANY)

    def _hold(self, size: int) -> None:
        """Count bytes that were received and that no thread has taken (less, where `size` is below zero)."""
        with self._held_lock:
            self._held_bytes += size

    def _leave_poller(self, conn: Connection) -> None:
        self.poller.unregister(conn.sock)
        del self.receiving[conn]

    def _give_up(self, conn: Connection, status: int = 408, detail: str = _TOO_SLOW) -> None:
        """Close a connection whose request will not be answered; say why if one had begun."""
        self._leave_poller(conn)
        self._hold(-len(conn.received))
        if conn.received:
            head = memoryview(conn.received.first)[:_LITTLE_BYTES]
            lines = lines_for(self.app.settings.cors_origins, head)
            with contextlib.suppress(OSError):
                conn.sock.send(_raw_response(status, detail, lines))
        self.nr_conns -= 1
        conn.close()

    def murder_pending(self) -> None:
        """Gunicorn calls this each turn of the main loop: now and then, give up what has taken too long."""
        now = time.monotonic()
        if now < self._look_at:
            return
        self._look_at = now + _LOOK_SECONDS
        for conn in [one for one in self.receiving if one.deadline <= now]:
            self._give_up(conn)

    def handle(self, conn: Connection) -> object:
        """Answer one request; runs in a thread."""
        conn.sock.setblocking(True)
        self._hold(-len(conn.received))
        try:
            conn.begin(self.app.settings.receive_timeout)
        except OSError as error:
            _log.debug("no TLS handshake: %s", error)
            return False
        keep = super().handle(conn)
        if keep:
            conn.finish()
        else:  # closing may have to wait for the client: here, not in the thread that serves all connections
            util.close_graceful(conn.sock, max_drain=_MOST_DRAINED_BYTES)
        return keep

    def handle_request(self, req: Any, conn: Connection) -> object:  # noqa: ANN401 - untyped there
        """Answer one request of a connection; the client has as long to take the answer as it had to send the request."""
        self._check_head(req)
        conn.sock.settimeout(self.app.settings.receive_timeout)
        body = conn.take_body(req)
        if body is not None:
            req.body = body
        received_at.set(conn.whole_at)
        try:
            keep = super().handle_request(req, conn)
            if body is not None:  # for what nobody read, gunicorn would close the connection
                body.seek(0, io.SEEK_END)
            return keep
        except TimeoutError:
            _log.info("a client did not take its answer")
            conn.sock.close()
            return False

    def _check_head(self, req: Any) -> None:  # noqa: ANN401 - untyped there
        """What gunicorn leaves to the application, which comes too late for it."""
        values = dict(req.headers)
        codings = [value for name, value in req.headers if name == "TRANSFER-ENCODING"]
        if any(value.strip().lower() != "chunked" for value in codings):
            raise http_errors.UnsupportedTransferCoding(", ".join(codings))  # nothing unpacks it
        if req.version == (1, 1) and "HOST" not in values:
            raise http_errors.InvalidHeader("Host")  # RFC 9112, section 3.2
        if int(values.get("CONTENT-LENGTH", 0)) > self.app.settings.max_body_bytes:
            req._expected_100_continue = False  # noqa: SLF001 - it will be refused: nobody is to send it

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
        for conn in self.receiving:
            if not conn.received:
                conn.deadline = min(conn.deadline, deadline)

    def handle_exit(self, sig: int, frame: FrameType | None) -> None:
        """SIGTERM: not ready from now on; accept until the arbiter shuts the socket, or, where it is systemd's, a little more."""
        self.method_queue.defer(self._drain, partial(super().handle_exit, sig, frame))

    def _drain(self, stop: Callable[[], None]) -> None:
        self.wsgi.extensions["router"].health.draining.set()
        delay = threading.Timer(self.app.settings.drain_seconds + _GRACE_SECONDS, stop)
        delay.daemon = True
        delay.start()

    def handle_hup(self, sig: int, frame: FrameType | None) -> None:  # noqa: ARG002 - a signal handler's form
        """SIGHUP: do it between requests, in the main loop."""
        self.method_queue.defer(self._reload)

    def _reload(self) -> None:
        fresh = reread_app(self.app.settings, self._board)
        if fresh is not None:
            stale, self.wsgi = self.wsgi, fresh
            stale.extensions["router"].close()
            self._hire(len(fresh.extensions["router"].models))
            self._tell_configuration()

    def _hire(self, models: int) -> None:
        """Have as many threads as so many models need; requests that the old ones have go on to their end."""
        self.cfg.set("threads", self.app.settings.threads_for(models))
        old, self.tpool = self.tpool, self.get_thread_pool()
        old.shutdown(wait=False)


def _raw_response(status: int, detail: str, lines: tuple[str, ...] = ()) -> bytes:
    phrase, request_id = HTTPStatus(status).phrase, secrets.token_hex(16)
    body = orjson.dumps(document(status, phrase, detail) | {"request_id": request_id})
    head = (
        f"HTTP/1.1 {status} {phrase}",
        "Connection: close",
        f"Content-Type: {CONTENT_TYPE}",
        f"Content-Length: {len(body)}",
        f"{REQUEST_ID}: {request_id}",
        *(("Retry-After: 1",) if status == 503 else ()),
        *lines,
    )
    return "\r\n".join((*head, "", "")).encode("latin-1") + body
