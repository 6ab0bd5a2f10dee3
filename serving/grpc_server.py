"""Put the gRPC services on a port, and take them off again in order."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from typing import TYPE_CHECKING

import grpc
from grpc_health.v1 import health, health_pb2, health_pb2_grpc
from tensorflow_serving.apis import model_service_pb2_grpc, prediction_service_pb2_grpc

from serving.errors import Unavailable

if TYPE_CHECKING:
    from serving.grpc_api import ModelService, PredictionService

_LARGEST_MESSAGE_BYTES = 2**31 - 1


class GrpcServer:
    """The gRPC API on its port."""

    def __init__(
        self,
        prediction: PredictionService,
        model: ModelService,
        address: str,
        threads: int,
        *,
        serves_health: bool,
    ) -> None:
        """Bind the port; nothing is answered before `start`.

        Args:
            prediction: what answers about predictions.
            model: what answers about models.
            address: where to listen.
            threads: how many calls it answers at once; the others wait.
            serves_health: whether it answers the standard health service, too.

        Raises:
            Unavailable: the port cannot be had.
        """
        limits = ("grpc.max_send_message_length", "grpc.max_receive_message_length")
        self._server = grpc.server(
            ThreadPoolExecutor(threads, "grpc"),
            options=[
                *((limit, _LARGEST_MESSAGE_BYTES) for limit in limits),
                ("grpc.so_reuseport", 0),  # gRPC would share a port that another server has
            ],
        )
        prediction_service_pb2_grpc.add_PredictionServiceServicer_to_server(
            prediction, self._server
        )
        model_service_pb2_grpc.add_ModelServiceServicer_to_server(model, self._server)
        self._health = health.HealthServicer()
        if serves_health:
            health_pb2_grpc.add_HealthServicer_to_server(self._health, self._server)
        try:
            self._server.add_insecure_port(address)
        except RuntimeError:
            raise Unavailable(
                f"Could not listen on {address}; stop what uses the port, or choose another "
                "with --port (0 is no gRPC)"
            ) from None

    def start(self) -> None:
        """Answer calls from now on."""
        self._server.start()
        for service in ("", "tensorflow.serving.PredictionService"):
            self._health.set(service, health_pb2.HealthCheckResponse.SERVING)

    def drain(self, timeout_seconds: float) -> None:
        """Refuse new calls, wait for those that run."""
        self._health.enter_graceful_shutdown()
        self._server.stop(timeout_seconds).wait()
