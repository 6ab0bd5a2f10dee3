"""gRPC, asked with the published stubs alone, says what REST says."""

from __future__ import annotations

import json
import shutil
import urllib.request
from typing import TYPE_CHECKING, Any

import grpc
import numpy as np
import pytest

from serving.errors import Internal
from serving.lifecycle import InUse
from serving.monitoring import Metrics
from serving.servable import Signature, State
from tests.processes import wait_until
from tests.serving.conftest import serving
from tests.serving.toy import Toy, spec, times

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
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
    flags = (
        f"--model_config_file={config}",
        "--allow_version_labels_for_unavailable_models=true",
        "--enable_grpc_healthcheck_service",
    )
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

        assert not response.outputs["y"].tensor_content  # clients read float_val
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
    request.model_spec.name = "n" * 20_000
    with pytest.raises(grpc.RpcError, match=r"n\.\.\.TRUNCATED") as long:
        stub.Predict(request, timeout=30)
    assert long.value.code() is grpc.StatusCode.NOT_FOUND


def test_metrics() -> None:
    """What runs is timed, and of a failure only that it was one, as the real server has it over gRPC."""
    metrics = Metrics()
    with metrics.measuring("m", "Predict", "GRPC") as seen:
        seen.using(InUse(1, times(2))).run("serving_default", {"x": np.ones(1)}, None)
    with pytest.raises(Internal), metrics.measuring("m", "Predict", "GRPC"):
        raise Internal("as expected")
    told = metrics.text().decode()
    assert 'runtime_latency_count{model_name="m",API="Predict",runtime="TF1"} 1\n' in told
    assert 'request_latency_count{model_name="m",API="Predict",entrypoint="GRPC"} 1\n' in told
    assert 'request_count{model_name="m",status="INTERNAL"} 1\n' in told


@pytest.mark.parametrize(
    ("remaining", "rest", "wanted"),
    [
        (0.3, 30.0, 30.0),
        (30.0, 30.0, 30.0),
        (31.0, 30.0, 32.0),
        (100.0, 30.0, 128.0),
        (None, 30.0, None),
        (2.0**40, 30.0, None),
        (5.0, None, None),
    ],
)
def test_deadlines_share_what_is_compiled(
    remaining: float | None, rest: float | None, wanted: float | None
) -> None:
    """Whoever waits no longer than a run may take over REST gets the call that was warmed up."""
    from serving.grpc_api import run_seconds  # noqa: PLC0415  # takes seconds

    assert run_seconds(remaining, rest) == wanted


def _unknown_signature(request: Any) -> None:
    request.model_spec.signature_name = "nope"


def _one_too_many(request: Any) -> None:
    request.inputs["z"].CopyFrom(request.inputs["x"])


def _another_name(request: Any) -> None:
    request.inputs["z"].CopyFrom(request.inputs["x"])
    del request.inputs["x"]


def _unknown_output(request: Any) -> None:
    request.output_filter.append("zz")


def _half_a_tensor(request: Any) -> None:
    request.inputs["x"].tensor_content = request.inputs["x"].tensor_content[:-1]


def _no_type(request: Any) -> None:
    request.inputs["x"].dtype = 20  # DT_RESOURCE


def _more_words_than_were_sent(request: Any) -> None:
    tensor = request.inputs["x"]
    tensor.Clear()
    tensor.dtype = 7  # DT_STRING
    tensor.string_val.append(b"x")
    tensor.tensor_shape.dim.add(size=1 << 30)


def _more_than_was_sent(*sizes: int) -> Callable[[Any], None]:
    def spoil(request: Any) -> None:
        tensor = request.inputs["x"]
        tensor.ClearField("tensor_content")
        tensor.float_val.append(1)
        del tensor.tensor_shape.dim[:]
        for size in sizes:
            tensor.tensor_shape.dim.add(size=size)

    return spoil


@pytest.mark.parametrize(
    ("spoil", "code", "words"),
    [
        (_unknown_signature, "FAILED_PRECONDITION", 'Serving signature key "nope" not found.'),
        (_one_too_many, "INVALID_ARGUMENT", "Sent extra: {z}"),
        (_another_name, "INVALID_ARGUMENT", "Signature input alias: x(feed name: "),
        (_unknown_output, "INVALID_ARGUMENT", "zz Outputs expected to be in the set {y}."),
        (_half_a_tensor, "INVALID_ARGUMENT", "tensor parsing error: x"),
        (_no_type, "INVALID_ARGUMENT", "tensor parsing error: x"),
        (_more_words_than_were_sent, "INVALID_ARGUMENT", "tensor parsing error: x"),
        (_more_than_was_sent(1 << 30), "INVALID_ARGUMENT", "tensor parsing error: x"),
        (_more_than_was_sent(1 << 40, 1 << 40), "INVALID_ARGUMENT", "tensor parsing error: x"),
        (_more_than_was_sent(-1), "INVALID_ARGUMENT", "tensor parsing error: x"),
        (_more_than_was_sent(*[1] * 255), "INVALID_ARGUMENT", "tensor parsing error: x"),
    ],
)
def test_wrong_predict_requests(apis: Any, stub: Any, spoil: Any, code: str, words: str) -> None:
    """Each has its code and names what is wrong (predict_util.cc of TensorFlow Serving, util.cc of TensorFlow)."""
    request = predict_request(apis, [[1.0, 2.0, 3.0]])
    spoil(request)
    with pytest.raises(grpc.RpcError) as refused:
        stub.Predict(request, timeout=30)
    assert refused.value.code() is grpc.StatusCode[code]
    assert words in refused.value.details()


def test_outputs_are_in_the_field_of_their_type() -> None:
    """Numbers of every type come one by one, as clients that read `int64_val` expect, and read back equal."""
    import tensorflow as tf  # noqa: PLC0415  # takes seconds
    from tensorflow_serving.apis.predict_pb2 import PredictResponse  # noqa: PLC0415  # needs it

    from serving.messages import fill_outputs  # noqa: PLC0415  # needs it

    types = "float16 bfloat16 float32 float64 int8 int16 int32 int64 uint8 uint16 uint32 uint64"
    names = [*types.split(), "bool", "complex64"]
    outputs = {name: np.arange(4).astype(tf.as_dtype(name).as_numpy_dtype) for name in names}
    response = PredictResponse()
    fill_outputs(response, {name: array.reshape(2, 2) for name, array in outputs.items()})
    for name, array in outputs.items():
        tensor = response.outputs[name]
        assert not tensor.tensor_content, name
        np.testing.assert_array_equal(tf.make_ndarray(tensor), array.reshape(2, 2))


def test_a_value_stands_for_those_left_out(apis: Any, stub: Any) -> None:
    """A tensor may be filled up with its last value (tensor.proto), as long as that is no attack."""
    request = predict_request(apis, [[1.0, 2.0, 3.0]])
    _more_than_was_sent(100_000, 3)(request)
    scores = stub.Predict(request, timeout=30).outputs["y"].float_val
    assert (len(scores), len(set(scores))) == (300_000, 1)


def test_outputs_can_be_had_as_content() -> None:
    """With --enable_serialization_as_tensor_content numbers go as their bytes."""
    import tensorflow as tf  # noqa: PLC0415  # takes seconds
    from tensorflow_serving.apis.predict_pb2 import PredictResponse  # noqa: PLC0415  # needs it

    from serving.messages import fill_outputs  # noqa: PLC0415  # needs it

    numbers, words = np.arange(6, dtype=np.float32).reshape(2, 3), np.array([b"a"], object)
    response = PredictResponse()
    fill_outputs(response, {"y": numbers, "words": words}, as_content=True)
    assert response.outputs["y"].tensor_content == numbers.tobytes()
    np.testing.assert_array_equal(tf.make_ndarray(response.outputs["y"]), numbers)
    assert [*response.outputs["words"].string_val] == [b"a"]


def test_more_dimensions_than_numpy_has() -> None:
    """A tensor of 70 dimensions goes in and comes out with all of them."""
    import tensorflow as tf  # noqa: PLC0415  # takes seconds
    from tensorflow.core.framework.tensor_pb2 import TensorProto  # noqa: PLC0415  # needs it
    from tensorflow_serving.apis.predict_pb2 import (  # noqa: PLC0415  # needs it
        PredictRequest,
        PredictResponse,
    )

    from serving.messages import fill_outputs, run_predict  # noqa: PLC0415  # needs it

    shape = [1] * 69 + [2]
    tensor = TensorProto(dtype=1, float_val=[1, 2])
    tensor.tensor_shape.CopyFrom(tf.TensorShape(shape).as_proto())
    request, response = PredictRequest(), PredictResponse()
    request.inputs["x"].CopyFrom(tensor)
    same = Toy(
        {"serving_default": (Signature({"x": spec()}, {"y": spec()}), lambda i: {"y": i["x"]})}
    )
    fill_outputs(response, run_predict(same, request, None, check_method_name=False))
    assert response.outputs["y"] == tensor


def test_the_method_name_is_checked_where_asked_for() -> None:
    """A signature made for nothing that is known is refused before its inputs are looked at."""
    from tensorflow_serving.apis.predict_pb2 import PredictRequest  # noqa: PLC0415  # needs it

    from serving.messages import run_predict  # noqa: PLC0415  # needs it

    odd = Signature({}, {"y": spec()}, "my/method")
    toy = Toy({"serving_default": (odd, lambda _: {"y": np.ones(1)})})
    assert run_predict(toy, PredictRequest(), None, check_method_name=False)["y"] == 1
    request = PredictRequest()
    request.inputs["odd"].SetInParent()
    with pytest.raises(Internal, match=r"tensorflow/serving/regress}\. Was: my/method"):
        run_predict(toy, request, None, check_method_name=True)


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


def test_requests_without_a_model_are_refused(apis: Any, stub: Any) -> None:
    """In the words of predict_impl.cc and classification_service.cc."""
    for ask, request in (
        (stub.Predict, apis.predict_pb2.PredictRequest()),
        (stub.Classify, apis.classification_pb2.ClassificationRequest()),
        (stub.Regress, apis.regression_pb2.RegressionRequest()),
    ):
        with pytest.raises(grpc.RpcError, match="Missing ModelSpec"):
            ask(request, timeout=30)


def test_a_signature_is_looked_at_before_the_examples(apis: Any, stub: Any) -> None:
    """As classifier.cc, regressor.cc and multi_inference.cc do, task by task."""
    request = apis.classification_pb2.ClassificationRequest()
    request.model_spec.name, request.model_spec.signature_name = "e", "nope"
    with pytest.raises(grpc.RpcError, match="No signature was found with the name: nope"):
        stub.Classify(request, timeout=30)
    tasks = apis.inference_pb2.MultiInferenceRequest()
    for verb, signature in (("classify", "classify"), ("regress", "classify"), ("predict", "nope")):
        task = tasks.tasks.add(method_name=f"tensorflow/serving/{verb}")
        task.model_spec.name, task.model_spec.signature_name = "e", signature
    with pytest.raises(grpc.RpcError, match="Duplicate evaluation of signature: classify"):
        stub.MultiInference(tasks, timeout=30)
    tasks.tasks[1].model_spec.signature_name = "regress"
    tasks.tasks[1].method_name = "tensorflow/serving/predict"
    with pytest.raises(grpc.RpcError, match="Unsupported signature method_name") as refused:
        stub.MultiInference(tasks, timeout=30)
    assert refused.value.code() is grpc.StatusCode.UNIMPLEMENTED


@pytest.mark.parametrize(
    ("tasks", "code", "words"),
    [
        ([], "INVALID_ARGUMENT", "ModelSpec has no name specified."),
        ([("nope", "a"), ("e", "b")], "NOT_FOUND", "Servable not found for request: Latest(nope)"),
        ([("e", "classify"), ("", "regress")], "INVALID_ARGUMENT", "an empty model name."),
        ([("e", "classify"), ("m", "y")], "INVALID_ARGUMENT", "must access the same model name."),
        (
            [("e", "classify")] * 2,
            "INVALID_ARGUMENT",
            "Duplicate evaluation of signature: classify",
        ),
        ([("e", "zz")], "INVALID_ARGUMENT", "Requested signature not found in model graph: zz"),
    ],
)
def test_wrong_multi_inference_requests(
    apis: Any, stub: Any, tasks: list[tuple[str, str]], code: str, words: str
) -> None:
    """Each has its code and words (multi_inference.cc of TensorFlow Serving)."""
    request = apis.inference_pb2.MultiInferenceRequest()
    for model, signature in tasks:
        task = request.tasks.add(method_name="tensorflow/serving/classify")
        task.model_spec.name, task.model_spec.signature_name = model, signature
    with pytest.raises(grpc.RpcError) as refused:
        stub.MultiInference(request, timeout=30)
    assert refused.value.code() is grpc.StatusCode[code]
    assert words in refused.value.details()


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
    x = signatures.signature_def["serving_default"].inputs["x"]
    assert x.name == told["serving_default"]["inputs"]["x"]["name"]
    assert [dim.size for dim in x.tensor_shape.dim] == [-1, 3]
    assert not response.model_spec.signature_name
    with pytest.raises(grpc.RpcError, match="Missing ModelSpec"):
        stub.GetModelMetadata(apis.get_model_metadata_pb2.GetModelMetadataRequest(), timeout=30)


def test_health(channel: grpc.Channel) -> None:
    """The standard health service says that it serves."""
    from grpc_health.v1 import health_pb2, health_pb2_grpc  # noqa: PLC0415

    for service in ("", "PredictionService", "ModelService"):
        request = health_pb2.HealthCheckRequest(service=service)
        answer = health_pb2_grpc.HealthStub(channel).Check(request, timeout=30)
        assert answer.status == health_pb2.HealthCheckResponse.SERVING


def test_status_and_reload(server: ModelServer, apis: Any, channel: grpc.Channel) -> None:
    """A new configuration is served when the call returns; a wrong one changes nothing."""
    models = apis.model_service_pb2_grpc.ModelServiceStub(channel)
    request = apis.model_management_pb2.ReloadConfigRequest()
    model = request.config.model_config_list.config.add(name="m", model_platform="tensorflow")
    model.base_path = "relative"
    with pytest.raises(grpc.RpcError) as refused:
        models.HandleReloadConfigRequest(request, timeout=60)
    assert refused.value.code() is grpc.StatusCode.INVALID_ARGUMENT
    empty = apis.model_management_pb2.ReloadConfigRequest()
    with pytest.raises(grpc.RpcError, match="Only ModelConfigList is currently supported"):
        models.HandleReloadConfigRequest(empty, timeout=60)
    log = server.program.log.parent
    model.base_path = str(log / "m")
    model.model_version_policy.specific.versions.append(1)
    answer = models.HandleReloadConfigRequest(request, timeout=60)
    assert (answer.HasField("status"), answer.status.error_code) == (True, 0)
    asked = apis.get_model_status_pb2.GetModelStatusRequest()
    asked.model_spec.name = "m"
    asked.model_spec.version.value = 1
    (status,) = models.GetModelStatus(asked, timeout=30).model_version_status
    assert (status.version, status.state) == (1, 30)
    with pytest.raises(grpc.RpcError, match="Missing ModelSpec"):
        models.GetModelStatus(apis.get_model_status_pb2.GetModelStatusRequest(), timeout=30)
    asked.model_spec.name = ""
    with pytest.raises(grpc.RpcError, match="Could not find version 1 of model") as nameless:
        models.GetModelStatus(asked, timeout=30)
    assert nameless.value.code() is grpc.StatusCode.NOT_FOUND


def test_a_reload_waits_for_what_is_new(
    tmp_path: Path, save_version: SaveVersion, apis: Any
) -> None:
    """A model that is there already and has no version does not make the call fail; the config file wins again later."""
    save_version(tmp_path / "old", 1)
    save_version(tmp_path / "new", 1)
    config = tmp_path / "models.txt"
    config.write_text(
        f'model_config_list {{ config {{ name: "m" base_path: "{tmp_path / "old"}"'
        ' model_platform: "tensorflow" } }'
    )
    flags = (f"--model_config_file={config}", "--model_config_file_poll_wait_seconds=3")
    with serving(tmp_path / "log", *flags, ready="m") as server:
        channel = grpc.insecure_channel(f"127.0.0.1:{server.grpc_port}")
        models = apis.model_service_pb2_grpc.ModelServiceStub(channel)
        request = apis.model_management_pb2.ReloadConfigRequest()
        for name, folder in (("m", "old"), ("n", "new")):
            request.config.model_config_list.config.add(
                name=name, base_path=str(tmp_path / folder), model_platform="tensorflow"
            )

        def state(model: str) -> int:
            asked = apis.get_model_status_pb2.GetModelStatusRequest()
            asked.model_spec.name = model
            (status,) = models.GetModelStatus(asked, timeout=30).model_version_status
            return int(status.state)

        shutil.rmtree(tmp_path / "old" / "1")
        wait_until(lambda: state("m") == State.END, seconds=30, what="m has no version")
        models.HandleReloadConfigRequest(request, timeout=60)
        assert state("n") == State.AVAILABLE
        wait_until(lambda: state("n") == State.END, seconds=30, what="only what the file says")
        channel.close()
