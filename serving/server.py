"""Put the model server together, run it, and stop it in order."""

from __future__ import annotations

import logging
import os
import queue
import signal
import time
from typing import TYPE_CHECKING

from serving.batcher import Batcher
from serving.batching import BatchingServable
from serving.config_file import (
    batching_parameters,
    batching_parameters_in,
    metrics_path,
    parse_text_file,
    served_models,
)
from serving.errors import InvalidArgument, ServingError
from serving.http_server import HttpServer, host_and_port
from serving.lifecycle import LoadOptions
from serving.manager import Manager
from serving.monitoring import Metrics
from serving.rest_api import RestApi
from serving.saved_model import SessionOptions, load_saved_model
from serving.saved_model_loader import check_is_saved_model
from serving.warmup import warm_up
from serving.wsgi import Application

if TYPE_CHECKING:
    from pathlib import Path
    from types import FrameType

    from serving.flags import Flags
    from serving.grpc_server import GrpcServer
    from serving.servable import Servable

logger = logging.getLogger(__name__)

_GLANCE_SECONDS = 0.2


class Server:
    """A running model server."""

    def __init__(self, flags: Flags) -> None:
        """Read what the flags name; nothing is loaded yet.

        Raises:
            ServingError: the flags, or a file they name, are wrong.
        """
        _check(flags)
        self._flags = flags
        self._models = served_models(flags)
        # As the real server has it: what is not above zero is no limit.
        self._timeout_seconds = (
            flags.rest_api_timeout_in_ms / 1000 if flags.rest_api_timeout_in_ms > 0 else None
        )
        self._session_options = _session_options(flags)
        self._metrics = Metrics()
        self._metrics_path = metrics_path(flags)
        parameters = batching_parameters(flags)
        self._batcher = Batcher(parameters, self._metrics) if parameters else None
        self._manager = Manager(self._load, _load_options(flags))
        self._stop: queue.SimpleQueue[str] = queue.SimpleQueue()
        self._file_poll = _Every(flags.file_system_poll_wait_seconds)
        self._config_poll = _Every(flags.model_config_file_poll_wait_seconds)

    def run(self) -> None:
        """Load, serve until told to stop, then finish what runs.

        Raises:
            ServingError: it could not start.
        """
        self._listen_to_signals()
        self._manager.configure(self._models)
        while not self._manager.wait_until_available(_GLANCE_SECONDS):
            if self._is_told_to_stop(0):
                return
        grpc = self._open_grpc_api()
        http = self._open_rest_api()  # last: who waits for it to answer may then use both
        while not self._is_told_to_stop(_GLANCE_SECONDS):
            pass
        self._drain(http, grpc)
        self._manager.close()
        if self._batcher is not None:
            self._batcher.close()

    def _drain(self, http: HttpServer | None, grpc: GrpcServer | None) -> None:
        deadline = time.monotonic() + self._flags.drain_timeout_seconds
        if http is not None and not http.drain(self._flags.drain_timeout_seconds):
            logger.warning("some requests did not finish in time")
        if grpc is not None:
            grpc.drain(max(0.0, deadline - time.monotonic()))

    def _load(self, model: str, version: int, path: Path) -> Servable:
        logger.info("loading model %s version %d from %s", model, version, path)
        check_is_saved_model(path)
        with self._metrics.measuring_load(str(path)):
            servable: Servable = load_saved_model(path, self._session_options)
        servable = self._batched(servable, path)
        if self._flags.enable_model_warmup:
            self._warm_up(servable, path)
        return servable

    def _warm_up(self, servable: Servable, path: Path) -> None:
        start = time.perf_counter()
        iterations = self._flags.num_request_iterations_for_warmup
        if warm_up(servable, path, iterations, self._timeout_seconds):
            self._metrics.warmed_up(str(path), time.perf_counter() - start)

    def _batched(self, servable: Servable, path: Path) -> Servable:
        """Batch as the flags say, or, where they say so, as the version itself says or not at all."""
        if self._batcher is None:
            return servable
        if not self._flags.enable_per_model_batching_parameters:
            return BatchingServable(servable, self._batcher)
        own = path / "batching_params.pbtxt"
        if not own.is_file():
            return servable
        return BatchingServable(servable, self._batcher, batching_parameters_in(str(own)))

    def _open_rest_api(self) -> HttpServer | None:
        flags = self._flags
        if not flags.rest_api_port:
            return None
        api = RestApi(
            self._manager,
            self._timeout_seconds,
            self._metrics,
            flags.enable_signature_method_name_check,
        )
        application = Application(
            api, cors=flags.rest_api_enable_cors_support, metrics_path=self._metrics_path
        )
        http = HttpServer(
            application, flags.rest_api_host, flags.rest_api_port, flags.rest_api_num_threads
        )
        http.start()
        address = host_and_port(flags.rest_api_host, flags.rest_api_port)
        logger.info("the REST API answers on %s", address)
        return http

    def _open_grpc_api(self) -> GrpcServer | None:
        flags = self._flags
        addresses = _grpc_addresses(flags)
        if not addresses:
            return None
        # gRPC is large, and most installations have it switched off.
        from serving.grpc_api import ModelService, PredictionService  # noqa: PLC0415
        from serving.grpc_server import GrpcOptions, GrpcServer  # noqa: PLC0415

        prediction = PredictionService(
            self._manager,
            self._metrics,
            rest_timeout_seconds=self._timeout_seconds,
            check_method_names=flags.enable_signature_method_name_check,
            as_content=flags.enable_serialization_as_tensor_content,
        )
        options = GrpcOptions(
            flags.grpc_max_threads,
            flags.enable_grpc_healthcheck_service,
            flags.grpc_channel_arguments,
        )
        grpc = GrpcServer(prediction, ModelService(self._manager), addresses, options)
        grpc.start()
        logger.info("the gRPC API answers on %s", " and ".join(addresses))
        return grpc

    def _is_told_to_stop(self, wait_seconds: float) -> bool:
        """Do what is due, then wait a little for a signal."""
        if self._file_poll.is_due():
            self._manager.poll()
        if self._config_poll.is_due():
            self._reload_config()
        try:
            reason = (
                self._stop.get(timeout=wait_seconds) if wait_seconds else self._stop.get_nowait()
            )
        except queue.Empty:
            return False
        logger.info("stopping: %s", reason)
        return True

    def _reload_config(self) -> None:
        try:
            models = served_models(self._flags)
            if not self._manager.serves(models):  # the file wins over what gRPC was told meanwhile
                self._manager.configure(models)
        except ServingError as error:
            logger.error("the model config stays as it was: %s", error.message)

    def _listen_to_signals(self) -> None:
        signal.signal(signal.SIGINT, self._on_signal)
        if signal.getsignal(signal.SIGTERM) is not signal.SIG_IGN:  # as others keep it for SIGHUP
            signal.signal(signal.SIGTERM, self._on_signal)

    def _on_signal(self, number: int, _frame: FrameType | None) -> None:
        """Ask for an orderly stop. A second Ctrl-C stops at once; SIGTERM some platforms send several times."""
        if number == signal.SIGINT:
            signal.signal(signal.SIGINT, lambda again, _: os._exit(128 + again))
        self._stop.put(signal.Signals(number).name)


class _Every:
    """A chore that is due again and again; with no interval, never."""

    def __init__(self, seconds: float) -> None:
        self._seconds = seconds
        self._next = time.monotonic() + seconds

    def is_due(self) -> bool:
        if self._seconds <= 0 or time.monotonic() < self._next:
            return False
        self._next = time.monotonic() + self._seconds
        return True


def _check(flags: Flags) -> None:
    if flags.port and flags.port == flags.rest_api_port:
        raise InvalidArgument(
            f"--port and --rest_api_port are both {flags.port}; give each a port of its own."
        )
    if not flags.rest_api_port and not _grpc_addresses(flags):
        raise InvalidArgument("--port and --rest_api_port are both 0; give one of them a port.")
    if all(n > 0 for n in (flags.tensorflow_session_parallelism, *_parallelism_apart(flags))):
        raise InvalidArgument(
            "Either configure server_options.tensorflow_session_parallelism or "
            "(server_options.tensorflow_intra_op_parallelism, "
            "server_options.tensorflow_inter_op_parallelism) separately. You cannot configure all."
        )
    for name in flags.without_effect():
        logger.warning("--%s has no effect here", name)


def _grpc_addresses(flags: Flags) -> list[str]:
    host = flags.rest_api_host.replace("*", "::")
    port = [host_and_port(host, flags.port)] if flags.port else []
    return [*port, f"unix:{flags.grpc_socket_path}"] if flags.grpc_socket_path else port


def _parallelism_apart(flags: Flags) -> tuple[int, int]:
    return flags.tensorflow_intra_op_parallelism, flags.tensorflow_inter_op_parallelism


def _session_options(flags: Flags) -> SessionOptions:
    config = None
    if flags.tensorflow_session_config_file:
        from tensorflow.core.protobuf import config_pb2  # noqa: PLC0415  # only who needs it waits

        config = parse_text_file(flags.tensorflow_session_config_file, config_pb2.ConfigProto())
    both, apart = flags.tensorflow_session_parallelism, _parallelism_apart(flags)
    intra, inter = apart if any(n > 0 for n in apart) else (both, both)
    return SessionOptions(tuple(flags.saved_model_tags.split(",")), intra, inter, config)


def _load_options(flags: Flags) -> LoadOptions:
    return LoadOptions(
        max_num_load_retries=flags.max_num_load_retries,
        load_retry_interval_seconds=flags.load_retry_interval_micros / 1e6,
        num_load_threads=flags.num_load_threads,
        num_unload_threads=flags.num_unload_threads,
        allow_labels_for_unavailable=flags.allow_version_labels_for_unavailable_models,
    )
