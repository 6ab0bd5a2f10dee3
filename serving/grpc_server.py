"""Put the gRPC services on a port or a socket, and take them off again in order."""

from __future__ import annotations

import re
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from typing import TYPE_CHECKING

import grpc
from grpc_health.v1 import health, health_pb2, health_pb2_grpc
from tensorflow_serving.apis import model_service_pb2_grpc, prediction_service_pb2_grpc

from serving.errors import Unavailable

if TYPE_CHECKING:
    from collections.abc import Sequence

    from serving.grpc_api import ModelService, PredictionService

_LARGEST_MESSAGE_BYTES = 2**31 - 1
# The real server's two, and the name by which gRPC's own tools ask.
_HEALTHY_SERVICES = (
    "",
    "ModelService",
    "PredictionService",
    "tensorflow.serving.PredictionService",
)
_INTEGER = re.compile(r"-?[0-9]+")


@dataclass(frozen=True)
class GrpcOptions:
    """How the gRPC API is served.

    Attributes:
        threads: how many calls are answered at once; the others wait.
        serves_health: whether the standard health service is there, too.
        channel_arguments: gRPC's own settings, `name=value,name=value`.
    """

    threads: int
    serves_health: bool = False
    channel_arguments: str = ""


class GrpcServer:
    """The gRPC API on its port."""

    def __init__(
        self,
        prediction: PredictionService,
        model: ModelService,
        addresses: Sequence[str],
        options: GrpcOptions,
    ) -> None:
        """Bind the ports; nothing is answered before `start`.

        Args:
            prediction: what answers about predictions.
            model: what answers about models.
            addresses: where to listen: a host and a port, or `unix:` and a path.
            options: how.

        Raises:
            Unavailable: one of the addresses cannot be had.
        """
        limits = ("grpc.max_send_message_length", "grpc.max_receive_message_length")
        self._server = grpc.server(
            ThreadPoolExecutor(options.threads, "grpc"),
            options=[
                *((limit, _LARGEST_MESSAGE_BYTES) for limit in limits),
                ("grpc.so_reuseport", 0),  # gRPC would share a port that another server has
                *_settings(options.channel_arguments),
            ],
        )
        prediction_service_pb2_grpc.add_PredictionServiceServicer_to_server(
            prediction, self._server
        )
        model_service_pb2_grpc.add_ModelServiceServicer_to_server(model, self._server)
        self._health = health.HealthServicer()
        if options.serves_health:
            health_pb2_grpc.add_HealthServicer_to_server(self._health, self._server)
        for address in addresses:
            self._listen(address)

    def _listen(self, address: str) -> None:
        try:
            self._server.add_insecure_port(address)
        except RuntimeError:
            raise Unavailable(
                f"Could not listen on {address}; stop what uses it, or choose another with "
                "--port (0 is no gRPC) or --grpc_socket_path"
            ) from None

    def start(self) -> None:
        """Answer calls from now on."""
        self._server.start()
        for service in _HEALTHY_SERVICES:
            self._health.set(service, health_pb2.HealthCheckResponse.SERVING)

    def drain(self, timeout_seconds: float) -> None:
        """Refuse new calls, wait for those that run."""
        self._health.enter_graceful_shutdown()
        self._server.stop(timeout_seconds).wait()


def _settings(text: str) -> list[tuple[str, int | str]]:
    pairs = [item.partition("=") for item in text.split(",") if item]
    return [(name, int(value) if _INTEGER.fullmatch(value) else value) for name, _, value in pairs]
