"""TensorFlow Serving's messages <-> signatures and arrays.

For gRPC and for warm-up, which both speak in the published protobuf messages.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
import tensorflow as tf
from tensorflow_serving.apis.classification_pb2 import ClassificationResult
from tensorflow_serving.apis.regression_pb2 import RegressionResult

from serving.classify_regress import classify, regress
from serving.deep_arrays import shape_of
from serving.errors import InvalidArgument
from serving.servable import DEFAULT_SIGNATURE, check_input_names, signature_of

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

    from tensorflow_serving.apis.input_pb2 import Input
    from tensorflow_serving.apis.predict_pb2 import PredictRequest, PredictResponse

    from serving.servable import Array, Servable, Signature


def run_predict(
    servable: Servable, request: PredictRequest, timeout_seconds: float | None
) -> dict[str, Array]:
    """Run a `PredictRequest`; its output filter decides what is given back.

    Raises:
        ServingError: the request does not fit the signature, or the run failed.
    """
    name = request.model_spec.signature_name or DEFAULT_SIGNATURE
    signature = signature_of(servable, name)
    check_input_names(signature, request.inputs)
    wanted = _checked_filter(signature, request.output_filter)
    inputs = {key: _array(tensor) for key, tensor in request.inputs.items()}
    outputs = servable.run(name, inputs, timeout_seconds)
    return {key: outputs[key] for key in wanted}


def fill_outputs(response: PredictResponse, outputs: Mapping[str, Array]) -> None:
    """Put arrays into a `PredictResponse`."""
    for key, array in outputs.items():
        response.outputs[key].CopyFrom(tf.make_tensor_proto(array, shape=shape_of(array)))


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
    labels, scores = classify(
        servable, name, examples_in(source), timeout_seconds, check_method_name=check_method_name
    )
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
    values = regress(
        servable, name, examples_in(source), timeout_seconds, check_method_name=check_method_name
    )
    result = RegressionResult()
    for value in values.tolist():
        result.regressions.add(value=value)
    return result


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


def _checked_filter(signature: Signature, output_filter: Iterable[str]) -> list[str]:
    wanted = list(output_filter)
    for name in wanted:
        if name not in signature.outputs:
            raise InvalidArgument(f"output tensor alias not found in signature: {name}")
        if wanted.count(name) > 1:
            raise InvalidArgument(f"duplicate output tensor alias: {name}")
    return wanted or list(signature.outputs)


def _array(tensor: tf.compat.v1.TensorProto) -> Array:
    try:
        array: Array = tf.make_ndarray(tensor)
    except (TypeError, ValueError) as error:
        raise InvalidArgument(f"tensor parsing error: {error}") from None
    return array
