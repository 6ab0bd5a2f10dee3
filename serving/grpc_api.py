"""The gRPC API: PredictionService and ModelService, over the same models as REST.

The services are the published ones of `tensorflow-serving-api`; what each call means is told in
TensorFlow Serving's `prediction_service.proto` and `model_service.proto`.
"""

from __future__ import annotations

import logging
import math
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any, NoReturn, Protocol

import grpc
from google.protobuf import json_format
from tensorflow_serving.apis import (
    classification_pb2,
    get_model_metadata_pb2,
    get_model_status_pb2,
    inference_pb2,
    model_management_pb2,
    predict_pb2,
    regression_pb2,
)

from serving.config_file import models_in
from serving.errors import Code, InvalidArgument, ServingError, Unavailable
from serving.messages import (
    fill_outputs,
    run_classify,
    run_multi_inference,
    run_predict,
    run_regress,
)
from serving.paths import Target
from serving.servable import DEFAULT_SIGNATURE

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from tensorflow_serving.apis.model_pb2 import ModelSpec

    from serving.lifecycle import InUse
    from serving.manager import Manager
    from serving.monitoring import Metrics
    from serving.servable import Servable

logger = logging.getLogger(__name__)


class _ForAModel(Protocol):
    """A request about one model."""

    model_spec: ModelSpec

    def HasField(self, field_name: str) -> bool: ...  # noqa: N802  # protobuf's


_STATUS_CODES = {status.value[0]: status for status in grpc.StatusCode}
_RELOAD_TIMEOUT_SECONDS = 600.0
_MESSAGE_MOST = 1024
_LONGEST_SECONDS = 2**31


class PredictionService:
    """Predict, Classify, Regress, MultiInference and GetModelMetadata."""

    def __init__(
        self,
        manager: Manager,
        metrics: Metrics,
        *,
        rest_timeout_seconds: float | None = None,
        check_method_names: bool = False,
        as_content: bool = False,
    ) -> None:
        """Serve the models of `manager`; the rest as in `RestApi` and `fill_outputs`."""
        self._rest_timeout_seconds = rest_timeout_seconds
        self._manager = manager
        self._metrics = metrics
        self._check_method_names = check_method_names
        self._as_content = as_content

    def Predict(  # noqa: N802  # the name in the protocol
        self, request: predict_pb2.PredictRequest, context: grpc.ServicerContext
    ) -> predict_pb2.PredictResponse:
        """Run any signature on tensors."""
        response = predict_pb2.PredictResponse()
        with self._serving(request, "Predict", context) as (used, servable):
            outputs = run_predict(
                servable,
                request,
                self._run_seconds(context),
                check_method_name=self._check_method_names,
            )
            fill_outputs(response, outputs, as_content=self._as_content)
            _fill_spec(response.model_spec, request.model_spec, used)
        return response

    def Classify(  # noqa: N802  # the name in the protocol
        self, request: classification_pb2.ClassificationRequest, context: grpc.ServicerContext
    ) -> classification_pb2.ClassificationResponse:
        """Run a classification on examples."""
        response = classification_pb2.ClassificationResponse()
        self._on_examples("Classify", run_classify, request, response, context)
        return response

    def Regress(  # noqa: N802  # the name in the protocol
        self, request: regression_pb2.RegressionRequest, context: grpc.ServicerContext
    ) -> regression_pb2.RegressionResponse:
        """Run a regression on examples."""
        response = regression_pb2.RegressionResponse()
        self._on_examples("Regress", run_regress, request, response, context)
        return response

    def MultiInference(  # noqa: N802  # the name in the protocol
        self, request: inference_pb2.MultiInferenceRequest, context: grpc.ServicerContext
    ) -> inference_pb2.MultiInferenceResponse:
        """Run several classifications and regressions of one model on the same examples."""
        first = request.tasks[0] if request.tasks else inference_pb2.InferenceTask()
        with _answering(context), self._manager.use(_target(first.model_spec)) as used:
            results = run_multi_inference(
                used.servable,
                request,
                self._run_seconds(context),
                check_method_name=self._check_method_names,
            )
            for task, result in zip(request.tasks, results, strict=True):
                _fill_spec(result.model_spec, task.model_spec, used)
        return inference_pb2.MultiInferenceResponse(results=results)

    def GetModelMetadata(  # noqa: N802  # the name in the protocol
        self, request: get_model_metadata_pb2.GetModelMetadataRequest, context: grpc.ServicerContext
    ) -> get_model_metadata_pb2.GetModelMetadataResponse:
        """The signatures of a version."""
        response = get_model_metadata_pb2.GetModelMetadataResponse()
        with _answering(context):
            _check_has_spec(request)
            _check_metadata_fields(request)
            with self._manager.use(_target(request.model_spec)) as used:
                signatures = get_model_metadata_pb2.SignatureDefMap()
                json_format.ParseDict({"signature_def": used.servable.metadata()}, signatures)
                response.model_spec.name = request.model_spec.name
                response.model_spec.version.value = used.version
        response.metadata["signature_def"].Pack(signatures)
        return response

    @contextmanager
    def _serving(
        self, request: _ForAModel, api: str, context: grpc.ServicerContext
    ) -> Iterator[tuple[InUse, Servable]]:
        """Hold a version, and what runs it and is seen by the metrics."""
        spec = request.model_spec
        with _answering(context), self._metrics.measuring(spec.name, api, "GRPC") as seen:
            _check_has_spec(request)
            with self._manager.use(_target(spec)) as used:
                yield used, seen.using(used)

    def _run_seconds(self, context: grpc.ServicerContext) -> float | None:
        return run_seconds(context.time_remaining(), self._rest_timeout_seconds)

    def _on_examples(
        self,
        api: str,
        run: Callable[..., Any],
        request: classification_pb2.ClassificationRequest | regression_pb2.RegressionRequest,
        response: classification_pb2.ClassificationResponse | regression_pb2.RegressionResponse,
        context: grpc.ServicerContext,
    ) -> None:
        with self._serving(request, api, context) as (used, servable):
            result = run(
                servable,
                request.model_spec.signature_name,
                request.input,
                self._run_seconds(context),
                check_method_name=self._check_method_names,
            )
            response.result.CopyFrom(result)
            _fill_spec(response.model_spec, request.model_spec, used)


class ModelService:
    """GetModelStatus and HandleReloadConfigRequest."""

    def __init__(self, manager: Manager) -> None:
        """Tell of, and reconfigure, `manager`."""
        self._manager = manager

    def GetModelStatus(  # noqa: N802  # the name in the protocol
        self, request: get_model_status_pb2.GetModelStatusRequest, context: grpc.ServicerContext
    ) -> get_model_status_pb2.GetModelStatusResponse:
        """The states of a model's versions."""
        response = get_model_status_pb2.GetModelStatusResponse()
        with _answering(context):
            _check_has_spec(request)
            spec = request.model_spec
            for version in self._manager.statuses(spec.name, _version(spec)):
                status = response.model_version_status.add(
                    version=version.version, state=int(version.state)
                )
                status.status.error_code = int(version.code)
                status.status.error_message = version.message
        return response

    def HandleReloadConfigRequest(  # noqa: N802  # the name in the protocol
        self, request: model_management_pb2.ReloadConfigRequest, context: grpc.ServicerContext
    ) -> model_management_pb2.ReloadConfigResponse:
        """Serve other models from now on; answered when each of the new ones is available."""
        with _answering(context):
            if request.config.WhichOneof("config") != "model_config_list":
                raise InvalidArgument(
                    "ServerModelConfig type not supported by HandleReloadConfigRequest."
                    " Only ModelConfigList is currently supported"
                )
            new = self._manager.configure(models_in(request.config))
            if not self._manager.wait_until_available(_RELOAD_TIMEOUT_SECONDS, new):
                raise Unavailable("Some models are not available yet.")
        response = model_management_pb2.ReloadConfigResponse()
        response.status.SetInParent()
        return response


@contextmanager
def _answering(context: grpc.ServicerContext) -> Iterator[None]:
    try:
        yield
    except ServingError as error:
        _abort(context, error.code, error.message)
    except Exception:
        logger.exception("a gRPC call")
        _abort(context, Code.INTERNAL, "Internal error.")


def _abort(context: grpc.ServicerContext, code: Code, message: str) -> NoReturn:
    """Fail a call; of a message longer than gRPC's headers can be, the client gets the beginning."""
    cut = message[:_MESSAGE_MOST] + "...TRUNCATED" if len(message) > _MESSAGE_MOST else message
    context.abort(_STATUS_CODES[code], cut)
    raise AssertionError("abort raises")


def _target(spec: ModelSpec) -> Target:
    if not spec.name:
        raise InvalidArgument("ModelSpec has no name specified.")
    return Target(spec.name, _version(spec), spec.version_label or None)


def _version(spec: ModelSpec) -> int | None:
    return spec.version.value if spec.HasField("version") else None


def _fill_spec(answered: ModelSpec, asked: ModelSpec, used: InUse) -> None:
    answered.name = asked.name
    answered.version.value = used.version
    answered.signature_name = asked.signature_name or DEFAULT_SIGNATURE


def run_seconds(remaining_seconds: float | None, rest_seconds: float | None) -> float | None:
    """How long a run may take for a caller who waits that long; None is for ever.

    A call is compiled for each timeout, which takes a large model half a second. So whoever waits no longer than a
    run may take over REST gets the call that REST uses, and that was warmed up; he himself ends what lasts longer.
    Other deadlines are rounded up to a power of two.
    """
    if remaining_seconds is None or remaining_seconds > _LONGEST_SECONDS:
        return None
    if rest_seconds is None or remaining_seconds <= rest_seconds:
        return rest_seconds
    return float(2 ** math.ceil(math.log2(remaining_seconds)))


def _check_has_spec(request: _ForAModel) -> None:
    if not request.HasField("model_spec"):
        raise InvalidArgument("Missing ModelSpec")


def _check_metadata_fields(request: get_model_metadata_pb2.GetModelMetadataRequest) -> None:
    if not request.metadata_field:
        raise InvalidArgument("GetModelMetadataRequest must specify at least one metadata_field")
    for name in request.metadata_field:
        if name != "signature_def":
            raise InvalidArgument(f"Metadata field {name} is not supported")
