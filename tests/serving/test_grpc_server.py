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
from tests.processes import free_port

if TYPE_CHECKING:
    from collections.abc import Iterator

pytestmark = pytest.mark.tensorflow


@contextmanager
def listening(host: str, port: int, *, serves_health: bool = False) -> Iterator[grpc.Channel]:
    """A gRPC server without models, and a channel to it."""
    from serving.grpc_api import ModelService, PredictionService  # noqa: PLC0415  # takes seconds
    from serving.grpc_server import GrpcServer  # noqa: PLC0415

    prediction = PredictionService(None, Metrics(), check_method_names=False)  # type: ignore[arg-type]
    address = host_and_port(host, port)
    model = ModelService(None)  # type: ignore[arg-type]
    server = GrpcServer(prediction, model, address, 1, serves_health=serves_health)
    server.start()
    with grpc.insecure_channel(address) as channel:
        yield channel
    server.drain(5)


@pytest.mark.parametrize("host", ["127.0.0.1", "localhost", "::1"])
def test_where_it_listens(host: str) -> None:
    """An address of either family, or a name, is enough."""
    if host == "::1" and not socket.has_dualstack_ipv6():
        pytest.skip("this machine has no IPv6")
    with listening(host, free_port()) as channel:
        grpc.channel_ready_future(channel).result(timeout=10)


def test_a_port_in_use_is_named() -> None:
    """A second server does not share the port of the first, but is told what to do."""
    port = free_port()
    with (
        listening("127.0.0.1", port),
        pytest.raises(Unavailable, match=f"127.0.0.1:{port}; .*--port"),
        listening("127.0.0.1", port),
    ):
        pass


def health(channel: grpc.Channel) -> grpc.StatusCode:
    """How a health check ends."""
    from grpc_health.v1 import health_pb2, health_pb2_grpc  # noqa: PLC0415  # takes seconds

    check = health_pb2_grpc.HealthStub(channel).Check
    return check.with_call(health_pb2.HealthCheckRequest(), timeout=30)[1].code()


def test_health_is_served_where_asked_for() -> None:
    """As with the real server, the health service is there with its flag only."""
    with listening("127.0.0.1", free_port(), serves_health=True) as channel:
        assert health(channel) is grpc.StatusCode.OK
    with (
        listening("127.0.0.1", free_port()) as channel,
        pytest.raises(grpc.RpcError, match="UNIMPLEMENTED"),
    ):
        health(channel)
