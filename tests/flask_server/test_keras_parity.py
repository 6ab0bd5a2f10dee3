"""The router's preprocessing against Keras' own."""

from __future__ import annotations

import importlib
import io
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


def test_every_architecture_has_its_own_convention(keras: Any) -> None:
    """What models.toml derives from an architecture is, to the bit, what its preprocess_input does."""
    modules = [one for one in vars(keras.applications).values() if hasattr(one, "preprocess_input")]
    checked = set()
    for name, (convention, _) in ARCHITECTURES.items():
        family = name.removesuffix("Large").removesuffix("Small")
        for module in modules:
            if hasattr(module, name) or module.__name__.endswith(_module_name(family)):
                theirs = np.ascontiguousarray(module.preprocess_input(PIXELS.astype(np.float32)))
                assert CONVENTIONS[convention](PIXELS).tobytes() == theirs.tobytes()
                checked.add(name)
    assert checked == set(ARCHITECTURES)


def _module_name(family: str) -> str:
    """The one family whose classes keras.applications keeps outside its module."""
    return ".mobilenet_v3" if family == "MobileNetV3" else "."
