"""The JSON of classify and regress requests -> `tf.Example`s, serialized.

Integers and booleans become int64 features, numbers with a fraction float ones, strings and
`{"b64": …}` bytes; nothing is converted. Source:
https://www.tensorflow.org/tfx/serving/api_rest#classify_and_regress_api and recorded answers.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

from serving.b64 import decode_b64
from serving.errors import InvalidArgument
from serving.json_echo import echo
from serving.json_values import JsonObject, JsonValue, b64_text, type_name

if TYPE_CHECKING:
    from collections.abc import Mapping

    from serving.servable import Array

    Feature = list[int] | list[float] | list[bytes]

_KINDS: dict[type, str] = {int: "int64", float: "float", bytes: "bytes"}
_INT64_MAX = 2**63 - 1


def examples_of(document: JsonObject) -> Array:
    """Serialize a request's examples, the context's features put into each.

    Returns:
        [examples], bytes.

    Raises:
        InvalidArgument: the document is not a classify or regress request.
    """
    context = _features(document.get("context")) if "context" in document else {}
    if "examples" not in document:
        raise InvalidArgument(
            f"JSON Value: {echo(document)} When method is classify, key 'examples' is expected "
            "and was not found"
        )
    examples = document.get("examples")
    if not isinstance(examples, list):
        raise InvalidArgument(
            f"JSON Value: {echo(document)} Expecting 'examples' value to be an list/array"
        )
    if not examples:
        raise InvalidArgument(f"JSON Value: {echo(document)} 'examples' value is an empty array")
    serialized = np.empty(len(examples), object)
    serialized[:] = [_serialized({**context, **_features(item)}) for item in examples]
    return serialized


def _features(example: JsonValue) -> dict[str, Feature]:
    if not isinstance(example, JsonObject):
        message = f"Example must be JSON object but got JSON {type_name(example)}"
        raise InvalidArgument(message)
    return {name: _feature(name, content) for name, content in example.members}


def _feature(name: str, content: JsonValue) -> Feature:
    feature: list[Any] = []
    for value in content if isinstance(content, list) else [content]:
        element = _element(name, value)
        if feature and type(element) is not type(feature[0]):
            raise InvalidArgument(
                f"Unexpected element type in feature: {name} "
                f"expecting type: {_KINDS[type(feature[0])]}"
            )
        feature.append(element)
    return feature


def _element(name: str, value: JsonValue) -> int | float | bytes:
    if isinstance(value, str):
        return value.encode("utf-8", "surrogateescape")
    if isinstance(value, int) and value > _INT64_MAX:
        message = f"Feature: {name} has uint64_t element. Only int64_t is supported."
        raise InvalidArgument(message)
    if isinstance(value, bool | int):
        return int(value)
    if isinstance(value, float):
        return value
    text = b64_text(value)
    if text is None:
        raise InvalidArgument(
            f"Feature: {name} has element with unexpected JSON type: {type_name(value)}"
        )
    return decode_b64(text)


def _serialized(features: Mapping[str, Feature]) -> bytes:
    # TensorFlow takes seconds to import, and whoever serves examples has done so already.
    from tensorflow.core.example import example_pb2  # noqa: PLC0415

    example = example_pb2.Example()
    for name, values in features.items():
        feature = example.features.feature[name]
        if values and isinstance(values[0], bytes):
            feature.bytes_list.value.extend(values)
        elif values and isinstance(values[0], float):
            with np.errstate(over="ignore"):  # beyond float32 is infinity
                feature.float_list.value.extend(np.array(values, np.float32).tolist())
        elif values:
            feature.int64_list.value.extend(values)
    serialized: bytes = example.SerializeToString()
    return serialized
