"""What a trained network does in steps of its own and a served one need not: padding and batch norms, folded away.

TensorFlow folds much of a frozen graph when it loads it, but neither the scale of a batch norm into a depthwise
convolution before it, nor a layer of zero padding into the convolution after it. Both write the whole image once more.
"""

from __future__ import annotations

from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

import keras
import numpy as np

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    from numpy.typing import NDArray

    Values = dict[int, NDArray[Any]]

_CONVOLUTIONS = (keras.layers.Conv2D, keras.layers.DepthwiseConv2D)
_NO_PADDING = ((0, 0), (0, 0))


@contextmanager
def folded_padding(model: keras.Model) -> Iterator[None]:
    """Within the block convolutions pad for themselves, where that comes to the same; afterwards the model is as it was.

    That is where a layer adds just what `SAME` adds (https://www.tensorflow.org/api_docs/python/tf/nn, "Notes on padding").
    """
    pairs = [(pad, conv) for pad in model.layers if (conv := _convolution_that_pads_alike(pad))]
    paddings = [pad.padding for pad, _ in pairs]
    try:
        for pad, conv in pairs:
            pad.padding, conv.padding = _NO_PADDING, "same"
        yield
    finally:
        for (pad, conv), padding in zip(pairs, paddings, strict=True):
            pad.padding, conv.padding = padding, "valid"


def folded_values(model: keras.Model) -> Mapping[int, NDArray[Any]]:
    """The variables that change when depthwise convolutions take over the scales of the batch norms that follow them.

    Returns:
        `id` of a variable -> its value, with which the model computes the same. A scale is then 1, which TensorFlow drops.
    """
    values: Values = {}
    for conv in model.layers:
        norm = _only_reader(conv)
        if type(conv) is keras.layers.DepthwiseConv2D and _is_plain_norm_after(conv, norm):
            values |= _with_scale_moved(conv, norm)
    return values


def _with_scale_moved(conv: Any, norm: Any) -> Values:  # noqa: ANN401 - Keras has no types
    variance = np.asarray(norm.moving_variance)
    scale = 1 / np.sqrt(variance + np.float32(norm.epsilon))
    values = {id(norm.moving_variance): np.full_like(variance, 1 - np.float32(norm.epsilon))}
    if norm.scale:
        scale *= np.asarray(norm.gamma)
        values[id(norm.gamma)] = np.ones_like(scale)
    values[id(norm.moving_mean)] = np.asarray(norm.moving_mean) * scale
    kernel = np.asarray(conv.kernel)  # height, width, channels, depth multiplier
    values[id(conv.kernel)] = kernel * scale.reshape(kernel.shape[2:])
    if conv.use_bias:
        values[id(conv.bias)] = np.asarray(conv.bias) * scale
    return values


def _is_plain_norm_after(conv: Any, norm: Any) -> bool:  # noqa: ANN401 - Keras has no types
    return (
        type(norm) is keras.layers.BatchNormalization
        and norm.axis in (-1, 3)
        and conv.data_format == "channels_last"
        and conv.activation is keras.activations.linear
    )


def _convolution_that_pads_alike(pad: Any) -> Any:  # noqa: ANN401 - Keras has no types
    conv = _only_reader(pad)
    if type(pad) is not keras.layers.ZeroPadding2D or type(conv) not in _CONVOLUTIONS:
        return None
    sizes = pad.input.shape[1:3]
    known = None not in sizes and pad.data_format == conv.data_format == "channels_last"
    if not known or conv.padding != "valid" or conv.dilation_rate != (1, 1):
        return None
    wanted = tuple(map(_same_padding, sizes, conv.kernel_size, conv.strides))
    return conv if tuple(map(tuple, pad.padding)) == wanted else None


def _same_padding(size: int, kernel: int, stride: int) -> tuple[int, int]:
    """How many zeros `SAME` adds before and after one axis."""
    total = max((-(-size // stride) - 1) * stride + kernel - size, 0)
    return total // 2, total - total // 2


def _only_reader(layer: Any) -> Any:  # noqa: ANN401 - Keras has no types
    """The one layer that reads what `layer` writes, if both are used just once; Keras has no public way to ask."""
    readers = [node.operation for node in layer._outbound_nodes]  # noqa: SLF001
    alone = len(readers) == 1 and len(layer._inbound_nodes) == len(readers[0]._inbound_nodes) == 1  # noqa: SLF001
    return readers[0] if alone else None
