"""Padding and batch norms that an export folds away."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np
import pytest

pytestmark = pytest.mark.tensorflow

keras = pytest.importorskip("keras")
layers = keras.layers

from serving.export.folding import folded_padding, folded_values  # noqa: E402

if TYPE_CHECKING:
    from collections.abc import Callable

TOLERANCE = 1e-5


def images(side: int) -> np.ndarray[Any, Any]:
    """Three random images."""
    return np.random.default_rng(0).normal(size=(3, side, side, 4)).astype(np.float32)


def randomised(model: keras.Model) -> keras.Model:
    """The model with all its variables away from zeros and ones."""
    rng = np.random.default_rng(1)
    for variable in model.variables:
        variable.assign(rng.uniform(0.5, 1.5, variable.shape))
    return model


@pytest.mark.parametrize("convolution", [layers.Conv2D, layers.DepthwiseConv2D])
@pytest.mark.parametrize(
    ("side", "kernel", "stride", "padding"),
    [(16, 3, 2, ((0, 1), (0, 1))), (15, 3, 2, 1), (16, 5, 1, 2), (16, 7, 2, ((2, 3), (2, 3)))],
)
def test_padding_that_same_adds_is_folded(
    convolution: Any, side: int, kernel: int, stride: int, padding: Any
) -> None:
    """Where the zeros are those of `SAME`, the convolution pads for itself, and the answers stay."""
    settings = {"kernel_size": kernel, "strides": stride}
    if convolution is layers.Conv2D:
        settings["filters"] = 5
    conv = convolution(**settings)
    model = randomised(
        keras.Sequential([keras.Input((side, side, 4)), layers.ZeroPadding2D(padding), conv])
    )
    expected = model(images(side)).numpy()
    with folded_padding(model):
        assert conv.padding == "same"
        assert model.layers[0].padding == ((0, 0), (0, 0))
        answer = model(images(side)).numpy()
    np.testing.assert_allclose(answer, expected, rtol=TOLERANCE)
    assert conv.padding == "valid"
    np.testing.assert_array_equal(model(images(side)).numpy(), expected)


def read_twice() -> keras.Model:
    """The padded image is read by two layers."""
    image = keras.Input((16, 16, 4))
    padded = layers.ZeroPadding2D(((0, 1), (0, 1)))(image)
    convolved = layers.DepthwiseConv2D(3, strides=2)(padded)
    return keras.Model(image, [convolved, layers.GlobalAveragePooling2D()(padded)])


def padded_by(padding: Any, reader: Any, side: int | None = 16) -> keras.Model:
    """One layer of padding and its reader."""
    return keras.Sequential([keras.Input((side, side, 4)), layers.ZeroPadding2D(padding), reader])


@pytest.mark.parametrize(
    "build",
    [
        lambda: padded_by(3, layers.Conv2D(5, 7, strides=2)),  # ResNet's: SAME adds 2 and 3
        lambda: padded_by(((1, 0), (1, 0)), layers.DepthwiseConv2D(3, strides=2)),
        lambda: padded_by(1, layers.DepthwiseConv2D(3, dilation_rate=2)),
        lambda: padded_by(1, layers.Conv2D(5, 3, padding="same")),
        lambda: padded_by(1, layers.MaxPooling2D(3, strides=1)),
        lambda: padded_by(((0, 1), (0, 1)), layers.DepthwiseConv2D(3, strides=2), side=None),
        read_twice,
    ],
    ids=["resnet", "before", "dilated", "same", "pooling", "unknown size", "read twice"],
)
def test_other_padding_is_left_alone(build: Callable[[], keras.Model]) -> None:
    """Other zeros than those of `SAME`, or zeros that others read, stay where they are."""
    model = build()
    before = [getattr(layer, "padding", None) for layer in model.layers]
    with folded_padding(model):
        assert [getattr(layer, "padding", None) for layer in model.layers] == before


@pytest.mark.parametrize("multiplier", [1, 2])
@pytest.mark.parametrize("bias", [False, True])
@pytest.mark.parametrize("scale", [False, True])
def test_a_batch_norms_scale_moves_into_the_depthwise_convolution(
    multiplier: int, bias: bool, scale: bool
) -> None:
    """With the folded values the norm only shifts, and the answers stay."""
    conv = layers.DepthwiseConv2D(3, depth_multiplier=multiplier, use_bias=bias)
    norm = layers.BatchNormalization(scale=scale)
    model = randomised(keras.Sequential([keras.Input((16, 16, 4)), conv, norm, layers.ReLU()]))
    expected = model(images(16)).numpy()
    folded = folded_values(model)
    for variable in model.variables:
        variable.assign(folded.get(id(variable), variable.value))
    np.testing.assert_allclose(model(images(16)).numpy(), expected, rtol=TOLERANCE, atol=TOLERANCE)
    remaining = 1 / np.sqrt(norm.moving_variance.numpy() + np.float32(norm.epsilon))
    np.testing.assert_array_equal(remaining, np.ones(4 * multiplier, np.float32))


@pytest.mark.parametrize(
    "build",
    [lambda: layers.Conv2D(5, 3), lambda: layers.DepthwiseConv2D(3, activation="relu")],
    ids=["TensorFlow folds it itself", "not linear"],
)
def test_other_batch_norms_are_left_alone(build: Callable[[], Any]) -> None:
    """Nothing moves into a convolution with an activation, or where TensorFlow does so when it loads."""
    model = keras.Sequential([keras.Input((16, 16, 4)), build(), layers.BatchNormalization()])
    assert not folded_values(model)
