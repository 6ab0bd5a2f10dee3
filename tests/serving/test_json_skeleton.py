from __future__ import annotations

import json

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from serving.json_reader import read
from serving.json_skeleton import skeleton_of_text, skeleton_of_value

OF_NUMBERS = b"0123456789.+-/eE \t\r\n"


@given(st.binary(max_size=40), st.lists(st.sampled_from([b"[", b"1.5, ", b"-2e-7", b"],[", b"\n"])))
def test_whatever_is_of_numbers_is_left_out_and_nothing_else(
    odd: bytes, usual: list[bytes]
) -> None:
    """Any bytes in any alignment: those of numbers go, the others stay in their order."""
    text = odd.join([b"".join(usual), b"".join(reversed(usual)), b""])
    assert skeleton_of_text(text) == text.translate(None, OF_NUMBERS)


def test_a_text_of_many_chunks_keeps_its_order() -> None:
    """A megabyte of floats has the skeleton of the block that was read from it, and one bracket more has not."""
    block = np.random.default_rng(1).random((1, 150, 150, 3))
    text = json.dumps({"a/b": "x", "instances": block.tolist()}).encode()
    assert len(text) > 1_000_000
    assert skeleton_of_text(text) == skeleton_of_value(read(text))
    assert skeleton_of_text(text[:-1] + b"]}") != skeleton_of_value(read(text))
