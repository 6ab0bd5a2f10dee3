"""Let a download fail at once, with its reason, when there is no network."""

from __future__ import annotations

import contextlib
import socket
import threading
import urllib.request
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterator

PROBE_TIMEOUT_SECONDS = 5.0


class NotReachableError(Exception):
    """The host of a download does not answer."""


class _ProbeFirst(urllib.request.BaseHandler):
    """Looks whether the host answers before urllib waits for it, which it does without a limit."""

    def https_request(self, request: urllib.request.Request) -> urllib.request.Request:
        # A proxy resolves and connects by itself.
        if "https" not in urllib.request.getproxies():
            check_reachable(request.host)
        return request


@contextlib.contextmanager
def fail_fast_downloads() -> Iterator[None]:
    """Within the block, urllib (which Keras downloads with) probes a host before it uses it.

    Raises:
        NotReachableError: From the download, when its host does not answer within a few seconds.
    """
    urllib.request.install_opener(urllib.request.build_opener(_ProbeFirst))
    try:
        yield
    except Exception as error:
        # Keras wraps some failures of urllib in a bare Exception with this text.
        if not isinstance(error, NotReachableError) and "URL fetch failure" not in str(error):
            raise
        raise NotReachableError(str(error)) from None
    finally:
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
