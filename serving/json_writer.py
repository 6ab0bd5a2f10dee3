"""Named arrays -> the JSON of an answer, laid out as the real server lays it out.

Source: recorded answers. In rows, what belongs to one row shares a line; in columns each element
has its own.
"""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

from serving.b64 import encode_b64
from serving.deep_arrays import shape_of
from serving.errors import InvalidArgument
from serving.json_echo import INDENT, quoted
from serving.json_numbers import number_texts
from serving.servable import cpp_name

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from serving.servable import Array
    from serving.tensor_json import Format

_INTEGERS = frozenset({"int8", "int16", "int32", "int64", "uint8", "uint32", "uint64"})
_BYTES_SUFFIX = "_bytes"


def predict_response(outputs: Mapping[str, Array], layout: Format) -> bytes:
    """Write the answer of a predict request.

    Raises:
        InvalidArgument: a type that JSON cannot carry; in rows, outputs without a common
            number of rows.
    """
    text = _rows(outputs) if layout == "row" else _columns(outputs)
    return _encoded(text)


def error_response(message: str) -> bytes:
    """Write `{"error": …}`."""
    return _encoded(f'{{\n{INDENT}"error": {quoted(message)}\n}}')


def classify_response(labels: Array, scores: Array) -> bytes:
    """Write the answer of a classify request.

    Args:
        labels: [examples, classes], bytes.
        scores: [examples, classes], float32.
    """
    names = (quoted(label.decode("utf-8", "surrogateescape")) for label in labels.reshape(-1))
    pairs = [f"[{a}, {b}]" for a, b in zip(names, number_texts(scores), strict=True)]
    examples = ", ".join(_inline(pairs, scores.shape))
    return _encoded(f'{{\n{INDENT}"results": [{examples}\n{INDENT}]\n}}')


def regress_response(values: Array) -> bytes:
    """Write the answer of a regress request: one number for each example."""
    return _encoded(f'{{\n{INDENT}"results": [{", ".join(number_texts(values))}]\n}}')


def _encoded(text: str) -> bytes:
    return text.encode("utf-8", "surrogateescape")


def _rows(outputs: Mapping[str, Array]) -> str:
    count = _common_rows(outputs)
    if not count:
        body = "[]"
    elif len(outputs) == 1:
        ((name, array),) = outputs.items()
        body = f"[{', '.join(_row_texts(name, array, 2))}\n{INDENT}]"
    else:
        columns = [(quoted(name), _row_texts(name, array, 3)) for name, array in outputs.items()]
        body = f"[{','.join(_row_object(columns, i) for i in range(count))}\n{INDENT}]"
    return f'{{\n{INDENT}"predictions": {body}\n}}'


def _common_rows(outputs: Mapping[str, Array]) -> int:
    count: int | None = None
    for name, array in outputs.items():
        shape = shape_of(array)
        if not shape:
            raise InvalidArgument(f"Tensor name: {name} has no shape information ")
        if count is not None and shape[0] != count:
            raise InvalidArgument(
                f"Tensor name: {name} has inconsistent batch size: {shape[0]} expecting: {count}"
            )
        count = shape[0]
    return count or 0


def _row_texts(name: str, array: Array, level: int) -> list[str]:
    shape = shape_of(array)
    return _inline(_element_texts(name, array, level + len(shape) - 1), shape)


def _row_object(columns: Sequence[tuple[str, list[str]]], row: int) -> str:
    pad = f"\n{INDENT * 3}"
    members = ",".join(f"{pad}{name}: {texts[row]}" for name, texts in columns)
    return f"\n{INDENT * 2}{{{members}\n{INDENT * 2}}}"


def _columns(outputs: Mapping[str, Array]) -> str:
    if len(outputs) == 1:
        ((name, array),) = outputs.items()
        body = _column_text(name, array, 1)
    else:
        pad = f"\n{INDENT * 2}"
        members = ",".join(
            f"{pad}{quoted(name)}: {_column_text(name, array, 2)}"
            for name, array in outputs.items()
        )
        body = f"{{{members}\n{INDENT}}}"
    return f'{{\n{INDENT}"outputs": {body}\n}}'


def _column_text(name: str, array: Array, level: int) -> str:
    shape = shape_of(array)
    texts = _element_texts(name, array, level + len(shape))
    for depth in reversed(range(len(shape))):
        pad, end = f"\n{INDENT * (level + depth + 1)}", f"\n{INDENT * (level + depth)}"
        texts = [
            f"[{pad}{f',{pad}'.join(chunk)}{end}]" if chunk else "[]"
            for chunk in _chunks(texts, shape, depth)
        ]
    return texts[0]


def _inline(texts: list[str], shape: tuple[int, ...]) -> list[str]:
    """The texts of all rows, each on one line."""
    for depth in reversed(range(1, len(shape))):
        texts = [f"[{', '.join(chunk)}]" for chunk in _chunks(texts, shape, depth)]
    return texts


def _chunks(texts: list[str], shape: tuple[int, ...], depth: int) -> list[list[str]]:
    """The texts of all lists at `depth`, from those of their elements."""
    size = shape[depth]
    return [texts[i * size : (i + 1) * size] for i in range(math.prod(shape[:depth]))]


def _element_texts(name: str, array: Array, level: int) -> list[str]:
    kind = array.dtype.name
    if kind in ("float32", "float64"):
        return number_texts(array)
    if kind in _INTEGERS:
        return list(map(str, array.reshape(-1).tolist()))
    if kind == "bool":
        return ["true" if value else "false" for value in array.reshape(-1).tolist()]
    if kind == "object":
        return _string_texts(array, level, as_bytes=name.endswith(_BYTES_SUFFIX))
    if not array.size:
        return []
    raise InvalidArgument(f"Failed to write JSON value for tensor type: {cpp_name(kind)}")


def _string_texts(array: Array, level: int, *, as_bytes: bool) -> list[str]:
    values: list[bytes] = array.reshape(-1).tolist()
    if not as_bytes:
        return [quoted(value.decode("utf-8", "surrogateescape")) for value in values]
    pad, end = f"\n{INDENT * (level + 1)}", f"\n{INDENT * level}"
    return [f'{{{pad}"b64": "{encode_b64(value)}"{end}}}' for value in values]
