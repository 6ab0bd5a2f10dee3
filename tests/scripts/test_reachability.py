from __future__ import annotations

import contextlib
import socket
import struct
import threading
import time
import urllib.request
from typing import TYPE_CHECKING

import pytest

from scripts import reachability
from tests.processes import free_port

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

AT_ONCE = struct.pack("ii", 1, 0)
"""SO_LINGER: closing resets the connection."""


def test_a_host_that_listens_is_reachable() -> None:
    """One connection is all that is asked."""
    with socket.create_server(("127.0.0.1", 0)) as server:
        reachability.check_reachable("127.0.0.1", server.getsockname()[1])


def test_a_host_that_refuses_is_told_at_once() -> None:
    """The reason is the system's."""
    with pytest.raises(reachability.NotReachableError, match="refused"):
        reachability.check_reachable("127.0.0.1", free_port())


def test_a_name_that_never_resolves_costs_the_time_limit_only(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """Name resolution has no limit of its own; the probe gives it one."""
    monkeypatch.setattr(reachability, "PROBE_TIMEOUT_SECONDS", 0.2)
    monkeypatch.setattr(socket, "getaddrinfo", lambda *_, **__: time.sleep(2) or [])
    started = time.monotonic()
    with pytest.raises(reachability.NotReachableError, match="no answer"):
        reachability.check_reachable("storage.googleapis.com")
    assert time.monotonic() - started < 1.5


@contextlib.contextmanager
def half_an_answer(*, then_reset: bool) -> Iterator[str]:
    """The URL of a file of which half is sent; then the connection is reset, or nothing more happens."""
    over = threading.Event()
    with socket.create_server(("127.0.0.1", 0)) as server:

        def answer() -> None:
            client, _ = server.accept()
            with client:
                client.recv(65536)
                client.sendall(b"HTTP/1.1 200 OK\r\nContent-Length: 10\r\n\r\nhalf")
                client.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, AT_ONCE)
                over.wait(0.1 if then_reset else 20)

        thread = threading.Thread(target=answer)
        thread.start()
        try:
            yield f"http://127.0.0.1:{server.getsockname()[1]}/weights.h5"
        finally:
            over.set()
            thread.join()


@pytest.mark.parametrize(
    ("then_reset", "reason"),
    [(True, "reset by peer"), (False, "timed out")],
    ids=["reset", "stall"],
)
def test_a_download_that_breaks_off_is_told(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, then_reset: bool, reason: str
) -> None:
    """A host that resets the connection, or falls silent, in the middle of a file is not waited for, and named as such."""
    monkeypatch.setattr(reachability, "SILENCE_SECONDS", 0.3)
    with (
        half_an_answer(then_reset=then_reset) as url,
        pytest.raises(reachability.NotReachableError, match=f"the download broke off: .*{reason}"),
        reachability.fail_fast_downloads(),
    ):
        urllib.request.urlretrieve(url, tmp_path / "weights.h5")
    assert socket.getdefaulttimeout() is None
