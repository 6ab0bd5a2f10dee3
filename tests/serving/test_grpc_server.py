"""The gRPC services on their port."""

from __future__ import annotations

import socket
from contextlib import contextmanager
from typing import TYPE_CHECKING

import grpc
import pytest

from serving.errors import Unavailable
from serving.http_server import host_and_port
from serving.monitoring import Metrics
from tests.processes import free_port, wait_until

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

pytestmark = pytest.mark.tensorflow


@contextmanager
def listening(
    address: str, *, serves_health: bool = False, channel_arguments: str = ""
) -> Iterator[grpc.Channel]:
    """A gRPC server without models, and a channel to it."""
    from serving.grpc_api import ModelService, PredictionService  # noqa: PLC0415  # takes seconds
    from serving.grpc_server import GrpcOptions, GrpcServer  # noqa: PLC0415

    prediction = PredictionService(None, Metrics())  # type: ignore[arg-type]
    model = ModelService(None)  # type: ignore[arg-type]
    server = GrpcServer(
        prediction, model, [address], GrpcOptions(1, serves_health, channel_arguments)
    )
    server.start()
    with grpc.insecure_channel(address) as channel:
        yield channel
    server.drain(5)


@pytest.mark.parametrize("host", ["127.0.0.1", "localhost", "::1"])
def test_where_it_listens(host: str) -> None:
    """An address of either family, or a name, is enough."""
    if host == "::1" and not socket.has_dualstack_ipv6():
        pytest.skip("this machine has no IPv6")
    with listening(host_and_port(host, free_port())) as channel:
        grpc.channel_ready_future(channel).result(timeout=10)


def test_a_port_in_use_is_named() -> None:
    """A second server does not share the port of the first, but is told what to do."""
    port = free_port()
    with (
        listening(f"127.0.0.1:{port}"),
        pytest.raises(Unavailable, match=f"127.0.0.1:{port}; .*--port"),
        listening(f"127.0.0.1:{port}"),
    ):
        pass


def test_a_socket_of_this_machine(tmp_path: Path) -> None:
    """It can be reached over a path alone, and takes gRPC's own settings."""
    settings = "grpc.max_connection_age_ms=100,grpc.primary_user_agent=x"
    with listening(f"unix:{tmp_path / 'grpc'}", channel_arguments=settings) as channel:
        states: list[grpc.ChannelConnectivity] = []
        channel.subscribe(states.append)
        grpc.channel_ready_future(channel).result(timeout=10)
        aged = grpc.ChannelConnectivity.IDLE
        wait_until(lambda: states.count(aged) > 1, seconds=10, what="the connection is too old")


def health(channel: grpc.Channel) -> grpc.StatusCode:
    """How a health check ends."""
    from grpc_health.v1 import health_pb2, health_pb2_grpc  # noqa: PLC0415  # takes seconds

    check = health_pb2_grpc.HealthStub(channel).Check
    return check.with_call(health_pb2.HealthCheckRequest(), timeout=30)[1].code()


def test_health_is_served_where_asked_for() -> None:
    """As with the real server, the health service is there with its flag only."""
    with listening(f"127.0.0.1:{free_port()}", serves_health=True) as channel:
        assert health(channel) is grpc.StatusCode.OK
    with (
        listening(f"127.0.0.1:{free_port()}") as channel,
        pytest.raises(grpc.RpcError, match="UNIMPLEMENTED"),
    ):
        health(channel)
