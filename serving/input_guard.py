"""Refuse the few inputs that would end or hang the process instead of failing in the graph.

TensorFlow Serving leaves shapes to the graph, and so do we, with one exception: an image model
whose convolutions run in oneDNN may abort the whole process when the image's rank or size is not
what the graph was built for. So where a signature says what an image looks like (a known rank of
three or more), rank and known sizes must agree. The first dimension, the batch, is free.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from serving.deep_arrays import shape_of
from serving.errors import InvalidArgument

if TYPE_CHECKING:
    from collections.abc import Mapping

    from serving.servable import Array, TensorSpec

_IMAGE_RANK_MIN = 3


def refuse_deadly_shapes(inputs: Mapping[str, Array], specs: Mapping[str, TensorSpec]) -> None:
    """Compare the shapes of image-like inputs with their signature.

    Raises:
        InvalidArgument: the rank or a known size differs.
    """
    for name, spec in specs.items():
        if spec.shape is None or len(spec.shape) < _IMAGE_RANK_MIN:
            continue
        got = shape_of(inputs[name])
        if len(got) != len(spec.shape) or any(
            want is not None and want != size
            for want, size in zip(spec.shape[1:], got[1:], strict=True)
        ):
            raise InvalidArgument(
                f"input {name} has shape {_text(got)}, but the signature expects "
                f"{_text(spec.shape)}"
            )


def _text(shape: tuple[int | None, ...]) -> str:
    return f"[{','.join('?' if size is None else str(size) for size in shape)}]"
