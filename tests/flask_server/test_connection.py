from __future__ import annotations

import pytest

from flask_server.connection import request_length

HEAD = b"POST / HTTP/1.1\r\nHost: x\r\n"
LENGTH_10 = HEAD + b"Content-Length: 10\r\n\r\n"


@pytest.mark.parametrize(
    ("received", "length"),
    [
        (b"", None),
        (b"POST / HT", None),
        (HEAD, None),
        (HEAD + b"\r\n", len(HEAD) + 2),
        (LENGTH_10, len(LENGTH_10) + 10),
        (LENGTH_10 + b"123", len(LENGTH_10) + 10),
        (LENGTH_10.lower() + b"1234567890" + LENGTH_10, len(LENGTH_10) + 10),
        (LENGTH_10.replace(b"\r", b""), len(LENGTH_10) - 4 + 10),
        (HEAD + b"\r\nContent-Length: 10\r\n\r\n", len(HEAD) + 2),
    ],
)
def test_how_much_is_waited_for(received: bytes, length: int | None) -> None:
    """A request is whole with its head and as much of a body as its head announces."""
    assert request_length(received, most_body=100) == length


@pytest.mark.parametrize(
    "field",
    [
        b"Content-Length: 101",
        b"Content-Length: -1",
        b"Content-Length: x",
        b"Content-Length: " + b"9" * 30,
        b"Transfer-Encoding: chunked\r\nContent-Length: 9",
        b"expect: 100-continue\r\nContent-Length: 9",
    ],
)
def test_what_is_not_waited_for(field: bytes) -> None:
    """Too long a body, and one that only the parser understands, is left to the thread."""
    head = HEAD + field + b"\r\n\r\n"
    assert request_length(head + b"more", most_body=100) == len(head)


def test_a_head_without_end() -> None:
    """A head that goes on and on is handed to the parser, which refuses it."""
    endless = HEAD + b"A: b\r\n" * 20_000
    length = request_length(endless, most_body=100)
    assert length is not None
    assert length <= len(endless)
