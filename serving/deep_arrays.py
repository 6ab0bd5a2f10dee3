"""Tensors with more dimensions than numpy has.

TensorFlow goes up to 254 dimensions, numpy to 64. Beyond that an array is kept flat and remembers
its shape; whoever looks at shapes asks `shape_of`.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

if TYPE_CHECKING:
    from serving.servable import Array

RANK_MAX = 254
NUMPY_RANK_MAX = 64


class DeepArray(np.ndarray[Any, np.dtype[Any]]):
    """The elements of a tensor in order, and the shape that numpy cannot give them."""

    full_shape: tuple[int, ...]


def shaped(elements: Array, shape: tuple[int, ...]) -> Array:
    """Give a flat array a shape, whatever its rank."""
    if len(shape) <= NUMPY_RANK_MAX:
        return elements.reshape(shape)
    deep = elements.view(DeepArray)
    deep.full_shape = shape
    return deep


def shape_of(array: Array) -> tuple[int, ...]:
    """The shape a tensor really has."""
    return array.full_shape if isinstance(array, DeepArray) else array.shape


def shape_text(array: Array) -> str:
    """The shape as messages have it."""
    return f"[{','.join(map(str, shape_of(array)))}]"
