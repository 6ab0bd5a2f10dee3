"""gRPC, asked with the published stubs alone, says what REST says."""

from __future__ import annotations

import json
import urllib.request
from typing import TYPE_CHECKING, Any

import grpc
import numpy as np
import pytest

from tests.serving.conftest import serving

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from tests.serving.conftest import ModelServer, SaveVersion

pytestmark = pytest.mark.tensorflow


@pytest.fixture(scope="module")
def server(
    tmp_path_factory: pytest.TempPathFactory, save_version: SaveVersion
) -> Iterator[ModelServer]:
    """A server with a model of tensors, in two versions, and one of examples."""
    root = tmp_path_factory.mktemp("grpc")
    save_version(root / "m", 1)
    save_version(root / "m", 3)
    _save_examples_model(root / "e" / "1")
    config = root / "models.txt"
    config.write_text(CONFIG.format(root=root))
    flags = (f"--model_config_file={config}", "--allow_version_labels_for_unavailable_models=true")
    with serving(root / "log", *flags, ready="m") as running_server:
        yield running_server


CONFIG = """model_config_list {{
  config {{
    name: "m" base_path: "{root}/m" model_platform: "tensorflow"
    model_version_policy {{ all {{}} }} version_labels {{ key: "stable" value: 1 }}
  }}
  config {{ name: "e" base_path: "{root}/e" model_platform: "tensorflow" }}
}}"""


def _save_examples_model(path: Path) -> None:
    import tensorflow as tf  # noqa: PLC0415  # takes seconds

    def parsed(inputs: tf.Tensor) -> tf.Tensor:
        return tf.io.parse_example(inputs, {"x": tf.io.FixedLenFeature([2], tf.float32)})["x"]

    spec = tf.TensorSpec([None], tf.string, "inputs")
    classify = tf.function(lambda inputs: {"scores": parsed(inputs)}, input_signature=[spec])
    regress = tf.function(
        lambda inputs: {"outputs": tf.reduce_sum(parsed(inputs), axis=1)}, input_signature=[spec]
    )
    signatures = {"classify": classify, "regress": regress}
    tf.saved_model.save(tf.Module(), str(path), signatures)


@pytest.fixture(scope="module")
def apis() -> Any:
    """The published messages and stubs."""
    import tensorflow_serving.apis as published  # noqa: PLC0415  # takes seconds
    from tensorflow_serving.apis import (  # noqa: F401, PLC0415
        classification_pb2,
        get_model_metadata_pb2,
        get_model_status_pb2,
        inference_pb2,
        model_management_pb2,
        model_service_pb2_grpc,
        predict_pb2,
        prediction_service_pb2_grpc,
        regression_pb2,
    )

    return published


@pytest.fixture(scope="module")
def channel(server: ModelServer) -> Iterator[grpc.Channel]:
    """A connection to the server."""
    with grpc.insecure_channel(f"127.0.0.1:{server.grpc_port}") as opened:
        grpc.channel_ready_future(opened).result(timeout=60)
        yield opened


@pytest.fixture(scope="module")
def stub(apis: Any, channel: grpc.Channel) -> Any:
    """The prediction service."""
    return apis.prediction_service_pb2_grpc.PredictionServiceStub(channel)


def post(server: ModelServer, path: str, body: object) -> Any:
    """What REST answers."""
    data = json.dumps(body).encode()
    with urllib.request.urlopen(f"{server.url}/{path}", data, timeout=30) as answer:
        return json.load(answer)


def predict_request(apis: Any, rows: list[list[float]]) -> Any:
    """A request for model m."""
    import tensorflow as tf  # noqa: PLC0415  # takes seconds

    request = apis.predict_pb2.PredictRequest()
    request.model_spec.name = "m"
    request.inputs["x"].CopyFrom(tf.make_tensor_proto(rows, tf.float32))
    return request


def test_predict(server: ModelServer, apis: Any, stub: Any) -> None:
    """Tensors come back with the very numbers of REST, and say which version made them."""
    rows = [[0.1, 0.2, 1 / 3], [1e-7, 123456.789, 3.0]]
    request = predict_request(apis, rows)
    for label, version in (("", 3), ("stable", 1)):
        request.model_spec.version_label = label
        response = stub.Predict(request, timeout=30)
        path = f"m/labels/{label}:predict" if label else "m:predict"
        told = post(server, path, {"instances": rows})["predictions"]
        import tensorflow as tf  # noqa: PLC0415  # takes seconds

        scores = tf.make_ndarray(response.outputs["y"])
        np.testing.assert_array_equal(scores, np.array(told, np.float32))
        assert response.model_spec.version.value == version


def test_errors_have_their_codes(apis: Any, stub: Any) -> None:
    """A failure is a status with the canonical code and the real server's words."""
    request = predict_request(apis, [[1.0, 2.0, 3.0]])
    request.model_spec.name = "nope"
    with pytest.raises(grpc.RpcError) as missing:
        stub.Predict(request, timeout=30)
    assert missing.value.code() is grpc.StatusCode.NOT_FOUND
    assert missing.value.details() == "Servable not found for request: Latest(nope)"
    request = predict_request(apis, [[1.0, 2.0, 3.0]])
    request.inputs["z"].CopyFrom(request.inputs["x"])
    with pytest.raises(grpc.RpcError, match=r"Sent extra: \{z\}") as extra:
        stub.Predict(request, timeout=30)
    assert extra.value.code() is grpc.StatusCode.INVALID_ARGUMENT


def test_examples(server: ModelServer, apis: Any, stub: Any) -> None:
    """Classify, Regress and both at once give REST's numbers."""
    body = {"examples": [{"x": [0.25, 0.5]}, {"x": [1.5, -2.0]}]}
    classes = post(server, "e:classify", {"signature_name": "classify", **body})["results"]
    sums = post(server, "e:regress", {"signature_name": "regress", **body})["results"]
    request = apis.inference_pb2.MultiInferenceRequest()
    for example in body["examples"]:
        feature = request.input.example_list.examples.add().features.feature["x"]
        feature.float_list.value.extend(example["x"])
    for verb in ("classify", "regress"):
        task = request.tasks.add(method_name=f"tensorflow/serving/{verb}")
        task.model_spec.name = "e"
        task.model_spec.signature_name = verb
    both = stub.MultiInference(request, timeout=30).results
    one = apis.classification_pb2.ClassificationRequest(
        model_spec=request.tasks[0].model_spec, input=request.input
    )
    other = apis.regression_pb2.RegressionRequest(
        model_spec=request.tasks[1].model_spec, input=request.input
    )
    for result in (both[0].classification_result, stub.Classify(one, timeout=30).result):
        told = [[[c.label, c.score] for c in row.classes] for row in result.classifications]
        assert told == classes
    for result in (both[1].regression_result, stub.Regress(other, timeout=30).result):
        assert [regression.value for regression in result.regressions] == sums


def test_metadata(server: ModelServer, apis: Any, stub: Any) -> None:
    """The signatures are those that REST tells."""
    request = apis.get_model_metadata_pb2.GetModelMetadataRequest(metadata_field=["signature_def"])
    request.model_spec.name = "m"
    response = stub.GetModelMetadata(request, timeout=30)
    signatures = apis.get_model_metadata_pb2.SignatureDefMap()
    assert response.metadata["signature_def"].Unpack(signatures)
    with urllib.request.urlopen(f"{server.url}/m/metadata", timeout=30) as answer:
        told = json.load(answer)["metadata"]["signature_def"]["signature_def"]
    assert signatures.signature_def.keys() == told.keys()
    spec = signatures.signature_def["serving_default"].inputs["x"]
    assert spec.name == told["serving_default"]["inputs"]["x"]["name"]
    assert [dim.size for dim in spec.tensor_shape.dim] == [-1, 3]


def test_health(channel: grpc.Channel) -> None:
    """The standard health service says that it serves."""
    from grpc_health.v1 import health_pb2, health_pb2_grpc  # noqa: PLC0415

    answer = health_pb2_grpc.HealthStub(channel).Check(health_pb2.HealthCheckRequest(), timeout=30)
    assert answer.status == health_pb2.HealthCheckResponse.SERVING


def test_status_and_reload(server: ModelServer, apis: Any, channel: grpc.Channel) -> None:
    """A new configuration is served when the call returns; a wrong one changes nothing."""
    models = apis.model_service_pb2_grpc.ModelServiceStub(channel)
    request = apis.model_management_pb2.ReloadConfigRequest()
    model = request.config.model_config_list.config.add(name="m", model_platform="tensorflow")
    model.base_path = "relative"
    refused = models.HandleReloadConfigRequest(request, timeout=60)
    assert refused.status.error_code == grpc.StatusCode.INVALID_ARGUMENT.value[0]
    log = server.program.log.parent
    model.base_path = str(log / "m")
    model.model_version_policy.specific.versions.append(1)
    assert not models.HandleReloadConfigRequest(request, timeout=60).status.error_code
    asked = apis.get_model_status_pb2.GetModelStatusRequest()
    asked.model_spec.name = "m"
    asked.model_spec.version.value = 1
    (status,) = models.GetModelStatus(asked, timeout=30).model_version_status
    assert (status.version, status.state) == (1, 30)
