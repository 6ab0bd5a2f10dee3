"""The router's preprocessing against Keras' own."""

from __future__ import annotations

import importlib
import inspect
import io
import sys
from typing import Any

import numpy as np
import pytest
from PIL import Image

from flask_server.images import ImageReader
from flask_server.preprocessing import CONVENTIONS
from flask_server.resizing import resized_pixels
from model_config import ARCHITECTURES
from tests.flask_server.test_images import saved

pytestmark = pytest.mark.tensorflow
PIXELS = np.random.default_rng(3).integers(0, 256, (37, 53, 3), np.uint8)


@pytest.fixture(scope="module")
def keras() -> Any:
    """Keras, imported only when one of these tests runs."""
    return importlib.import_module("keras")


@pytest.mark.parametrize("color_mode", ["rgb", "grayscale"])
@pytest.mark.parametrize("resize", ["nearest", "bilinear", "bicubic", "lanczos", "box", "hamming"])
def test_agrees_with_keras_load_img(keras: Any, resize: str, color_mode: str) -> None:
    """Every filter gives exactly what keras.utils.load_img gives with it."""
    for kind in ("PNG", "JPEG", "BMP", "GIF"):
        file = saved(Image.fromarray(PIXELS), kind)
        loaded = keras.utils.load_img(
            io.BytesIO(file), color_mode=color_mode, target_size=(24, 31), interpolation=resize
        )
        image = ImageReader((kind,), 10_000).read(file, color_mode)
        ours = resized_pixels(image, (24, 31), resize)
        assert (ours == np.asarray(loaded).reshape(24, 31, -1)).all()


def test_every_class_of_keras_applications_is_known(keras: Any) -> None:
    """models.toml may name what Keras has, and nothing else."""
    theirs = {name for name, one in vars(keras.applications).items() if inspect.isfunction(one)}
    assert theirs == set(ARCHITECTURES)


@pytest.mark.parametrize("name", ARCHITECTURES)
def test_an_architecture_says_how_pixels_are_scaled(keras: Any, name: str) -> None:
    """What models.toml derives from an architecture is, to the bit, what its preprocess_input does."""
    convention, _ = ARCHITECTURES[name]
    module = sys.modules[getattr(keras.applications, name).__module__]
    theirs = np.ascontiguousarray(module.preprocess_input(PIXELS.astype(np.float32)))
    assert CONVENTIONS[convention](PIXELS).tobytes() == theirs.tobytes()


class _DefaultSize(Exception):
    """Thrown out of a class that is about to be built."""


# MobileNetV3 is built for any size unless it is told one; its documentation names 224.
@pytest.mark.parametrize("name", [name for name in ARCHITECTURES if "NetV3" not in name])
def test_an_architecture_says_its_input_size(
    keras: Any, name: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The input size that models.toml derives from an architecture is the one that Keras builds it with."""

    def tell(*_: object, default_size: int, **__: object) -> None:
        raise _DefaultSize(default_size)

    module = sys.modules[getattr(keras.applications, name).__module__]
    monkeypatch.setattr(module.imagenet_utils, "obtain_input_shape", tell)
    with pytest.raises(_DefaultSize) as told:
        getattr(keras.applications, name)(weights=None)
    assert told.value.args == (ARCHITECTURES[name][1],)
