"""Write a JSON value into an error message, as the real server does: pretty, and cut short."""

from __future__ import annotations

import contextlib
import math
from decimal import Decimal
from typing import TYPE_CHECKING

import numpy as np
import orjson

from serving.json_values import JsonObject, NeedsExactValues

if TYPE_CHECKING:
    from collections.abc import Iterator

    from serving.json_values import JsonValue

_LENGTH_MAX = 256
INDENT = "    "
_PLAIN_DIGITS_MAX = 21
_PLAIN_POINT_MIN = -6
_CONTROLS = {i: f"\\u{i:04X}" for i in range(32)} | {
    ord(char): f"\\{letter}" for char, letter in zip('\b\f\n\r\t"\\', 'bfnrt"\\', strict=True)
}


def echo(value: JsonValue) -> str:
    """The first 256 characters of a value, lists on one line, objects indented.

    Raises:
        NeedsExactValues: it holds a block of numbers.
    """
    parts: list[str] = []
    length = 0
    with contextlib.suppress(_CannotGoOn):
        for part in _nested(value, 1):
            parts.append(part)
            length += len(part)
            if length >= _LENGTH_MAX:
                break
    return "".join(parts)[:_LENGTH_MAX]


def quoted(text: str) -> str:
    """A JSON string: quotes, backslashes and control characters escaped, all else as it is."""
    return f'"{text.translate(_CONTROLS)}"'


class _CannotGoOn(Exception):
    """RapidJSON's writer stops at a number that is not finite."""


def _nested(value: JsonValue, level: int) -> Iterator[str]:
    if isinstance(value, JsonObject):
        yield from _object(value, level)
    elif isinstance(value, np.ndarray):
        raise NeedsExactValues
    elif isinstance(value, list):
        yield "["
        for index, item in enumerate(value):
            yield ", " if index else ""
            yield from _nested(item, level + 1)
        yield "]"
    else:
        yield _scalar(value)


def _object(value: JsonObject, level: int) -> Iterator[str]:
    yield "{"
    for index, (key, item) in enumerate(value.members):
        yield f"{',' if index else ''}\n{INDENT * level}{quoted(key)}: "
        yield from _nested(item, level + 1)
    if value.members:
        yield f"\n{INDENT * (level - 1)}"
    yield "}"


def _scalar(value: JsonValue) -> str:
    if isinstance(value, str):
        return quoted(value[:_LENGTH_MAX])
    if isinstance(value, float):
        if not math.isfinite(value):
            raise _CannotGoOn
        return _shortest(value)
    return orjson.dumps(value).decode()


def _shortest(value: float) -> str:
    """The shortest text that reads back equal, laid out as RapidJSON does (`100.0`, `1e30`)."""
    sign, digits, exponent = Decimal(repr(value)).normalize().as_tuple()
    text, shift = "".join(map(str, digits)), int(exponent)
    point = len(text) + shift
    if value == 0:
        text = "0.0"
    elif shift >= 0 and point <= _PLAIN_DIGITS_MAX:
        text += "0" * shift + ".0"
    elif 0 < point <= _PLAIN_DIGITS_MAX:
        text = f"{text[:point]}.{text[point:]}"
    elif _PLAIN_POINT_MIN < point <= 0:
        text = f"0.{'0' * -point}{text}"
    else:
        text = f"{text[0]}{'.' if text[1:] else ''}{text[1:]}e{point - 1}"
    return "-" * sign + text
