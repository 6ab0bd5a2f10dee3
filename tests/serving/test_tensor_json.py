"""Rows and columns of JSON become named arrays."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING

import numpy as np
import pytest

from serving.deep_arrays import shape_of
from serving.errors import Code, ServingError
from serving.json_reader import read
from serving.json_values import NeedsExactValues
from serving.tensor_json import Format, tensors_of
from tests.serving.toy import spec

if TYPE_CHECKING:
    from serving.servable import Array

ONE = {"x": spec()}
TWO = {"a": spec("int32"), "b": spec("string")}


def convert(body: object, specs: dict, *, text: bytes = b"") -> tuple[Format, dict[str, Array]]:
    """Convert a document, given as a value or as text."""
    text = text or json.dumps(body).encode()
    try:
        return tensors_of(read(text), specs)
    except NeedsExactValues:
        return tensors_of(read(text, in_bulk=False), specs)


def refused(body: object, specs: dict) -> ServingError:
    """The error that a document meets."""
    with pytest.raises(ServingError) as error:
        convert(body, specs)
    return error.value


def test_rows_of_one_input() -> None:
    """Plain values, lists, or objects with the input's name: rows in front."""
    for rows in ([[1, 2], [3, 4]], [{"x": [1, 2]}, {"x": [3, 4]}]):
        layout, tensors = convert({"instances": rows}, ONE)
        assert layout == "row"
        np.testing.assert_array_equal(tensors["x"], np.array([[1, 2], [3, 4]], np.float32))
        assert tensors["x"].dtype == np.float32


def test_rows_of_several_inputs() -> None:
    """Each row is an object; strings may be base64."""
    rows = [{"a": 1, "b": "hi"}, {"b": {"b64": "aGk="}, "a": 2}]
    _, tensors = convert({"instances": rows}, TWO)
    assert tensors["a"].tolist() == [1, 2]
    assert tensors["b"].tolist() == [b"hi", b"hi"]


def test_columns() -> None:
    """Each input has its own shape; names that the signature lacks are ignored."""
    layout, tensors = convert({"inputs": {"a": [[1]], "b": {"b64": ""}, "c": None}}, TWO)
    assert layout == "column"
    assert tensors["a"].shape == (1, 1)
    assert tensors["b"].tolist() == b""
    _, tensors = convert({"inputs": []}, ONE)
    assert tensors["x"].shape == (0,)


@pytest.mark.parametrize(
    ("body", "specs", "message"),
    [
        ({}, ONE, "Missing 'inputs' or 'instances' key"),
        ({"instances": []}, ONE, "No values in 'instances' array"),
        ({"instances": 1}, ONE, "Expecting 'instances' to be an list/array"),
        ({"instances": [1], "inputs": 1}, ONE, "expecting only one of 'inputs' or 'instances'"),
        ({"instances": [[1]]}, TWO, "instances is a plain list"),
        ({"inputs": [1]}, TWO, "inputs is a plain value/list"),
        ({"inputs": {"a": [1]}}, TWO, "Missing named input: b in 'inputs' object."),
        ({"instances": [{"a": 1}]}, TWO, "keys must be equal to: a,b"),
        ({"instances": [{"c": 1}]}, TWO, "JSON object: does not have named input: c"),
        ({"instances": [1, {"x": 1}]}, ONE, "Expecting value/list but got object at item 1"),
        ({"instances": [{"x": 1}, 1]}, ONE, "Expecting object but got list at item 1"),
        ({"instances": [[1], [1, 2]]}, ONE, "element: 1 of 'instances' list. Error: INVALID_ARGUMENT: Expecting tensor size: 1 but got: 2"),
        ({"instances": [[1], [[1]]]}, ONE, "Expecting shape [1] but got: [1,1]"),
        ({"inputs": [[1, 2], [3]]}, ONE, "Encountered list at unexpected size: 1 at level: 1"),
        ({"inputs": [1, [2]]}, ONE, "Encountered list at unexpected level: 1 expected < 1"),
        ({"inputs": [[1], 2]}, ONE, "JSON Value: 2 found at incorrect level: 2"),
        ({"inputs": [True]}, ONE, "JSON Value: true Type: True is not of expected type: float"),
        ({"inputs": {"a": 1.0, "b": ""}}, TWO, "JSON Value: 1.0 Type: Number is not of expected type: int32"),
        ({"inputs": {"a": 1, "b": {"b64": "@"}}}, TWO, "Unable to base64 decode"),
    ],
)  # fmt: skip
def test_refusals(body: object, specs: dict, message: str) -> None:
    """What does not fit is refused in the real server's words."""
    error = refused(body, specs)
    assert message in error.message
    assert error.code is Code.INVALID_ARGUMENT


@pytest.mark.parametrize(
    ("dtype", "low", "high"),
    [("int32", -(2**31), 2**31 - 1), ("int64", -(2**63), 2**63 - 1), ("uint64", 0, 2**64 - 1)],
)
def test_integers_are_exact_within_their_range(dtype: str, low: int, high: int) -> None:
    """The range of the type is taken exactly, one beyond is refused, in bulk or not."""
    for times in (1, 500):
        _, tensors = convert({"inputs": [low, high] * times}, {"x": spec(dtype)})
        assert tensors["x"].tolist() == [low, high] * times
        for beyond in (low - 1, high + 1):
            error = refused({"inputs": [low, high] * times + [beyond]}, {"x": spec(dtype)})
            assert f"is not of expected type: {dtype}" in error.message


def test_a_fraction_in_a_large_block_of_integers_is_named() -> None:
    """A message tells the offending number as it was written, however large the request."""
    error = refused({"instances": [[1] * 2000, [1] * 1999 + [1.5]]}, {"x": spec("int32")})
    assert "element: 1 of 'instances'" in error.message
    assert "JSON Value: 1.5 Type: Number is not of expected type: int32" in error.message


def test_narrow_integers_wrap() -> None:
    """Types narrower than int32 take any int32 and wrap, as C++ does."""
    _, tensors = convert({"inputs": [300, -129]}, {"x": spec("int8")})
    assert tensors["x"].tolist() == [44, 127]


def test_types_that_json_cannot_carry() -> None:
    """A half is 501 in columns, and wrapped as 400 in rows."""
    assert refused({"inputs": [1]}, {"x": spec("half")}).code is Code.UNIMPLEMENTED
    assert refused({"instances": [1]}, {"x": spec("half")}).code is Code.INVALID_ARGUMENT


def test_a_key_given_twice_shifts_the_rows() -> None:
    """As in the real server, both values are collected and the first ones count."""
    text = b'{"instances": [{"a": 1, "a": 5, "b": ""}, {"a": 3, "b": ""}]}'
    _, tensors = convert(None, TWO, text=text)
    assert tensors["a"].tolist() == [1, 5]


@pytest.mark.parametrize(("depth", "fits"), [(64, True), (254, True), (255, False)])
def test_rank(depth: int, fits: bool) -> None:  # a parameter of the test
    """Up to TensorFlow's 254 dimensions, which is more than numpy has."""
    text = b'{"inputs": ' + b"[" * depth + b"1" + b"]" * depth + b"}"
    if fits:
        assert shape_of(convert(None, ONE, text=text)[1]["x"]) == (1,) * depth
    else:
        with pytest.raises(ServingError, match="tensor parsing error: x"):
            convert(None, ONE, text=text)
