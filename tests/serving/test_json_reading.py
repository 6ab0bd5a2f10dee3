"""Reading JSON: exactly, and fast without ever another answer."""

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
from serving.json_reader import read
from serving.json_values import JsonObject, JsonValue


def members(**values: JsonValue) -> JsonObject:
    """An object."""
    return JsonObject(list(values.items()))


@pytest.mark.parametrize(
    ("text", "value"),
    [
        (b'\xef\xbb\xbf{"a": 1} trailing', members(a=1)),
        (b'{"a": -0}', members(a=0)),
        (b"[Inf, -Infinity]", [math.inf, -math.inf]),
        (b"1.8e308", math.inf),
        (b"1e-400", 0.0),
        (b"18446744073709551615", 2**64 - 1),
        (b"18446744073709551616", 2.0**64),
        (rb'"\u00e9\ud83d\ude00\n\/"', "é😀\n/"),
        (b'"a\xffb"', "a\udcffb"),
        (b"[[], {}, null, true, false]", [[], JsonObject([]), None, True, False]),
    ],
)
def test_leniencies(text: bytes, value: JsonValue) -> None:
    """What RapidJSON takes beyond the standard is taken, and means the same."""
    assert read_exactly(text) == value


def test_duplicate_keys_are_kept_and_the_first_counts() -> None:
    """An object keeps every member it was written with; asked for a name, it gives the first."""
    document = read(b'{"a": 1, "a": 2}')
    assert document.members == [("a", 1), ("a", 2)]
    assert document.get("a") == 1


@pytest.mark.parametrize(
    ("text", "message"),
    [
        (b"", "The document is empty"),
        (b"  \n", "The document is empty. at offset: 3"),
        (b"]", "The document is empty. at offset: 0"),
        (b"[1,]", "Invalid value. at offset: 3"),
        (b"[nan]", "Invalid value. at offset: 2"),
        (b"[-]", "Invalid value. at offset: 2"),
        (b'{"a" 1}', "Missing a colon after a name of object member. at offset: 5"),
        (b'{"a": 1,}', "Missing a name for object member. at offset: 8"),
        (b'{"a": 1', "Missing a comma or '}' after an object member. at offset: 7"),
        (b"[01]", "Missing a comma or ']' after an array element. at offset: 2"),
        (b"[1.]", "Miss fraction part in number. at offset: 3"),
        (b"[1e+]", "Miss exponent in number. at offset: 4"),
        (b"[ 1e309]", "Number too big to be stored in double. at offset: 2"),
        (b"[0e309]", "Number too big to be stored in double. at offset: 1"),
        (b'["a', "Missing a closing quotation mark in string. at offset: 3"),
        (b'["\x01"]', "Invalid escape character in string. at offset: 2"),
        (rb'["ab\x"]', "Invalid escape character in string. at offset: 4"),
        (rb'["\u00g0"]', "Incorrect hex digit after \\u escape in string. at offset: 2"),
        (rb'["\ud800"]', "The surrogate pair in string is invalid. at offset: 2"),
    ],
)
def test_messages(text: bytes, message: str) -> None:
    """Mistakes are told with RapidJSON's words and offsets."""
    with pytest.raises(InvalidArgument) as refused:
        read(text)
    assert refused.value.message == f"JSON Parse error: {message}"


@pytest.mark.parametrize("depth", [300, 5000, 500_000])
def test_nesting_of_any_depth_is_read(depth: int) -> None:
    """Brackets by the hundred thousand neither crash nor refuse."""
    document = read(b'{"a": 1, "deep": ' + b"[" * depth + b"]" * depth + b"}")
    assert document.get("a") == 1


@pytest.mark.parametrize("digits", [400, 5000])
def test_endless_numbers(digits: int) -> None:
    """Numbers longer than any integer type are doubles, or too big."""
    assert read_exactly(b"0." + b"1" * digits) == pytest.approx(1 / 9)
    with pytest.raises(InvalidArgument, match="Number too big"):
        read_exactly(b"1" * digits)
    with pytest.raises(InvalidArgument, match="Number too big"):
        read_exactly(b"1e" + b"9" * digits)


scalars = (
    st.none()
    | st.booleans()
    | st.integers(-(2**70), 2**70)
    | st.floats(allow_nan=False)
    | st.text(max_size=5)
)
documents = st.recursive(
    scalars,
    lambda inner: (
        st.lists(inner, max_size=4) | st.dictionaries(st.text(max_size=3), inner, max_size=3)
    ),
    max_leaves=20,
)
words = rb'"a": "a" 1 -0 0e309 1.5 [ ] { } , NaN 1e5 "\u0041" "\u0000" 2e400 true "\ud800"'.split()
bits = st.sampled_from([*words, b" ", b"\xff", b"\x00", b'"\xc3\xa9"'])


def outcome(text: bytes, *, exactly: bool, in_bulk: bool = False) -> str:
    """What reading gives, or the message."""
    try:
        value = read_exactly(text) if exactly else read(text, in_bulk=in_bulk)
    except InvalidArgument as refused:
        return refused.message
    return (
        repr(value) if isinstance(value, JsonObject) else f"JSON Value: {echo(value)} Is not object"
    )


@given(documents)
@settings(max_examples=300, deadline=None)
def test_fast_and_exact_agree_on_json(document: object) -> None:
    """Any JSON object is the same, whichever way it is read."""
    text = json.dumps({"a": document}, allow_nan=False).encode() if _finite(document) else b"{}"
    assert outcome(text, exactly=False) == outcome(text, exactly=True)


@given(st.lists(bits, max_size=12).map(b"".join))
@settings(max_examples=500, deadline=None)
def test_fast_and_exact_agree_on_rubbish(text: bytes) -> None:
    """Anything else is the same too, or refused with the same words."""
    for body in (text, b'{"a":' + text + b"}"):
        assert outcome(body, exactly=False) == outcome(body, exactly=True)


def _finite(value: object) -> bool:
    if isinstance(value, float):
        return math.isfinite(value)
    if isinstance(value, dict):
        return all(map(_finite, value.values()))
    return all(map(_finite, value)) if isinstance(value, list) else True


def listed(value: JsonValue) -> object:
    """A value with its blocks as lists."""
    if isinstance(value, np.ndarray):
        return value.tolist()
    if isinstance(value, JsonObject):
        return [(key, listed(item)) for key, item in value.members]
    return [listed(item) for item in value] if isinstance(value, list) else value


numbers = st.integers(-5, 5) | st.floats(-1, 1)
ragged = st.recursive(numbers, lambda inner: st.lists(inner, min_size=1, max_size=4), max_leaves=30)


@given(ragged, st.booleans())
@settings(max_examples=300, deadline=None)
def test_blocks_of_numbers_have_the_shape_they_were_written_in(value: object, named: bool) -> None:
    """Read in bulk or one by one, lists hold the same numbers in the same places."""
    rows = [{"x": value, "y": "[,]"}, {"x": value, "y": "{"}] if named else value
    padding = "[" * 30
    text = json.dumps({"pad": padding * 100, "instances": rows}).encode()
    assert listed(read(text)) == listed(read(text, in_bulk=False))


def test_a_rectangular_block_is_an_array() -> None:
    """A large list of lists of numbers comes as one array: int64 when all are integers."""
    image = np.arange(30 * 40 * 3).reshape(1, 30, 40, 3)
    block = read(json.dumps({"instances": image.tolist()}).encode()).get("instances")
    assert isinstance(block, np.ndarray)
    assert block.dtype == np.int64
    np.testing.assert_array_equal(block, image)


def test_a_list_with_as_many_numbers_but_another_shape_is_no_array() -> None:
    """Ragged lists whose sizes happen to multiply out are told apart."""
    rows = [[1.5] * 600, [1.5] * 599, [1.5] * 601]
    assert isinstance(read(json.dumps({"instances": rows}).encode()).get("instances"), list)
