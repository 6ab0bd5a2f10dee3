"""One client's connection: its next request is gathered without a thread, so that slow senders cost none."""

from __future__ import annotations

import io
import re
import ssl
import time
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING, Any

from gunicorn import http, util
from gunicorn.http.body import LengthReader
from gunicorn.http.unreader import SocketUnreader
from gunicorn.workers.gthread import TConn

from flask_server.errors import RequestTimeout
from flask_server.pieces import Pieces
from flask_server.watched_files import WatchedFiles

if TYPE_CHECKING:
    import socket

    from flask_server.settings import Settings

_RECEIVED_AT_ONCE = 1024 * 1024
_LARGEST_HEAD = 64 * 1024
_LEAST_SECONDS = 1.0
_END_OF_HEAD = re.compile(rb"\r?\n\r?\n")
_LENGTH = re.compile(rb"\ncontent-length:[ \t]*(\d{1,18})[ \t]*\r?\n", re.IGNORECASE)
# A body of unknown length, and one that waits to be asked for: only the parser can go on with these.
_NEEDS_PARSER = re.compile(rb"\n(transfer-encoding|expect)[ \t]*:", re.IGNORECASE)


def request_length(received: bytes | memoryview, most_body: int) -> int | None:
    """How many bytes must be there before a thread looks at a request.

    Args:
        received: What has arrived of it, or more than the largest head.
        most_body: The largest body, in bytes, that is waited for; a longer one will be refused unread.

    Returns:
        Head and body together; the head alone if the body is to be read, or refused, by the thread; None while the
        head is not whole.
    """
    head = _END_OF_HEAD.search(received, 0, _LARGEST_HEAD)
    if head is None:
        return None if len(received) < _LARGEST_HEAD else _LARGEST_HEAD
    length = _LENGTH.search(received, 0, head.end())
    if length is None or _NEEDS_PARSER.search(received, 0, head.end()):
        return head.end()
    body = int(length[1])
    return head.end() + (body if body <= most_body else 0)


class TimedUnreader(SocketUnreader):  # type: ignore[misc]  # gunicorn has no types
    """Hands the parser what was gathered; reads the rest from the connection until `deadline`."""

    def __init__(self, sock: socket.socket) -> None:
        super().__init__(sock)
        self.gathered = Pieces()
        self.deadline = 0.0

    def chunk(self, size_hint: int | None = None) -> bytes:
        """The next bytes of the request.

        Raises:
            RequestTimeout: The deadline has passed.
        """
        if self.gathered:
            return self.gathered.take(max(size_hint or 0, self.mxchunk))
        for_answers = self.sock.gettimeout()
        try:
            left = self.deadline - time.monotonic()
            if left <= 0:
                raise TimeoutError
            self.sock.settimeout(left)
            data: bytes = super().chunk(size_hint)
        except TimeoutError:
            raise RequestTimeout("The request was not received whole in time.") from None
        finally:
            self.sock.settimeout(for_answers)
        return data


class Connection(TConn):  # type: ignore[misc]  # gunicorn has no types
    """One client's connection, request after request."""

    initialized: bool
    sock: socket.socket

    def __init__(self, cfg: Any, sock: socket.socket, client: Any, server: Any) -> None:  # noqa: ANN401 - untyped there
        super().__init__(cfg, sock, client, server)
        self.received = Pieces()
        self.deadline = 0.0
        self.whole_at = 0.0
        """When the request that a thread takes next was there (with TLS: began), on the monotonic clock."""
        self._length: int | None = None

    def receive(self, settings: Settings) -> bool:
        """Take what has arrived of the next request.

        Returns:
            Whether a thread should go on with it. With TLS at once: only a thread can decrypt.

        Raises:
            OSError: Nothing is there, or the client has gone.
        """
        if self.cfg.is_ssl:
            self.wait(settings.receive_timeout)
            return True
        data = self.sock.recv(_RECEIVED_AT_ONCE)
        if not data:
            raise ConnectionResetError
        if not self.received:
            self.wait(settings.receive_timeout)
        self.received.add(data)
        return self.is_whole(settings)

    def is_whole(self, settings: Settings) -> bool:
        """Whether enough of a request was received for a thread to go on with it."""
        self._length = self._length or request_length(self.received.first, settings.max_body_bytes)
        return self._length is not None and len(self.received) >= self._length

    def init(self) -> None:
        """Shake hands (TLS) and set up the parser, once; runs in a thread."""
        if self.initialized:
            return
        self.initialized = True
        if self.cfg.is_ssl:
            self.sock.settimeout(max(self.deadline - time.monotonic(), 0.001))
            context = tls_context(self.cfg.certfile, self.cfg.keyfile).value()
            self.sock = context.wrap_socket(self.sock, server_side=True)
        self.parser = http.get_parser(self.cfg, self.sock, self.client)
        self.parser.unreader = TimedUnreader(self.sock)

    def begin(self, receive_timeout: float) -> None:
        """Give the parser what was received, and the rest of the time to read what is missing."""
        self.init()
        unreader = self.parser.unreader
        unreader.gathered = self.received
        now = time.monotonic()
        # What waited for a thread may have come whole meanwhile.
        unreader.deadline = max(self.deadline or now + receive_timeout, now + _LEAST_SECONDS)
        self.received, self._length, self.deadline = Pieces(), None, 0.0

    def take_body(self, request: Any) -> io.BytesIO | None:  # noqa: ANN401 - untyped there
        """The body of a request that was gathered whole, in one piece: gunicorn would hand it out in small ones.

        None: some of it is still to be read.
        """
        reader, unreader = request.body.reader, self.parser.unreader
        if not isinstance(reader, LengthReader):
            return None
        unreader.gathered.put_back(unreader.take_buffered())
        whole = len(unreader.gathered) >= reader.length
        return io.BytesIO(unreader.gathered.take(reader.length)) if whole else None

    def finish(self) -> None:
        """Keep what was received beyond the request: the beginning of the next one.

        With TLS gunicorn gives it to a thread at once, since more may lie decrypted where no poller sees it.
        """
        unreader = self.parser.unreader
        unreader.gathered.put_back(unreader.take_buffered())
        rest = unreader.gathered.take(len(unreader.gathered))
        if self.cfg.is_ssl:
            unreader.unread(rest)
            self.whole_at = time.monotonic()
        elif rest:
            self.received.add(rest)

    def close(self, graceful: bool = False) -> None:  # noqa: ARG002 - gunicorn's form
        """Close the socket, unless the thread that answered has: see `RouterWorker.handle`."""
        util.close(self.sock)

    def wait(self, seconds: float) -> None:
        """Wait so long for the next request to begin."""
        self.sock.setblocking(False)
        self.deadline = time.monotonic() + seconds


@cache
def tls_context(certificate: str, key: str) -> WatchedFiles[ssl.SSLContext]:
    """What a server with this certificate shakes hands by, also after it was renewed.

    Raises:
        OSError: The files cannot be read, are no PEM, or do not belong together.
    """

    def read() -> ssl.SSLContext:
        context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
        context.load_cert_chain(certificate, key)
        return context

    return WatchedFiles("TLS certificate and key", (Path(certificate), Path(key)), read)
