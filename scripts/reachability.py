"""Let a download fail soon, with its reason, when there is no network or the host falls silent."""

from __future__ import annotations

import contextlib
import http.client
import socket
import ssl
import threading
import urllib.request
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterator

PROBE_TIMEOUT_SECONDS = 5.0
SILENCE_SECONDS = 30.0
"""A download that brings nothing for so long has stalled."""
_BROKEN_OFF = (ConnectionError, TimeoutError, ssl.SSLError, http.client.HTTPException)


class NotReachableError(Exception):
    """The host of a download does not answer, or does not go on."""


class _ProbeFirst(urllib.request.BaseHandler):
    """Looks whether the host answers before urllib waits for it, which it does without a limit."""

    def https_request(self, request: urllib.request.Request) -> urllib.request.Request:
        # A proxy resolves and connects by itself.
        if "https" not in urllib.request.getproxies():
            check_reachable(request.host)
        return request


@contextlib.contextmanager
def fail_fast_downloads() -> Iterator[None]:
    """Within the block, urllib (which Keras downloads with) probes a host before it uses it, and waits no longer for ever.

    Raises:
        NotReachableError: From the download, when its host does not answer within a few seconds, or breaks off.
    """
    urllib.request.install_opener(urllib.request.build_opener(_ProbeFirst))
    limit_before = socket.getdefaulttimeout()
    socket.setdefaulttimeout(SILENCE_SECONDS)
    try:
        yield
    except _BROKEN_OFF as error:
        raise NotReachableError(
            f"the download broke off: {error or type(error).__name__}"
        ) from None
    except Exception as error:
        # Keras wraps some failures of urllib in a bare Exception with this text.
        if not isinstance(error, NotReachableError) and "URL fetch failure" not in str(error):
            raise
        raise NotReachableError(str(error)) from None
    finally:
        socket.setdefaulttimeout(limit_before)
        urllib.request.install_opener(urllib.request.build_opener())


def check_reachable(host: str, port: int = 443) -> None:
    """Connect once, within a few seconds; name resolution, which has no limit of its own, included.

    Raises:
        NotReachableError: It did not work.
    """
    failures: list[OSError] = [TimeoutError("no answer")]

    def connect() -> None:
        try:
            socket.create_connection((host, port), timeout=PROBE_TIMEOUT_SECONDS).close()
            failures.clear()
        except OSError as error:
            failures.append(error)

    probe = threading.Thread(target=connect, daemon=True)
    probe.start()
    probe.join(PROBE_TIMEOUT_SECONDS)
    if failures:
        raise NotReachableError(f"{host} cannot be reached: {failures[-1]}")
