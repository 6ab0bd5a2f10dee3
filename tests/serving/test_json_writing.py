"""Writing JSON as the real server does."""

from __future__ import annotations

import json
import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from serving.errors import InvalidArgument
from serving.json_echo import echo
from serving.json_exact import read_exactly
from serving.json_numbers import number_texts
from serving.json_writer import classify_response, error_response, predict_response


@pytest.mark.parametrize(
    ("dtype", "value", "text"),
    [
        (np.float32, 0.1, "0.1"),
        (np.float32, 1 / 3, "0.333333343"),
        (np.float32, 9e6, "9e+06"),
        (np.float32, 999999, "999999.0"),
        (np.float32, 16777216, "16777216.0"),
        (np.float32, -0.0, "-0.0"),
        (np.float32, 3e-5, "3e-05"),
        (np.float64, 1 / 3, "0.33333333333333331"),
        (np.float64, 9007199254740993, "9007199254740992.0"),
        (np.float64, math.nan, "NaN"),
        (np.float64, -math.inf, "-Infinity"),
    ],
)
def test_numbers(dtype: type, value: float, text: str) -> None:
    """Floats have six digits if that is enough, else nine or seventeen, and always a point."""
    assert number_texts(np.array([value], dtype)) == [text]


@given(st.lists(st.floats(width=32) | st.integers(-(10**6), 10**6).map(lambda i: i / 1000)))
@settings(max_examples=300, deadline=None)
def test_float32_survives_its_text(values: list[float]) -> None:
    """What is written reads back as the same float32, and six digits are used where they do."""
    array = np.array(values, np.float32)
    texts = number_texts(array)
    back = np.array([float(text) for text in texts], np.float32)
    np.testing.assert_array_equal(back, array)
    for text, value in zip(texts, array, strict=True):
        if math.isfinite(value) and np.float32(f"{value:.6g}") == value:
            assert text.removesuffix(".0") == f"{value:.6g}"


def strings(*values: bytes) -> np.ndarray:
    """An array as the graph gives strings."""
    array = np.empty(len(values), object)
    array[:] = values
    return array


def test_rows() -> None:
    """One output is a value a row, several are an object a row."""
    one = predict_response({"y": np.array([[1, 2], [3, 4]])}, "row")
    assert one == b'{\n    "predictions": [[1, 2], [3, 4]\n    ]\n}'
    two = {"a": np.array([1.5, 2.5], np.float32), "b_bytes": strings(b"hi", b"\xff")}
    assert json.loads(predict_response(two, "row")) == {
        "predictions": [
            {"a": 1.5, "b_bytes": {"b64": "aGk="}},
            {"a": 2.5, "b_bytes": {"b64": "/w=="}},
        ]
    }


def test_rows_need_a_common_number() -> None:
    """Outputs without rows, or with different numbers of them, cannot be rows."""
    with pytest.raises(InvalidArgument, match="Tensor name: y has no shape information"):
        predict_response({"y": np.float32(1).reshape(())}, "row")
    with pytest.raises(InvalidArgument, match="b has inconsistent batch size: 1 expecting: 2"):
        predict_response({"a": np.zeros(2), "b": np.zeros(1)}, "row")


def test_columns() -> None:
    """Columns have each element on a line of its own, whatever the shapes."""
    assert predict_response({"y": np.array(5)}, "column") == b'{\n    "outputs": 5\n}'
    empty = {"a": np.zeros((0, 3)), "b": np.array([True])}
    assert json.loads(predict_response(empty, "column")) == {"outputs": {"a": [], "b": [True]}}


def test_types_that_json_cannot_carry() -> None:
    """Half and its like are refused by name."""
    with pytest.raises(InvalidArgument, match="Failed to write JSON value for tensor type: half"):
        predict_response({"y": np.zeros(2, np.float16)}, "row")


def test_strings_are_escaped_but_not_touched() -> None:
    """Quotes, backslashes and controls are escaped; other bytes stay, even if no UTF-8."""
    body = predict_response({"y": strings(b'"\\/\x1f\xc3\xa9\xff')}, "column")
    assert b'"\\"\\\\/\\u001F\xc3\xa9\xff"' in body
    assert error_response('a"b') == b'{\n    "error": "a\\"b"\n}'


def test_classes() -> None:
    """Each example is a list of label and score."""
    labels = strings(b"car", b"bus").reshape(1, 2)
    body = classify_response(labels, np.array([[0.5, 0.25]], np.float32))
    assert body == b'{\n    "results": [[["car", 0.5], ["bus", 0.25]]\n    ]\n}'


@pytest.mark.parametrize(
    ("text", "echoed"),
    [
        (
            b'{"a": [1, {"b": 2.0}], "c": {}}',
            '{\n    "a": [1, {\n            "b": 2.0\n        }],\n    "c": {}\n}',
        ),
        (b"1e2", "100.0"),
        (b"1.5e-7", "1.5e-7"),
        (b"1e30", "1e30"),
        (b"0.00001", "0.00001"),
        (b"-12345.678", "-12345.678"),
        (b"[1, NaN, 2]", "[1, "),
    ],
)
def test_echoes(text: bytes, echoed: str) -> None:
    """A value in a message is laid out as RapidJSON's writer does."""
    assert echo(read_exactly(text)) == echoed


def test_echoes_are_cut() -> None:
    """However large a value is, a message holds 256 characters of it."""
    assert echo(read_exactly(b"[" * 9999 + b"]" * 9999)) == "[" * 256
