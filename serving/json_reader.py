"""Read a request's JSON fast where that cannot change the answer, and exactly everywhere else.

simdjson reads what is strict JSON; whatever it refuses goes to `json_exact`, which knows the real
server's leniencies and messages. Large rectangular blocks of numbers never become Python objects:
they are read as numpy arrays, after the text's brackets and commas have proven their shape.
"""

from __future__ import annotations

import contextlib
import math
import re
import threading
from typing import TYPE_CHECKING, Any, cast

import numpy as np
import simdjson

from serving.errors import InvalidArgument
from serving.json_echo import echo
from serving.json_exact import read_exactly
from serving.json_skeleton import skeleton_of_text, skeleton_of_value
from serving.json_values import JsonObject, JsonValue

if TYPE_CHECKING:
    from collections.abc import Iterator

    from serving.servable import Array

_BULK_FROM_BYTES = 2048
_BULK_RANK_MAX = 32  # numpy has no more than 64 dimensions
_DEPTH_MAX = 300
# RapidJSON refuses a zero with a huge exponent (`0e309`), simdjson does not. The first two are a
# quick look (each begins with one literal byte), the third is sure.
_BIG_EXPONENTS = (re.compile(rb"e\+?0*[1-9][0-9]{2}"), re.compile(rb"E\+?0*[1-9][0-9]{2}"))
_ZERO_WITH_BIG_EXPONENT = re.compile(rb"0[eE]\+?0*[1-9][0-9]{2}")

_local = threading.local()


class _Unusual(Exception):
    """The fast way is not sure of its answer."""


def read(text: bytes, *, in_bulk: bool = True) -> JsonObject:
    """Read a request's JSON document, which must be an object.

    Args:
        text: the request's body.
        in_bulk: whether large blocks of numbers may be given as arrays (int64 if every number
            was written as an integer, else float64).

    Raises:
        InvalidArgument: it is not JSON, or not an object.
    """
    try:
        value = _read_fast(text, in_bulk=in_bulk and len(text) >= _BULK_FROM_BYTES)
    except _Unusual:
        value = read_exactly(text)
    if not isinstance(value, JsonObject):
        raise InvalidArgument(f"JSON Value: {echo(value)} Is not object")
    return value


def _read_fast(text: bytes, *, in_bulk: bool) -> JsonValue:
    try:
        root = _parser().parse(text)
    except (ValueError, RuntimeError):  # simdjson's errors, UnicodeDecodeError among them
        del _local.parser  # one reason is that somebody still holds on to its last document
        raise _Unusual from None
    value = _value(root, 0, in_bulk=in_bulk)
    leaves = list(_leaves(value))
    if any(map(_holds_zero, leaves)) and _has_zero_with_big_exponent(text):
        raise _Unusual
    has_blocks = any(isinstance(leaf, np.ndarray) for leaf in leaves)
    if has_blocks and skeleton_of_value(value) != skeleton_of_text(text):
        return _value(root, 0, in_bulk=False)
    return value


def _leaves(value: JsonValue) -> Iterator[JsonValue]:
    """The scalars and blocks in a value; not by recursion, which costs each of them as much as it lies deep."""
    pending = [value]
    while pending:
        item = pending.pop()
        if isinstance(item, JsonObject):
            pending += [member for _, member in item.members]
        elif isinstance(item, list):
            pending += item
        else:
            yield item


def _holds_zero(leaf: JsonValue) -> bool:
    if isinstance(leaf, np.ndarray):
        return not leaf.all()
    return isinstance(leaf, int | float) and leaf == 0


def _has_zero_with_big_exponent(text: bytes) -> bool:
    looked = any(pattern.search(text) for pattern in _BIG_EXPONENTS)
    return looked and _ZERO_WITH_BIG_EXPONENT.search(text) is not None


def _parser() -> simdjson.Parser:
    if not hasattr(_local, "parser"):
        _local.parser = simdjson.Parser()
    parser: simdjson.Parser = _local.parser
    return parser


def _value(value: object, depth: int, *, in_bulk: bool) -> JsonValue:
    if isinstance(value, simdjson.Object):
        members = _members(value, depth)
        return JsonObject(
            [(key, _value(item, depth + 1, in_bulk=in_bulk)) for key, item in members]
        )
    if isinstance(value, simdjson.Array):
        # Each look reads all that lies below, so there must not be as many as somebody nests lists.
        block = _block(value) if in_bulk and depth <= _BULK_RANK_MAX else None
        if block is None:
            return [_value(item, depth + 1, in_bulk=in_bulk) for item in _items(value, depth)]
        return block
    return cast("bool | int | float | str | None", value)


def _items(value: simdjson.Array, depth: int) -> simdjson.Array:
    if depth > _DEPTH_MAX:
        raise _Unusual
    return value


def _members(value: simdjson.Object, depth: int) -> list[tuple[str, Any]]:
    keys = list(value.keys())
    if depth > _DEPTH_MAX or len(set(keys)) < len(keys) or any("\0" in key for key in keys):
        raise _Unusual  # of a key that is there twice, or holds a NUL, simdjson may give another's
    return [(key, value[key]) for key in keys]


def _block(array: simdjson.Array) -> Array | None:
    """The numbers of nested lists in the shape their first elements have, should they fill it."""
    flat = _numbers(array)
    if flat is None:
        return None
    shape: list[int] = []
    inner: object = array
    while isinstance(inner, simdjson.Array):
        shape.append(len(inner))
        inner = inner[0] if shape[-1] else None
    fits = len(shape) <= _BULK_RANK_MAX and flat.size == math.prod(shape)
    return flat.reshape(shape) if fits else None


def _numbers(array: simdjson.Array) -> Array | None:
    with contextlib.suppress(TypeError, ValueError):
        return np.frombuffer(array.as_buffer(of_type="i"), np.int64)
    with contextlib.suppress(TypeError, ValueError):
        return np.frombuffer(array.as_buffer(of_type="d"), np.float64)
    return None
