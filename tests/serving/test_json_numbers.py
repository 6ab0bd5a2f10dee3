from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from serving.json_numbers import number_texts

DIGITS = {np.float32: 9, np.float64: 17}


def one_by_one(number: np.floating) -> str:
    """Six digits if they read back equal, else as many as are always enough."""
    short = f"{float(number):.6g}"
    kind = type(number)
    text = short if kind(float(short)) == number else f"{float(number):.{DIGITS[kind]}g}"
    return text if "." in text or "e" in text else text + ".0"


@given(st.lists(st.floats(width=32, allow_nan=False, allow_infinity=False), min_size=1))
def test_every_float32_is_written_as_one_by_one(values: list[float]) -> None:
    """Looking at all numbers together finds the same texts as looking at each, subnormal ones too."""
    numbers = np.array(values, np.float32)
    assert number_texts(numbers) == [one_by_one(number) for number in numbers]


@given(st.lists(st.floats(allow_nan=False, allow_infinity=False), min_size=1))
def test_every_float64_is_written_as_one_by_one(values: list[float]) -> None:
    """The same holds for double precision."""
    numbers = np.array(values, np.float64)
    assert number_texts(numbers) == [one_by_one(number) for number in numbers]


@given(st.integers(0, 999_999), st.integers(-30, 30))
def test_what_six_digits_can_say_is_said_in_six(digits: int, exponent: int) -> None:
    """A float32 that came from six digits is never written with nine."""
    number = np.array([digits * 10.0**exponent], np.float32)
    assert number_texts(number) == [one_by_one(number[0])]


def test_what_is_no_number_in_json_is_written_bare() -> None:
    """NaN and infinities get the real server's names."""
    numbers = np.array([np.nan, np.inf, -np.inf], np.float32)
    assert number_texts(numbers) == ["NaN", "Infinity", "-Infinity"]


@pytest.mark.parametrize("count", [0, 1, 1000])
def test_there_is_a_text_for_every_number(count: int) -> None:
    """An empty array has no texts."""
    assert len(number_texts(np.linspace(0, 1, count, dtype=np.float32))) == count
