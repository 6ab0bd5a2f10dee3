"""One client's connection: HTTP/1.1 requests in, one after another, and their answers out (RFC 9112).

httptools (the parser of Node.js) reads the heads. Bodies of a known length, which may be megabytes, are read past it, in
one piece.
"""

from __future__ import annotations

import contextlib
import io
import re
import socket
import struct
import time
from dataclasses import dataclass, field
from functools import lru_cache
from http import HTTPStatus
from typing import TYPE_CHECKING, Any
from wsgiref.handlers import format_date_time

import httptools

from serving.error_page import CONTENT_TYPE, error_page

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable
    from threading import BoundedSemaphore

    Headers = list[tuple[str, str]]
    Application = Callable[[dict[str, Any], Callable[..., Any]], Iterable[bytes]]

_PEEKED_BYTES = 8 * 1024
_RECEIVE_BYTES = 64 * 1024
_RECEIVE_MOST_BYTES = 64 * 1024 * 1024
_HEAD_MOST_BYTES = 64 * 1024
_SILENCE_SECONDS = 600
_LINGER_SECONDS = 1.0
_LINGER_MOST_BYTES = 64 * 1024 * 1024
_LONGEST_END_BYTES = 4
_END_OF_HEAD = re.compile(rb"\r?\n\r?\n")
# Nobody is upgraded here; the parser would take what follows such a head for another protocol, the body with it.
_UPGRADE = re.compile(rb"\nupgrade[ \t]*:[^\n]*(?=\n)", re.IGNORECASE)


class _ClientGone(Exception):
    """The other end has closed the connection, or was silent for too long."""


class _Malformed(Exception):
    """What came is not HTTP that can be answered; `status` is what the client is told."""

    def __init__(self, status: HTTPStatus) -> None:
        super().__init__(status)
        self.status = status


@dataclass
class _Request:
    """One request as httptools tells it, part by part; what follows it in the same bytes is passed over."""

    method: str = ""
    version: str = ""
    target: bytes = b""
    headers: list[tuple[bytes, bytes]] = field(default_factory=list)
    pieces: list[bytes] = field(default_factory=list)
    head_is_whole: bool = False
    is_whole: bool = False
    is_last: bool = False
    """Of this connection."""

    def on_message_begin(self) -> None:
        """A request begins; a second one would be lost, so the client has to ask it again over another connection."""
        self.is_last = self.is_whole

    def on_url(self, part: bytes) -> None:
        """A part of the request's target."""
        if not self.head_is_whole:
            self.target += part

    def on_header(self, name: bytes, value: bytes) -> None:
        """A header, or a trailer, which nobody here asks for."""
        if not self.head_is_whole:
            self.headers.append((name, value))

    def on_headers_complete(self) -> None:
        """Nothing of the head is missing."""
        self.head_is_whole = True

    def on_body(self, part: bytes) -> None:
        """A part of a chunked body."""
        if not self.is_whole:
            self.pieces.append(part)

    def on_message_complete(self) -> None:
        """Nothing of it is missing."""
        self.is_whole = True

    def environ(self) -> dict[str, Any]:
        """What PEP 3333 has of its head; names with an underscore could pass for others there, and are left out."""
        environ = {"REQUEST_METHOD": self.method, "REQUEST_URI": self.target.decode("latin-1")}
        for name, value in self.headers:
            if b"_" not in name:
                key = _variable(name)
                text = value.decode("latin-1")
                environ[key] = f"{environ[key]}, {text}" if key in environ else text
        return environ


@lru_cache(maxsize=256)
def _variable(name: bytes) -> str:
    variable = name.decode("latin-1").upper().replace("-", "_")
    return variable if variable in ("CONTENT_LENGTH", "CONTENT_TYPE") else f"HTTP_{variable}"


class HttpConnection:
    """A connection that is served by the thread that calls `serve`."""

    def __init__(
        self, client: socket.socket, application: Application, turns: BoundedSemaphore
    ) -> None:
        """Take over a connection.

        Args:
            client: the connected socket.
            application: what answers (PEP 3333); sets Content-Length.
            turns: held while it does.
        """
        self._client = client
        self._application = application
        self._turns = turns
        self.is_busy = False
        """Whether a request is being answered."""
        self.idle_since: float | None = time.monotonic()
        """When it began to wait for a request; None once the head of one is there."""

    def hang_up(self) -> None:
        """End it from another thread, which wakes the one that serves it."""
        with contextlib.suppress(OSError):
            self._client.shutdown(socket.SHUT_RDWR)

    def serve(self) -> None:
        """Answer requests until one of both ends has enough."""
        with self._client:
            # The kernel keeps these times: Python's own time-outs cost a system call more each time.
            limit = struct.pack("ll", _SILENCE_SECONDS, 0)
            self._client.setsockopt(socket.SOL_SOCKET, socket.SO_RCVTIMEO, limit)
            self._client.setsockopt(socket.SOL_SOCKET, socket.SO_SNDTIMEO, limit)
            self._client.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            with contextlib.suppress(_ClientGone, OSError):
                while self._answer_next():
                    pass

    def _answer_next(self) -> bool:
        try:
            request, parser = self._read_head()
            environ = request.environ()
            body = b"" if request.is_whole else self._read_body(request, parser, environ)
        except _Malformed as error:
            self._refuse(error.status)
            return False
        environ["wsgi.input"] = io.BytesIO(body)
        self.is_busy = True
        keep = not request.is_last and _wants_to_stay(request.version, environ)
        try:
            status, headers, text = self._ask_application(environ)
            if not keep or request.version == "1.0":
                headers = [*headers, ("Connection", "keep-alive" if keep else "close")]
            head = _head(status, headers)
            self._client.sendall(head if request.method == "HEAD" else head + text)
        finally:
            self.is_busy = False
        return keep

    def _ask_application(self, environ: dict[str, Any]) -> tuple[str, Headers, bytes]:
        told: list[tuple[str, Headers]] = []
        with self._turns:
            text = b"".join(self._application(environ, lambda *head: told.append(head)))
        ((status, headers),) = told
        return status, headers, text

    def _read_head(self) -> tuple[_Request, httptools.HttpRequestParser]:
        received, end = b"", None
        self.idle_since = time.monotonic()
        while end is None and len(received) <= _HEAD_MOST_BYTES:
            # Only looked at: what follows the head stays in the kernel, to be received as one piece.
            seen = self._receive(_PEEKED_BYTES, socket.MSG_PEEK)
            blank = 0 if received else len(seen) - len(seen.lstrip(b"\r\n"))
            if blank:
                self._receive(blank)
                continue
            searched = max(len(received) - _LONGEST_END_BYTES, 0)
            end = _END_OF_HEAD.search(received + seen, searched)
            received += self._receive(end.end() - len(received) if end else len(seen))
        self.idle_since = None
        if end is None or len(received) > _HEAD_MOST_BYTES:
            raise _Malformed(HTTPStatus.REQUEST_HEADER_FIELDS_TOO_LARGE)
        request = _Request()
        parser = httptools.HttpRequestParser(request)
        _feed(parser, _UPGRADE.sub(b"", received))
        request.method = parser.get_method().decode("ascii")
        request.version = parser.get_http_version()
        return request, parser

    def _read_body(
        self, request: _Request, parser: httptools.HttpRequestParser, environ: dict[str, str]
    ) -> bytes:
        if "100-continue" in environ.get("HTTP_EXPECT", "").lower():
            self._client.sendall(b"HTTP/1.1 100 Continue\r\n\r\n")
        if "CONTENT_LENGTH" in environ:
            return self._read_exactly(int(environ["CONTENT_LENGTH"]))
        while not request.is_whole:
            _feed(parser, self._receive(_RECEIVE_BYTES))
        return b"".join(request.pieces)

    def _read_exactly(self, length: int) -> bytes:
        pieces, missing = [], length
        while missing:
            size = min(missing, _RECEIVE_MOST_BYTES)
            pieces.append(self._receive(size, socket.MSG_WAITALL))
            missing -= len(pieces[-1])
        return b"".join(pieces)

    def _receive(self, size: int, flags: int = 0) -> bytes:
        data = self._client.recv(size, flags)
        if not data:
            raise _ClientGone
        return data

    def _refuse(self, status: HTTPStatus) -> None:
        """Answer what is no request, and close; but not before the client can have read the answer."""
        text = error_page(status)
        headers = [("Content-Type", CONTENT_TYPE), ("Content-Length", str(len(text)))]
        head = _head(f"{status.value} {status.phrase}", [*headers, ("Connection", "close")])
        self._client.sendall(head + text)
        self._client.shutdown(socket.SHUT_WR)
        self._client.settimeout(_LINGER_SECONDS)
        deadline, taken = time.monotonic() + _LINGER_SECONDS, 0
        while taken < _LINGER_MOST_BYTES and time.monotonic() < deadline:
            taken += len(self._receive(_RECEIVE_BYTES))


def _wants_to_stay(version: str, environ: dict[str, Any]) -> bool:
    """Whether the client keeps the connection (RFC 9112, section 9.3)."""
    options = {option.strip() for option in environ.get("HTTP_CONNECTION", "").lower().split(",")}
    return "close" not in options and (version == "1.1" or "keep-alive" in options)


def _feed(parser: httptools.HttpRequestParser, data: bytes) -> None:
    try:
        parser.feed_data(data)
    except httptools.HttpParserUpgrade:
        pass  # CONNECT, which is answered like any other method that is not known
    except httptools.HttpParserInvalidMethodError:
        raise _Malformed(HTTPStatus.NOT_IMPLEMENTED) from None  # as for all odd methods
    except httptools.HttpParserError:
        raise _Malformed(HTTPStatus.BAD_REQUEST) from None


def _head(status: str, headers: Iterable[tuple[str, str]]) -> bytes:
    lines = [f"HTTP/1.1 {status}", f"Date: {_date(int(time.time()))}"]
    lines += [f"{name}: {value}" for name, value in headers]
    return "\r\n".join((*lines, "", "")).encode("latin-1")


@lru_cache(maxsize=1)
def _date(second: int) -> str:
    return format_date_time(second)
