"""Arrays <-> the JSON that TensorFlow Serving's REST API speaks (https://www.tensorflow.org/tfx/serving/api_rest)."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

import numpy as np
import orjson
import pybase64

from flask_server.errors import UpstreamError

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from numpy.typing import NDArray


def bytes_request(signature: str, instances: Sequence[NDArray[np.uint8]]) -> bytes:
    """A `:predict` body in row form whose instances are the arrays' raw bytes, as `{"b64": ...}`."""
    texts = [pybase64.b64encode(np.ascontiguousarray(array).data) for array in instances]
    head = b'{"signature_name":%b,"instances":[{"b64":"' % orjson.dumps(signature)
    return b"".join((head, b'"},{"b64":"'.join(texts), b'"}]}'))


def numbers_request(signature: str, instances: Sequence[NDArray[Any]]) -> bytes:
    """A `:predict` body in row form whose instances are nested lists of numbers."""
    return orjson.dumps(
        {
            "signature_name": signature,
            "instances": [np.ascontiguousarray(array) for array in instances],
        },
        option=orjson.OPT_SERIALIZE_NUMPY,
    )


def columns_request(signature: str, inputs: Mapping[str, Any]) -> bytes:
    """A `:predict` body in column form."""
    return orjson.dumps({"signature_name": signature, "inputs": inputs})


def outputs(body: bytes) -> dict[str, Any]:
    """The named outputs of a `:predict` answer in column form, of a signature that has several.

    Raises:
        UpstreamError: It is not JSON, or has none.
    """
    document = json_of(body)
    named = document.get("outputs") if isinstance(document, dict) else None
    if not isinstance(named, dict):
        raise UpstreamError("The model server's answer holds no named outputs.")
    return named


def predictions(body: bytes, count: int) -> list[Any]:
    """The rows of a `:predict` answer as arrays, or as name -> array where the signature has several outputs.

    Raises:
        UpstreamError: It is not JSON, or not one row for each of `count` instances.
    """
    document = json_of(body)
    rows = document.get("predictions") if isinstance(document, dict) else None
    if not isinstance(rows, list) or len(rows) != count:
        raise UpstreamError("The model server's answer holds no predictions for what was sent.")
    return [_row(row) for row in rows]


def json_of(body: bytes) -> Any:  # noqa: ANN401 - any JSON value
    """Parse a model server's answer; unlike JSON it may hold NaN and Infinity.

    Raises:
        UpstreamError: It is not JSON.
    """
    try:
        return orjson.loads(body)
    except ValueError:
        pass
    try:
        return json.loads(body)
    except (ValueError, RecursionError):
        raise UpstreamError("The model server's answer is not JSON.") from None


def error_of(body: bytes) -> str:
    """The sentence in a model server's error answer, `{"error": "..."}`."""
    try:
        document = json_of(body)
    except UpstreamError:
        return ""
    return str(document.get("error", "")) if isinstance(document, dict) else ""


def _row(row: object) -> NDArray[Any] | Mapping[str, NDArray[Any]]:
    if isinstance(row, dict):
        return {name: _array(value) for name, value in row.items()}
    return _array(row)


def _array(value: object) -> NDArray[Any]:
    try:
        array = np.asarray(value)
    except ValueError:
        raise UpstreamError("The model answered rows of different lengths.") from None
    return array.astype(np.float32) if array.dtype.kind == "f" else array
