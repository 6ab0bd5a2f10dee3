"""TensorFlow Serving's messages <-> signatures and arrays.

For gRPC and for warm-up, which both speak in the published protobuf messages.
"""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

import numpy as np
from tensorflow.core.framework.tensor_pb2 import TensorProto
from tensorflow_serving.apis.classification_pb2 import ClassificationResult
from tensorflow_serving.apis.inference_pb2 import InferenceResult
from tensorflow_serving.apis.regression_pb2 import RegressionResult

from serving import tensorflow_core as tf
from serving.classify_regress import check_classifies, check_regresses, classify, regress
from serving.deep_arrays import NUMPY_RANK_MAX, RANK_MAX, shape_of, shaped
from serving.errors import FailedPrecondition, InvalidArgument, Unimplemented
from serving.servable import DEFAULT_SIGNATURE, check_input_names, check_predict_method

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

    from tensorflow_serving.apis.inference_pb2 import InferenceTask, MultiInferenceRequest
    from tensorflow_serving.apis.input_pb2 import Input
    from tensorflow_serving.apis.predict_pb2 import PredictRequest, PredictResponse

    from serving.servable import Array, Servable, Signature

# Where a `TensorProto` has the elements of each type (tensor.proto): half precision goes as its bits.
_FIELDS = {
    "float32": "float_val",
    "float64": "double_val",
    "int8": "int_val",
    "int16": "int_val",
    "int32": "int_val",
    "int64": "int64_val",
    "uint8": "int_val",
    "uint16": "int_val",
    "uint32": "uint32_val",
    "uint64": "uint64_val",
    "float16": "half_val",
    "bfloat16": "half_val",
}
_CLASSIFY, _REGRESS = "tensorflow/serving/classify", "tensorflow/serving/regress"
_CHECKS = {_CLASSIFY: check_classifies, _REGRESS: check_regresses}
_MOST_BYTES_FILLED = 64 * 2**20
_LONGEST_ELEMENT_BYTES = 8  # sent as one byte, a small number
_POINTERS_BYTES = 16  # of a string, in a list and in an array
_NUMBERS_AT_ONCE = 2**16


def run_predict(
    servable: Servable,
    request: PredictRequest,
    timeout_seconds: float | None,
    *,
    check_method_name: bool,
) -> dict[str, Array]:
    """Run a `PredictRequest`; its output filter decides what is given back.

    Raises:
        ServingError: the request does not fit the signature, or the run failed.
    """
    name = request.model_spec.signature_name or DEFAULT_SIGNATURE
    if name not in servable.signatures:
        raise FailedPrecondition(f'Serving signature key "{name}" not found.')
    signature = servable.signatures[name]
    if check_method_name:
        check_predict_method(signature)
    check_input_names(signature, request.inputs)
    inputs = {key: _array(key, tensor) for key, tensor in request.inputs.items()}
    wanted = _checked_filter(signature, request.output_filter)
    outputs = servable.run(name, inputs, timeout_seconds)
    return {key: outputs[key] for key in wanted}


def fill_outputs(
    response: PredictResponse, outputs: Mapping[str, Array], *, as_content: bool = False
) -> None:
    """Put arrays into a `PredictResponse`, as the real server does: number by number, in the field of their type.

    With `as_content` numbers go as their bytes, in `tensor_content`.
    """
    for key, array in outputs.items():
        response.outputs[key].CopyFrom(_tensor(array, as_content=as_content))


def run_classify(
    servable: Servable,
    signature_name: str,
    source: Input,
    timeout_seconds: float | None,
    *,
    check_method_name: bool,
) -> ClassificationResult:
    """Classify an `Input`; errors as `classify`."""
    name = signature_name or DEFAULT_SIGNATURE
    check_classifies(servable, name, check_method_name=check_method_name)  # before the examples
    labels, scores = classify(servable, name, examples_in(source), timeout_seconds)
    result = ClassificationResult()
    for row_labels, row_scores in zip(labels.tolist(), scores.tolist(), strict=True):
        classifications = result.classifications.add()
        for label, score in zip(row_labels, row_scores, strict=True):
            text = label.decode("utf-8", "replace")  # a protobuf string must be UTF-8
            classifications.classes.add(label=text, score=score)
    return result


def run_regress(
    servable: Servable,
    signature_name: str,
    source: Input,
    timeout_seconds: float | None,
    *,
    check_method_name: bool,
) -> RegressionResult:
    """Regress an `Input`; errors as `regress`."""
    name = signature_name or DEFAULT_SIGNATURE
    check_regresses(servable, name, check_method_name=check_method_name)  # before the examples
    values = regress(servable, name, examples_in(source), timeout_seconds)
    result = RegressionResult()
    for value in values.tolist():
        result.regressions.add(value=value)
    return result


def run_multi_inference(
    servable: Servable,
    request: MultiInferenceRequest,
    timeout_seconds: float | None,
    *,
    check_method_name: bool,
) -> list[InferenceResult]:
    """Run each task of a `MultiInferenceRequest`; which version did it, the caller has to add.

    Raises:
        ServingError: the tasks do not fit each other or the model, or a run failed.
    """
    _check_tasks(request, servable, check_method_name=check_method_name)

    def result(task: InferenceTask) -> InferenceResult:
        asked = (servable, task.model_spec.signature_name, request.input, timeout_seconds)
        if task.method_name == _CLASSIFY:
            classified = run_classify(*asked, check_method_name=check_method_name)
            return InferenceResult(classification_result=classified)
        regressed = run_regress(*asked, check_method_name=check_method_name)
        return InferenceResult(regression_result=regressed)

    return list(map(result, request.tasks))


def examples_in(source: Input) -> Array:
    """The serialized examples of an `Input`, its context put into each.

    Returns:
        [examples], bytes.

    Raises:
        InvalidArgument: there are none.
    """
    kind = source.WhichOneof("kind")
    if kind == "example_list":
        serialized = [example.SerializeToString() for example in source.example_list.examples]
    elif kind == "example_list_with_context":
        # Protobuf merges what is written one after another; the example's own features win.
        context = source.example_list_with_context.context.SerializeToString()
        examples = source.example_list_with_context.examples
        serialized = [context + example.SerializeToString() for example in examples]
    else:
        serialized = []
    if not serialized:
        raise InvalidArgument("Input is empty.")
    array = np.empty(len(serialized), object)
    array[:] = serialized
    return array


def _check_tasks(
    request: MultiInferenceRequest, servable: Servable, *, check_method_name: bool
) -> None:
    names: list[str] = []
    for task in request.tasks:
        spec = task.model_spec
        if not spec.name:
            raise InvalidArgument("Found ModelSpec with an empty model name.")
        if spec.name != request.tasks[0].model_spec.name:
            raise InvalidArgument(
                "All ModelSpecs in a MultiInferenceRequest must access the same model name."
            )
        name = spec.signature_name or DEFAULT_SIGNATURE
        if name in names:
            raise InvalidArgument(f"Duplicate evaluation of signature: {name}")
        if name not in servable.signatures:
            raise InvalidArgument(f"Requested signature not found in model graph: {name}")
        if task.method_name not in _CHECKS:
            raise Unimplemented(f"Unsupported signature method_name: {task.method_name}")
        _CHECKS[task.method_name](servable, name, check_method_name=check_method_name)
        names.append(name)


def _checked_filter(signature: Signature, output_filter: Iterable[str]) -> list[str]:
    wanted = list(output_filter)
    for name in wanted:
        if name not in signature.outputs:
            expected = ",".join(sorted(signature.outputs))
            raise InvalidArgument(
                f"output tensor alias not found in signature: {name}"
                f" Outputs expected to be in the set {{{expected}}}."
            )
        if wanted.count(name) > 1:
            raise InvalidArgument(f"duplicate output tensor alias: {name}")
    return wanted or list(signature.outputs)


def _array(name: str, tensor: TensorProto) -> Array:
    shape = tuple(dimension.size for dimension in tensor.tensor_shape.dim)
    try:
        _check_size(tensor, shape)
        if len(shape) > NUMPY_RANK_MAX:
            flat = tf.TensorShape([math.prod(shape)]).as_proto()
            tensor.tensor_shape.CopyFrom(flat)
        return shaped(tf.make_ndarray(tensor), shape)
    except (KeyError, TypeError, ValueError, MemoryError):
        raise InvalidArgument(f"tensor parsing error: {name}") from None


def _check_size(tensor: TensorProto, shape: tuple[int, ...]) -> None:
    """Raise ValueError if it has too many dimensions, or is far larger than what was sent.

    The last value stands for all that are left out: a few bytes could take all of the machine's memory.
    """
    if len(shape) > RANK_MAX:
        raise ValueError(shape)
    size = math.prod(shape) * (tf.as_dtype(tensor.dtype).size or _POINTERS_BYTES)
    if size > max(_MOST_BYTES_FILLED, _LONGEST_ELEMENT_BYTES * tensor.ByteSize()):
        raise ValueError(shape)


def _tensor(array: Array, *, as_content: bool) -> TensorProto:
    field, shape = _FIELDS.get(array.dtype.name), shape_of(array)
    if field is None:
        return tf.make_tensor_proto(array, shape=shape)
    tensor = TensorProto(
        dtype=tf.as_dtype(array.dtype).as_datatype_enum,
        tensor_shape=tf.TensorShape(shape).as_proto(),
    )
    if as_content:
        tensor.tensor_content = array.tobytes()
        return tensor
    elements = array.view(np.uint16) if field == "half_val" else array
    flat, values = elements.reshape(-1), getattr(tensor, field)
    # All of them as Python's numbers would take eight times the memory.
    for start in range(0, len(flat), _NUMBERS_AT_ONCE):
        values.extend(flat[start : start + _NUMBERS_AT_ONCE].tolist())
    return tensor
