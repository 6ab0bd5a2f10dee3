from __future__ import annotations

import json
import time

import numpy as np
import pytest

from serving.errors import InvalidArgument
from serving.json_reader import read

BLOCK = json.dumps([[0.5, 1.5]] * 500)


def test_a_large_block_of_numbers_becomes_an_array() -> None:
    """Nested lists that are regular are read in bulk."""
    block = read(f'{{"instances": {BLOCK}}}'.encode()).get("instances")
    assert isinstance(block, np.ndarray)
    assert block.shape == (500, 2)


def test_a_ragged_block_stays_lists() -> None:
    """As many numbers as the first row promises are not enough: every row must have as many."""
    text = json.dumps({"instances": [[1.5, 2.5]] * 500 + [[1.5], [2.5, 3.5, 4.5]]})
    rows = read(text.encode()).get("instances")
    assert isinstance(rows, list)
    assert rows[-1] == [2.5, 3.5, 4.5]


@pytest.mark.parametrize("zero", ["0e309", "0.0E+400"])
@pytest.mark.parametrize("numbers", ["[{zero}]", "[{zero}, {many}]", "[[{many}], [{zero}]]"])
def test_a_zero_with_a_huge_exponent_is_refused(numbers: str, zero: str) -> None:
    """RapidJSON refuses what simdjson reads as zero, alone and among many."""
    many = ", ".join(["0.5"] * 1000)
    text = numbers.replace("{zero}", zero).replace("{many}", many)
    with pytest.raises(InvalidArgument):
        read(f'{{"instances": {text}}}'.encode())


def test_text_that_looks_like_such_a_zero_is_text() -> None:
    """In a string the same characters mean nothing."""
    text = "0e309" * 1000
    assert read(json.dumps({"b64": text, "x": 0}).encode()).get("b64") == text


def nested(depth: int, last: str) -> bytes:
    """Many numbers and one thing more, this many lists deep."""
    return b'{"instances": %b}' % f"{'[' * depth}{'0.5,' * 50_000}{last}{']' * depth}".encode()


@pytest.mark.parametrize("depth", [700, 1500])
def test_lists_nested_deeply_are_read(depth: int) -> None:
    """However deep, a large body is read as a small one is."""
    value = read(nested(depth, "1")).get("instances")
    for _ in range(depth - 1):
        assert isinstance(value, list)
        (value,) = value
    assert len(value) == 50_001


def test_depth_costs_no_more_than_breadth() -> None:
    """The same numbers 290 lists deep do not take many times as long, which a client could make use of."""

    def seconds(text: bytes) -> float:
        start = time.process_time()
        read(text)
        return time.process_time() - start

    flat, deep = (min(seconds(nested(depth, '"a"')) for _ in range(3)) for depth in (1, 290))
    assert deep < 6 * flat
