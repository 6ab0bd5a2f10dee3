"""WSGI in, JSON out: what an HTTP library does around the REST API.

Paths outside `/v1/`, odd methods and malformed targets get the small HTML pages of the real
server's HTTP library; everything else is `application/json`, errors too.
"""

from __future__ import annotations

import logging
import re
import threading
import zlib
from contextlib import contextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from serving import paths
from serving.error_page import CONTENT_TYPE, error_page, reason
from serving.errors import HTTP_STATUS, Code, ServingError, Unavailable
from serving.json_writer import error_response

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator

    from serving.rest_api import RestApi

    Environ = dict[str, Any]
    StartResponse = Callable[[str, list[tuple[str, str]]], Any]

logger = logging.getLogger(__name__)

_METHODS = frozenset({"GET", "POST", "PUT", "DELETE", "PATCH", "HEAD", "OPTIONS"})
_AUTHORITY = re.compile(r"(?:https?:)?//[^/?#]*", re.IGNORECASE)
_UNZIPPED_MAX_BYTES = 100_000_000
_CORS_HEADERS = [
    ("Access-Control-Allow-Origin", "*"),
    ("Access-Control-Allow-Methods", "POST, GET"),
    ("Access-Control-Allow-Headers", "Content-Type"),
]


@dataclass(frozen=True)
class Response:
    """An answer, before it is put on the wire."""

    status: int
    body: bytes = b""
    content_type: str = "application/json"


class Application:
    """The WSGI application of the model server; knows how many requests are in it."""

    def __init__(
        self, api: RestApi, *, cors: bool = False, metrics_path: str | None = None
    ) -> None:
        """Serve a REST API.

        Args:
            api: what answers under `/v1/`.
            cors: whether pages of every origin may call it.
            metrics_path: where Prometheus finds the metrics; None is nowhere.
        """
        self._api = api
        self._cors = cors
        self._metrics_path = metrics_path
        self._in_flight = 0
        self._idle = threading.Condition()
        self._draining = False

    def __call__(self, environ: Environ, start_response: StartResponse) -> Iterable[bytes]:
        """Answer one request (PEP 3333)."""
        with self._counted():
            target = _target(environ)
            response = self._respond(environ, target)
        headers = [
            ("Content-Type", response.content_type),
            ("Content-Length", str(len(response.body))),
        ]
        if self._cors and paths.is_api(target):
            headers += _CORS_HEADERS
        start_response(f"{response.status} {reason(response.status)}", headers)
        return [response.body]

    def drain(self, timeout_seconds: float) -> bool:
        """Refuse new requests, wait for those in flight; say whether all ended in time."""
        with self._idle:
            self._draining = True
            return self._idle.wait_for(lambda: not self._in_flight, timeout_seconds)

    @contextmanager
    def _counted(self) -> Iterator[None]:
        with self._idle:
            self._in_flight += 1
        try:
            yield
        finally:
            with self._idle:
                self._in_flight -= 1
                if not self._in_flight:
                    self._idle.notify_all()

    def _respond(self, environ: Environ, target: str) -> Response:
        method = environ["REQUEST_METHOD"]
        if method not in _METHODS:
            return _page(501)
        if not paths.is_valid_uri(target):
            return _page(400)
        if self._metrics_path and target.partition("?")[0] == self._metrics_path:
            return self._metrics_response(target)
        if not paths.is_api(target):
            return _page(404)
        if method == "OPTIONS":
            return _preflight(environ.get("HTTP_ORIGIN", ""))
        return self._api_response(environ, method, target)

    def _metrics_response(self, target: str) -> Response:
        if target != self._metrics_path:
            message = f"Unexpected path: {target}. Should be {self._metrics_path}"
            return Response(400, message.encode(), "text/plain")
        return Response(200, self._api.metrics.text(), "text/plain")

    def _api_response(self, environ: Environ, method: str, target: str) -> Response:
        try:
            if self._draining:
                raise Unavailable("The server is shutting down.")
            asked = paths.parse(method, target)
            return Response(200, self._api.answer(asked, lambda: _body(environ)))
        except paths.VersionOutOfRange:
            return Response(400)
        except ServingError as error:
            body = b"" if method == "HEAD" else error_response(error.message)
            return Response(HTTP_STATUS[error.code], body)
        except Exception:
            logger.exception("%s %s", method, target)
            return Response(HTTP_STATUS[Code.INTERNAL], error_response("Internal error."))


def _target(environ: Environ) -> str:
    uri: str = environ["REQUEST_URI"]
    authority = _AUTHORITY.match(uri)
    return uri[authority.end() :] or "/" if authority else uri


def _body(environ: Environ) -> bytes:
    body: bytes = environ["wsgi.input"].read()
    return _unzipped(body) if "gzip" in environ.get("HTTP_CONTENT_ENCODING", "") else body


def _unzipped(body: bytes) -> bytes:
    """Unzip a body; one that is no gzip, or grows beyond 100 MB, counts as empty."""
    unzipper = zlib.decompressobj(wbits=31)
    try:
        unzipped = unzipper.decompress(body, _UNZIPPED_MAX_BYTES)
    except zlib.error:
        return b""
    return unzipped if unzipper.eof else b""


def _preflight(origin: str) -> Response:
    welcome = "http://" in origin or "https://" in origin
    return Response(200 if welcome else 400, content_type="text/html; charset=ISO-8859-1")


def _page(status: int) -> Response:
    return Response(status, error_page(status), CONTENT_TYPE)
