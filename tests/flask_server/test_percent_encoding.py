from __future__ import annotations

from urllib.parse import quote, unquote_to_bytes

from hypothesis import example, given
from hypothesis import strategies as st

from flask_server.percent_encoding import unescaped


@given(st.binary(max_size=100))
def test_what_was_escaped_comes_back(data: bytes) -> None:
    """Every byte survives escaping."""
    assert unescaped(quote(data, safe="").encode()) == data


@given(st.text("%0aF+/", max_size=12).map(str.encode))
@example(b"%")
@example(b"%4")
@example(b"%%41")
@example(b"%zz%41")
def test_agrees_with_the_standard_library(text: bytes) -> None:
    """Broken escapes are left as urllib leaves them."""
    assert unescaped(text) == unquote_to_bytes(text)
