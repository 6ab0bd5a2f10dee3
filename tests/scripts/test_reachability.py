from __future__ import annotations

import socket
import time

import pytest

from scripts import reachability
from tests.processes import free_port


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
