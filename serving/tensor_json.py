"""Rows or columns of JSON -> named arrays, accepted and refused as the real server does.

Shapes follow from the JSON alone: they are not compared with the signature, the graph decides.
Source of the rules: https://www.tensorflow.org/tfx/serving/api_rest#predict_api, and recorded
answers of the real server.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Literal

import numpy as np

from serving.deep_arrays import RANK_MAX, shape_of, shape_text, shaped
from serving.errors import InvalidArgument, ServingError
from serving.json_echo import echo
from serving.json_tensor import tensor_from
from serving.json_values import JsonObject, JsonValue, b64_text

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from serving.servable import Array, TensorSpec

    Specs = Mapping[str, TensorSpec]

Format = Literal["row", "column"]


def tensors_of(document: JsonObject, specs: Specs) -> tuple[Format, dict[str, Array]]:
    """Make the input tensors of a predict request.

    Args:
        document: the request's JSON.
        specs: the inputs of the signature.

    Returns:
        Whether the request came in rows or columns, and name -> array for every input.

    Raises:
        ServingError: the document does not fit the signature.
        NeedsExactValues: perhaps it does not, and holds blocks of numbers; read it without.
    """
    if "instances" in document:
        if "inputs" in document:
            raise InvalidArgument(
                f"JSON Value: {echo(document)} Not formatted correctly expecting only one of "
                "'inputs' or 'instances' keys to exist "
            )
        return "row", _from_rows(_rows(document), specs)
    if "inputs" in document:
        return "column", _from_columns(document.get("inputs"), specs)
    raise InvalidArgument("Missing 'inputs' or 'instances' key")


def _rows(document: JsonObject) -> Sequence[JsonValue] | Array:
    rows = document.get("instances")
    if not isinstance(rows, list | np.ndarray):
        message = f"JSON Value: {echo(document)} Expecting 'instances' to be an list/array"
        raise InvalidArgument(message)
    if not len(rows):
        raise InvalidArgument(f"JSON Value: {echo(document)} No values in 'instances' array")
    return rows


def _from_rows(rows: Sequence[JsonValue] | Array, specs: Specs) -> dict[str, Array]:
    if not isinstance(rows[0], JsonObject) and len(specs) > 1:
        raise InvalidArgument(
            "instances is a plain list, but expecting list of objects as multiple input tensors "
            "required as per tensorinfo_map"
        )
    if _has_names(rows[0]):
        return _from_named_rows(rows, specs)
    name, spec = next(iter(specs.items()))
    if isinstance(rows, np.ndarray):
        return {name: tensor_from(rows, name, spec.dtype)}
    return {name: _from_plain_rows(rows, name, spec.dtype)}


def _has_names(row: JsonValue) -> bool:
    return isinstance(row, JsonObject) and b64_text(row) is None


def _from_plain_rows(rows: Sequence[JsonValue], name: str, dtype: str) -> Array:
    if not any(map(_has_names, rows)):
        try:
            return tensor_from(list(rows), name, dtype)
        except ServingError:
            pass  # which row it is, the loop finds out
    column = _Column(name, dtype)
    for index, row in enumerate(rows):
        if _has_names(row):
            raise InvalidArgument(
                f"Expecting value/list but got object at item {index} of input list"
            )
        try:
            column.add(row)
        except ServingError as error:
            raise InvalidArgument(
                f"Failed to process element: {index} of 'instances' list. "
                f"Error: {error.status_text()}"
            ) from None
    return column.tensor(len(rows))


def _from_named_rows(rows: Sequence[JsonValue] | Array, specs: Specs) -> dict[str, Array]:
    columns = {name: _Column(name, spec.dtype) for name, spec in specs.items()}
    for index, row in enumerate(rows):
        if not isinstance(row, JsonObject) or not _has_names(row):
            raise InvalidArgument(f"Expecting object but got list at item {index} of input list")
        for name, value in row.members:
            _add_named(columns, index, name, value)
        if {name for name, _ in row.members} != specs.keys():
            raise InvalidArgument(
                f"Failed to process element: {index} of 'instances' list. "
                f"JSON object: {echo(row)} keys must be equal to: {','.join(sorted(specs))}"
            )
    return {name: column.tensor(len(rows)) for name, column in columns.items()}


def _add_named(columns: Mapping[str, _Column], index: int, name: str, value: JsonValue) -> None:
    try:
        if name not in columns:
            raise InvalidArgument(f"JSON object: does not have named input: {name}")
        columns[name].add(value)
    except ServingError as error:
        raise InvalidArgument(
            f"Failed to process element: {index} key: {name} of 'instances' list. "
            f"Error: {error.status_text()}"
        ) from None


class _Column:
    """The rows of one input, which must all have the shape of the first."""

    def __init__(self, name: str, dtype: str) -> None:
        self.name = name
        self.dtype = dtype
        self.rows: list[Array] = []

    def add(self, value: JsonValue) -> None:
        row = tensor_from(value, self.name, self.dtype)
        first = self.rows[0] if self.rows else row
        if row.size != first.size:
            raise InvalidArgument(f"Expecting tensor size: {first.size} but got: {row.size}")
        if shape_of(row) != shape_of(first):
            shapes = f"Expecting shape {shape_text(first)} but got: {shape_text(row)}"
            raise InvalidArgument(shapes)
        self.rows.append(row)

    def tensor(self, count: int) -> Array:
        """Put `count` rows together; a key given twice left more, and the first values count."""
        shape = (count, *shape_of(self.rows[0]))
        if len(shape) > RANK_MAX:
            raise InvalidArgument(f"tensor parsing error: {self.name}")
        return shaped(np.concatenate([row.reshape(-1) for row in self.rows[:count]]), shape)


def _from_columns(value: JsonValue, specs: Specs) -> dict[str, Array]:
    if isinstance(value, JsonObject) and _has_names(value):
        return {name: _from_column(value, name, spec.dtype) for name, spec in specs.items()}
    if len(specs) > 1:
        raise InvalidArgument(
            "inputs is a plain value/list, but expecting an object as multiple input tensors "
            "required as per tensorinfo_map"
        )
    name, spec = next(iter(specs.items()))
    return {name: tensor_from(value, name, spec.dtype)}


def _from_column(columns: JsonObject, name: str, dtype: str) -> Array:
    if name not in columns:
        raise InvalidArgument(f"Missing named input: {name} in 'inputs' object.")
    return tensor_from(columns.get(name), name, dtype)
