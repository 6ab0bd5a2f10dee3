"""Read JSON exactly as the real server does: RapidJSON's grammar, leniencies and messages.

Accepted beyond RFC 8259: a UTF-8 byte order mark, `NaN`, `Inf`, `Infinity`, text after the first
document, bytes that are not UTF-8. Nesting of any depth is read without recursion.
Source: RapidJSON 1.1.0 with the flags Iterative, NanAndInf and StopWhenDone, and recorded answers.
"""

from __future__ import annotations

import math
import re
from typing import NoReturn

from serving.errors import InvalidArgument
from serving.json_values import JsonObject, JsonValue

_SPACE = re.compile(rb"[ \n\r\t]*")
_PLAIN = re.compile(rb'[^"\\\x00-\x1f]*')
_NUMBER = re.compile(rb"(-?(?:0|[1-9][0-9]*))(?:\.([0-9]+))?(?:[eE]([+-]?[0-9]+))?")
_NON_FINITE = re.compile(rb"(-?)(?:(NaN)|Inf(?:inity)?)")
_HEX4 = re.compile(rb"[0-9A-Fa-f]{4}")
_LITERALS = {b"t"[0]: (b"true", True), b"f"[0]: (b"false", False), b"n"[0]: (b"null", None)}
_ESCAPES = dict(zip(b'"/\\bfnrt', b'"/\\\b\f\n\r\t', strict=True))
_BYTE_ORDER_MARK = b"\xef\xbb\xbf"
_QUOTE, _BACKSLASH, _COMMA, _COLON = b'"'[0], b"\\"[0], b","[0], b":"[0]
_ARRAY, _ARRAY_END, _OBJECT, _OBJECT_END = b"[]{}"

_NO_NAME = "Missing a name for object member."
_NO_COLON = "Missing a colon after a name of object member."
_NO_BRACE = "Missing a comma or '}' after an object member."
_NO_BRACKET = "Missing a comma or ']' after an array element."
_BAD_VALUE = "Invalid value."
_BAD_ESCAPE = "Invalid escape character in string."
_BAD_HEX = "Incorrect hex digit after \\u escape in string."
_BAD_SURROGATE = "The surrogate pair in string is invalid."
_NO_QUOTE = "Missing a closing quotation mark in string."
_TOO_BIG = "Number too big to be stored in double."

_EXPONENT_MAX = 308
_SIGNIFICANT_DIGITS_MAX = 17
_INTEGER_LENGTH_MAX = 21


def read_exactly(text: bytes) -> JsonValue:
    """Read the first JSON document of `text`.

    Raises:
        InvalidArgument: it is not JSON; the message tells what and at which byte.
    """
    if not text:
        raise InvalidArgument("JSON Parse error: The document is empty")
    return _Reader(text).document()


class _Reader:
    def __init__(self, text: bytes) -> None:
        self.text = text
        self.position = len(_BYTE_ORDER_MARK) if text.startswith(_BYTE_ORDER_MARK) else 0
        self.open: list[list[JsonValue] | JsonObject] = []
        self.keys: list[str] = []

    def document(self) -> JsonValue:
        if self.skip_space() in (-1, _COMMA, _COLON, _ARRAY_END, _OBJECT_END):
            self.fail("The document is empty.")
        while True:
            value = self.value()
            if value is _OPENED:
                continue
            while self.open and not self.wants_more(value):
                value = self.open.pop()
            if not self.open:
                return value

    def value(self) -> JsonValue:
        """Read a scalar, or an empty container, or open a container that has something in it."""
        first = self.peek()
        if first == _QUOTE:
            return self.string()
        if first == _ARRAY:
            return self.open_array()
        if first == _OBJECT:
            return self.open_object()
        if first in _LITERALS:
            return self.literal(*_LITERALS[first])
        return self.number()

    def open_array(self) -> JsonValue:
        self.position += 1
        if self.skip_space() == _ARRAY_END:
            self.position += 1
            return []
        self.open.append([])
        return _OPENED

    def open_object(self) -> JsonValue:
        self.position += 1
        if self.skip_space() == _OBJECT_END:
            self.position += 1
            return JsonObject([])
        self.open.append(JsonObject([]))
        self.key()
        return _OPENED

    def key(self) -> None:
        if self.peek() != _QUOTE:
            self.fail(_NO_NAME)
        self.keys.append(self.string())
        if self.skip_space() != _COLON:
            self.fail(_NO_COLON)
        self.position += 1
        self.skip_space()

    def wants_more(self, value: JsonValue) -> bool:
        """Put a finished value into the innermost container; False when that ends with it."""
        container = self.open[-1]
        following = self.skip_space()
        if isinstance(container, JsonObject):
            container.members.append((self.keys.pop(), value))
            end, missing = _OBJECT_END, _NO_BRACE
        else:
            container.append(value)
            end, missing = _ARRAY_END, _NO_BRACKET
        if following not in (_COMMA, end):
            self.fail(missing)
        self.position += 1
        if following == end:
            return False
        self.skip_space()
        if isinstance(container, JsonObject):
            self.key()
        return True

    def string(self) -> str:
        self.position += 1
        parts = []
        while True:
            plain = _PLAIN.match(self.text, self.position)
            parts.append(plain[0] if plain else b"")
            self.position += len(parts[-1])
            following = self.peek()
            if following == _QUOTE:
                self.position += 1
                return b"".join(parts).decode("utf-8", "surrogateescape")
            if following != _BACKSLASH:
                self.fail(_NO_QUOTE if following in (-1, 0) else _BAD_ESCAPE)
            parts.append(self.escape())

    def escape(self) -> bytes:
        start = self.position
        self.position += 1
        letter = self.peek()
        if letter in _ESCAPES:
            self.position += 1
            return bytes([_ESCAPES[letter]])
        if letter != b"u"[0]:
            self.fail(_BAD_ESCAPE, start)
        code = self.hex4(start)
        if 0xD800 <= code <= 0xDBFF:
            if self.text[self.position : self.position + 2] != b"\\u":
                self.fail(_BAD_SURROGATE, start)
            self.position += 1
            low = self.hex4(start)
            if not 0xDC00 <= low <= 0xDFFF:
                self.fail(_BAD_SURROGATE, start)
            code = 0x10000 + ((code - 0xD800) << 10) + (low - 0xDC00)
        return chr(code).encode("utf-8", "surrogatepass")

    def hex4(self, start: int) -> int:
        digits = _HEX4.match(self.text, self.position + 1)
        if digits is None:
            self.fail(_BAD_HEX, start)
        self.position += 5
        return int(digits[0], 16)

    def literal(self, spelling: bytes, value: JsonValue) -> JsonValue:
        for letter in spelling:
            if self.peek() != letter:
                self.fail(_BAD_VALUE)
            self.position += 1
        return value

    def number(self) -> int | float:
        start = self.position
        match = _NUMBER.match(self.text, start)
        if match is None:
            return self.non_finite(start)
        self.position = match.end()
        whole, fraction, exponent = match.groups()
        self.check_number_ends(fraction, exponent)
        if fraction is None and exponent is None and len(whole) <= _INTEGER_LENGTH_MAX:
            value = int(whole)
            if -(2**63) <= value < 2**64:
                return value
        if _is_too_big(whole, fraction or b"", exponent or b"0"):
            self.fail(_TOO_BIG, start)
        return float(match[0])

    def check_number_ends(self, fraction: bytes | None, exponent: bytes | None) -> None:
        following = self.text[self.position : self.position + 1]
        if following == b"." and fraction is None and exponent is None:
            self.fail("Miss fraction part in number.", self.position + 1)
        if following in (b"e", b"E") and exponent is None:
            sign = self.text[self.position + 1 : self.position + 2] in (b"+", b"-")
            self.fail("Miss exponent in number.", self.position + 1 + sign)

    def non_finite(self, start: int) -> float:
        match = _NON_FINITE.match(self.text, start)
        if match is None:
            self.fail(_BAD_VALUE, start + self.text.startswith(b"-", start))
        self.position = match.end()
        if match[2]:
            return math.nan
        if self.peek() == b"i"[0]:
            self.fail(_BAD_VALUE)
        return -math.inf if match[1] else math.inf

    def skip_space(self) -> int:
        space = _SPACE.match(self.text, self.position)
        if space:
            self.position = space.end()
        return self.peek()

    def peek(self) -> int:
        return self.text[self.position] if self.position < len(self.text) else -1

    def fail(self, message: str, position: int | None = None) -> NoReturn:
        offset = self.position if position is None else position
        raise InvalidArgument(f"JSON Parse error: {message} at offset: {offset}")


_OPENED: JsonValue = []  # stands for "a container was opened": compared by identity only


def _is_too_big(whole: bytes, fraction: bytes, exponent: bytes) -> bool:
    """RapidJSON looks at the exponent, not at the value: `0e309` is too big, `1.8e308` is not."""
    whole = whole.lstrip(b"-0")
    if len(whole) > _EXPONENT_MAX and math.isinf(float(whole)):
        return True
    zeros = 0 if whole else len(fraction) - len(fraction.lstrip(b"0"))
    counted = zeros + _SIGNIFICANT_DIGITS_MAX - max(0, len(whole) - 1)
    return float(exponent) > _EXPONENT_MAX + max(0, min(len(fraction), counted))
