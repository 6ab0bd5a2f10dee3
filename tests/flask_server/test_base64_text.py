from __future__ import annotations

import base64
import random

import pytest
from hypothesis import given
from hypothesis import strategies as st

from flask_server.base64_text import decode_base64
from flask_server.errors import InvalidImage

PLUSSES = b"GIF" + bytes.fromhex("fbefbe") * 40 + b"\xfb\xef"


@given(st.binary(max_size=200))
def test_plain_and_url_safe(data: bytes) -> None:
    """What was encoded comes back, in both alphabets, with and without padding or a data URL's head."""
    for text in (base64.b64encode(data).decode(), base64.urlsafe_b64encode(data).decode()):
        assert decode_base64(text) == data
        assert decode_base64(text.rstrip("=")) == data
        assert decode_base64(f"data:image/png;base64,{text}") == data
        assert decode_base64(f"  DATA:;base64,{text}\n") == data


@given(st.binary(min_size=1, max_size=300))
def test_lines(data: bytes) -> None:
    """Line breaks, tabs and indented lines are ignored."""
    text = base64.encodebytes(data).decode()
    for broken in (text, text.replace("\n", "\r\n"), text.replace("\n", "\n    "), f"\t{text}\t"):
        assert decode_base64(broken) == data


@given(st.binary(min_size=1, max_size=300))
def test_plus_signs_that_became_spaces(data: bytes) -> None:
    """A padded text whose plus signs a form turned into spaces comes back, unless spaces stand in equal distances."""
    text = base64.b64encode(data + b"\x00" * (1 + -len(data) % 3)).decode()
    pieces = text.split("+")
    # Leading spaces are taken for indentation: no format of images begins with what a leading plus sign stands for.
    if len({len(piece) for piece in pieces[:-1]}) != 1 and not text.startswith("+"):
        assert decode_base64(text.replace("+", " ")) == base64.b64decode(text)


def test_many_plus_signs_that_became_spaces() -> None:
    """Even a text that is mostly plus signs."""
    text = base64.b64encode(PLUSSES).decode()
    assert text.count("+") > 40
    assert decode_base64(text.replace("+", " ")) == PLUSSES


def test_lines_joined_by_spaces() -> None:
    """A wrapped text whose line breaks became spaces is read without them."""
    data = random.Random(1).randbytes(1000)
    for length in (60, 64, 76):
        text = base64.b64encode(data).decode()
        lines = [text[start : start + length] for start in range(0, len(text), length)]
        assert decode_base64(" ".join(lines)) == data


@pytest.mark.timeout(20)
@pytest.mark.parametrize("filling", [b" ", b" \n", b"\n ", b"\t \r\n", b" A"])
def test_hostile_white_space_takes_no_time(filling: bytes) -> None:
    """A megabyte of white space is refused at once; it took hours when the time grew with the square of its length."""
    with pytest.raises(InvalidImage):
        decode_base64(b"A" + filling * (2**20 // len(filling)) + b"!")


@pytest.mark.parametrize(
    "text",
    ["?", "A", "AAAAA", "A=A", "é", "data:image/png,AAAA", "data:", "AAAA\x00", "data:;base64"],
)
def test_what_is_not_base64(text: str) -> None:
    """Anything else is an invalid image."""
    with pytest.raises(InvalidImage):
        decode_base64(text)
