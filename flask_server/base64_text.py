"""Base64 as browsers and phones really send it -> bytes."""

from __future__ import annotations

import binascii
import contextlib

import pybase64

from flask_server.errors import InvalidImage

_LEAST_WRAP = 16


def decode_base64(text: str | bytes) -> bytes:
    """Decode an image sent as text.

    A `data:` URL's head, the URL-safe alphabet, missing padding, white space, and a `+` that a form turned into a
    space are all taken.

    Raises:
        InvalidImage: It is not base64.
    """
    with contextlib.suppress(binascii.Error, ValueError):
        return pybase64.b64decode(text, validate=True)
    if isinstance(text, str):
        text = text.encode("utf-8", "replace")
    text = _without_data_url_head(text)
    with contextlib.suppress(binascii.Error, ValueError):
        return pybase64.b64decode(text, validate=True)
    return _decode_irregular(text)


def _without_data_url_head(text: bytes) -> bytes:
    """`data:image/png;base64,AAAA` -> `AAAA` (RFC 2397)."""
    start = text[:256].lstrip()
    if start[:5].lower() != b"data:":
        return text
    head, comma, _ = start.partition(b",")
    if not comma or not head.lower().endswith(b";base64"):
        raise InvalidImage("A data URL of an image must say ';base64,' before its data.")
    return text[text.index(b",") + 1 :]


def _decode_irregular(text: bytes) -> bytes:
    plain = _without_spaces(text).translate(bytes.maketrans(b"-_", b"+/")).rstrip(b"=")
    try:
        return pybase64.b64decode(plain + b"=" * (-len(plain) % 4), validate=True)
    except (binascii.Error, ValueError):
        raise InvalidImage("The image is not base64 text.") from None


def _without_spaces(text: bytes) -> bytes:
    """Remove white space, but read a space that stands for a `+` as that `+`.

    A form turns `+` into a space. Where only one of the two readings has a length that base64 can have, it is that
    one; otherwise lines of equal length joined by spaces are a wrapped text.
    """
    text = _without_line_breaks(text.lstrip())
    if b" " not in text:
        return text
    joined, plus = text.replace(b" ", b""), text.replace(b" ", b"+")
    if _fits(joined) != _fits(plus):
        return joined if _fits(joined) else plus
    return joined if _is_wrapped(text.split(b" ")) else plus


def _without_line_breaks(text: bytes) -> bytes:
    """Remove tabs and line breaks, and the spaces around these, in one walk a power of two.

    A regular expression would take a time that grows with the square of a hostile text's length.
    """
    text = text.translate(bytes.maketrans(b"\r", b"\n"), b"\t\v\f")
    size = 1 << len(text).bit_length() if b" " in text and b"\n" in text else 0
    while size:
        spaces = b" " * size
        text = text.replace(spaces + b"\n", b"\n").replace(b"\n" + spaces, b"\n")
        size //= 2
    return text.replace(b"\n", b"")


def _is_wrapped(pieces: list[bytes]) -> bool:
    length = len(pieces[0])
    return length >= _LEAST_WRAP and all(len(piece) == length for piece in pieces[:-1])


def _fits(text: bytes) -> bool:
    return len(text) % 4 == 0 if text.endswith(b"=") else len(text) % 4 != 1
