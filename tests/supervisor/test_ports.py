"""Which ports are free, and how one is kept for a server that is not there at the moment."""

from __future__ import annotations

import socket

import pytest

from supervisor import ports
from tests.processes import free_port


def test_a_reserved_port_is_passed_over() -> None:
    """Another supervisor does not take a port that is reserved, and may once it is given back."""
    port = ports.free_port(())
    with ports.reserve("127.0.0.1", port):
        assert ports.free_port((), first=port) > port
    assert ports.free_port((), first=port) == port


def test_a_server_may_listen_on_its_reserved_port() -> None:
    """A reservation lets a program listen there that binds as servers do, again and again."""
    port = free_port()
    with ports.reserve("127.0.0.1", port):
        for address in ("127.0.0.1", "0.0.0.0"):
            with socket.create_server((address, port)):
                assert ports.in_use("127.0.0.1", port)


def test_an_address_of_ipv6_is_reserved_likewise() -> None:
    """What an upstream names as [::1] is kept for a server on ::1."""
    try:
        with socket.create_server(("::1", 0), family=socket.AF_INET6) as free:
            port = free.getsockname()[1]
    except OSError:
        pytest.skip("this machine has no ::1")
    with (
        ports.reserve("::1", port) as holding,
        socket.create_server(("::1", port), family=socket.AF_INET6),
    ):
        assert holding.getsockname()[:2] == ("::1", port)
        assert ports.in_use("::1", port)


def test_taken_ports_are_passed_over() -> None:
    """A port that the plan has given away already is not given again."""
    port = ports.free_port(())
    assert ports.free_port({port}) > port
