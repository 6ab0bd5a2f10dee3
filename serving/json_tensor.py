"""One JSON value -> one array of a given type; ragged lists and wrong types are refused.

What is regular is converted level by level in bulk. Only a value that is not is walked element by
element, depth first, to name the first mistake as the real server does.
"""

from __future__ import annotations

from itertools import chain
from typing import TYPE_CHECKING, cast

import numpy as np

from serving.b64 import decode_b64
from serving.deep_arrays import RANK_MAX, shaped
from serving.errors import InvalidArgument, Unimplemented
from serving.json_echo import echo
from serving.json_values import JsonObject, JsonValue, NeedsExactValues, b64_text, type_name

if TYPE_CHECKING:
    from collections.abc import Sequence

    from serving.servable import Array


_FLOATS: dict[str, type[np.generic]] = {"float": np.float32, "double": np.float64}
# No number can be written of these, but none can: numpy knows bfloat16 as soon as TensorFlow is there.
_NOT_IN_JSON = {
    "half": "float16",
    "bfloat16": "bfloat16",
    "complex64": "complex64",
    "complex128": "complex128",
}
_INT32 = range(-(2**31), 2**31)
# The narrow types take any int32 and wrap, as C++ does.
_INTEGERS: dict[str, tuple[type[np.generic], range]] = {
    "int8": (np.int8, _INT32),
    "int16": (np.int16, _INT32),
    "uint8": (np.uint8, _INT32),
    "int32": (np.int32, _INT32),
    "int64": (np.int64, range(-(2**63), 2**63)),
    "uint32": (np.uint32, range(2**32)),
    "uint64": (np.uint64, range(2**64)),
}


def tensor_from(value: JsonValue, name: str, dtype: str) -> Array:
    """Make a tensor: numbers as they are, strings and `{"b64": …}` as an object array of bytes.

    Args:
        value: a scalar, or lists nested to the tensor's rank.
        name: the input's name, for messages.
        dtype: TensorFlow's name of the type.

    Raises:
        InvalidArgument: ragged lists, wrong types, more dimensions than TensorFlow has.
        Unimplemented: JSON cannot carry this type.
        NeedsExactValues: `value` holds a block and is wrong, perhaps; read it again without.
    """
    if isinstance(value, np.ndarray):
        return _from_block(value, dtype)
    shape = _shape(value)
    if len(shape) > RANK_MAX:
        raise InvalidArgument(f"tensor parsing error: {name}")
    leaves = _flattened(value, shape)
    array = None if leaves is None else _from_leaves(leaves, dtype)
    if array is None:
        _refuse(value, shape, 0, dtype)
        raise AssertionError("what cannot be converted has a mistake")
    return shaped(array, shape)


def _shape(value: JsonValue) -> tuple[int, ...]:
    sizes = []
    while isinstance(value, list):
        sizes.append(len(value))
        value = value[0] if value else None
    return tuple(sizes)


def _flattened(value: JsonValue, shape: tuple[int, ...]) -> list[JsonValue] | None:
    """The scalars of a rectangular value in order; None if a list is missing or of another size."""
    level: list[JsonValue] = [value]
    for size in shape:
        if not set(map(type, level)) <= {list} or not set(map(len, level)) <= {size}:  # type: ignore[arg-type]
            return None
        level = list(chain.from_iterable(level))  # type: ignore[arg-type]
    return level


def _from_leaves(leaves: Sequence[JsonValue], dtype: str) -> Array | None:
    kinds = set(map(type, leaves))
    if not leaves and dtype in _NOT_IN_JSON:
        return np.empty(0, _NOT_IN_JSON[dtype])
    if dtype in _FLOATS and kinds <= {int, float}:
        return _narrowed(np.array(leaves, np.float64), _FLOATS[dtype])
    if dtype in _INTEGERS and kinds <= {int}:
        return _integers(leaves, *_INTEGERS[dtype])
    if dtype == "bool" and kinds <= {bool}:
        return np.array(leaves, np.bool_)
    if dtype == "string" and kinds <= {str, JsonObject}:
        return _strings(leaves)
    return None


def _narrowed(numbers: Array, dtype: type[np.generic]) -> Array:
    with np.errstate(over="ignore"):  # beyond float32 is infinity
        return numbers.astype(dtype)


def _integers(leaves: Sequence[JsonValue], dtype: type[np.generic], allowed: range) -> Array | None:
    numbers = cast("Sequence[int]", leaves)
    if numbers and not (min(numbers) in allowed and max(numbers) in allowed):
        return None
    return np.array(numbers, np.uint64 if allowed.start == 0 else np.int64).astype(dtype)


def _strings(leaves: Sequence[JsonValue]) -> Array | None:
    array = np.empty(len(leaves), object)
    for index, leaf in enumerate(leaves):
        if isinstance(leaf, str):
            array[index] = leaf.encode("utf-8", "surrogateescape")
            continue
        text = b64_text(leaf)
        if text is None:
            return None
        array[index] = decode_b64(text)
    return array


def _from_block(block: Array, dtype: str) -> Array:
    if dtype in _FLOATS:
        return _narrowed(block, _FLOATS[dtype])
    if dtype in _INTEGERS and block.dtype == np.int64:
        target, allowed = _INTEGERS[dtype]
        if block.size == 0 or (int(block.min()) in allowed and int(block.max()) in allowed):
            return block.astype(target)
    raise NeedsExactValues


def _refuse(value: JsonValue, shape: tuple[int, ...], level: int, dtype: str) -> None:
    if isinstance(value, np.ndarray):
        raise NeedsExactValues
    if not isinstance(value, list):
        if level != len(shape):
            raise InvalidArgument(
                f"JSON Value: {echo(value)} found at incorrect level: {level + 1} in the JSON DOM. "
                f"Expected at level: {len(shape)}"
            )
        _refuse_leaf(value, dtype)
        return
    if level >= len(shape):
        raise InvalidArgument(
            f"Encountered list at unexpected level: {level} expected < {len(shape)}"
        )
    if len(value) != shape[level]:
        raise InvalidArgument(
            f"Encountered list at unexpected size: {len(value)} at level: {level} "
            f"expected size: {shape[level]}"
        )
    for item in value:
        _refuse(item, shape, level + 1, dtype)


def _refuse_leaf(value: JsonValue, dtype: str) -> None:
    if isinstance(value, JsonObject) and dtype == "string":
        text = b64_text(value)
        if text is None:
            message = f"JSON Value: {echo(value)} not formatted correctly for base64 data"
            raise InvalidArgument(message)
        decode_b64(text)
    elif isinstance(value, JsonObject) or _is_convertible(dtype):
        if _from_leaves([value], dtype) is None:
            raise InvalidArgument(
                f"JSON Value: {echo(value)} Type: {type_name(value)} "
                f"is not of expected type: {dtype}"
            )
    else:
        raise Unimplemented(f"Conversion of JSON Value: {echo(value)} to type: {dtype}")


def _is_convertible(dtype: str) -> bool:
    return dtype in _FLOATS or dtype in _INTEGERS or dtype in ("bool", "string")
