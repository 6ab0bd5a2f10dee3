"""Put the WSGI application on a port with waitress, and take it off again in order."""

from __future__ import annotations

import threading
import time
from functools import partial
from typing import TYPE_CHECKING, Any

import waitress
from waitress import wasyncore
from waitress.channel import HTTPChannel
from waitress.server import BaseWSGIServer

from serving.errors import Unavailable

if TYPE_CHECKING:
    from serving.wsgi import Application

_LARGEST_BODY_BYTES = 2**34
_RECEIVE_BYTES = 2**18
_KEPT_IN_MEMORY_BYTES = 2**25
_CONNECTIONS = 1000
_IDLE_SECONDS = 600
_GLANCE_SECONDS = 0.01


class HttpServer:
    """The REST API on its port, answered by threads of its own."""

    def __init__(self, application: Application, host: str, port: int, threads: int) -> None:
        """Bind the port; nothing is answered before `start`.

        Raises:
            Unavailable: the port cannot be had.
        """
        self._application = application
        self._sockets: dict[int, Any] = {}
        try:
            self._server: Any = waitress.create_server(
                application,
                map=self._sockets,
                listen=f"{host}:{port}",
                threads=threads,
                ident=None,
                recv_bytes=_RECEIVE_BYTES,
                inbuf_overflow=_KEPT_IN_MEMORY_BYTES,
                outbuf_overflow=_KEPT_IN_MEMORY_BYTES,
                max_request_body_size=_LARGEST_BODY_BYTES,
                connection_limit=_CONNECTIONS,
                channel_timeout=_IDLE_SECONDS,
                asyncore_use_poll=True,
                clear_untrusted_proxy_headers=False,
            )
        except OSError as error:
            wasyncore.close_all(self._sockets)
            raise Unavailable(
                f"Could not listen on {host}:{port} ({error.strerror}); "
                "stop what uses the port, or choose another with --rest_api_port"
            ) from None
        self._thread = threading.Thread(target=self._server.run, name="http", daemon=True)

    def start(self) -> None:
        """Answer requests from now on."""
        self._thread.start()

    def drain(self, timeout_seconds: float) -> bool:
        """Accept nothing new, finish what runs, write it out; say whether that was in time."""
        deadline = time.monotonic() + timeout_seconds
        for listener in self._of_type(BaseWSGIServer):
            close = partial(wasyncore.dispatcher.close, listener)
            listener.trigger.pull_trigger(close)  # in the thread that owns the sockets
        finished = self._application.drain(timeout_seconds)
        while self._is_writing() and time.monotonic() < deadline:
            time.sleep(_GLANCE_SECONDS)
        return finished and not self._is_writing()

    def _is_writing(self) -> bool:
        channels = self._of_type(HTTPChannel)
        return any(channel.total_outbufs_len or channel.requests for channel in channels)

    def _of_type(self, kind: type) -> list[Any]:
        return [item for item in list(self._sockets.values()) if isinstance(item, kind)]
