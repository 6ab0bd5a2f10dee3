"""Base64 as the real server reads and writes it (Abseil's `Base64Unescape` and `Base64Escape`)."""

from __future__ import annotations

import binascii
import re

import pybase64

from serving.errors import InvalidArgument

_SPACE = re.compile(rb"[ \t\n\v\f\r]+")
_TEXT = re.compile(rb"([A-Za-z0-9+/]*)([=.]*)")


def decode_b64(text: str) -> bytes:
    """Decode the standard alphabet; padding is optional, white space is skipped.

    Raises:
        InvalidArgument: it is not base64.
    """
    try:
        return pybase64.b64decode(text, validate=True)
    except (binascii.Error, ValueError):
        return _decode_leniently(text.encode("utf-8", "surrogateescape"))


def _decode_leniently(text: bytes) -> bytes:
    match = _TEXT.fullmatch(_SPACE.sub(b"", text))
    if match is None:
        raise InvalidArgument("Unable to base64 decode")
    digits, padding = match.groups()
    wanted = -len(digits) % 4
    if wanted == 3 or len(padding) not in (0, wanted):
        raise InvalidArgument("Unable to base64 decode")
    return pybase64.b64decode(digits + b"=" * wanted)


def encode_b64(data: bytes) -> str:
    """Encode with the standard alphabet and padding."""
    return pybase64.b64encode(data).decode("ascii")
