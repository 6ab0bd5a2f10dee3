from __future__ import annotations

import io
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from model_config import ModelConfig

pytestmark = pytest.mark.tensorflow

keras = pytest.importorskip("keras")
tf = pytest.importorskip("tensorflow")

from serving.export.image_graph import (  # noqa: E402
    apply_convention,
    decode_and_resize,
    unpack_pixels,
)

FILTERS = {
    "nearest": Image.Resampling.NEAREST,
    "bilinear": Image.Resampling.BILINEAR,
    "bicubic": Image.Resampling.BICUBIC,
    "lanczos": Image.Resampling.LANCZOS,
}
# Both round after each of two passes, but Pillow computes in whole numbers.
LEVELS_APART = {"nearest": 0, "bilinear": 1, "bicubic": 2, "lanczos": 2}


def picture(height: int, width: int, mode: str = "RGB") -> Image.Image:
    """Smooth colours with noise upon them: neither flat nor unlike a photo."""
    rows, columns = np.mgrid[0:height, 0:width]
    waves = [np.sin(rows / 7 + k) + np.cos(columns / (5 + k)) for k in range(3)]
    noise = np.random.default_rng(height * width).normal(0, 0.3, (height, width, 3))
    pixels = np.clip((np.stack(waves, -1) + noise) * 60 + 128, 0, 255).astype(np.uint8)
    return Image.fromarray(pixels).convert(mode)


def encoded(image: Image.Image, file_format: str) -> bytes:
    """The file that Pillow writes."""
    file = io.BytesIO()
    image.save(file, file_format)
    return file.getvalue()


def graph_result(
    contents: bytes, size: tuple[int, int], *, resize: str = "bilinear", color_mode: str = "rgb"
) -> np.ndarray:
    """What the graph makes of one file."""
    config = ModelConfig("m", "m", Path(), input_size=size, resize=resize, color_mode=color_mode)
    return decode_and_resize(tf.constant([contents]), config).numpy()[0]


@pytest.mark.parametrize("resize", FILTERS)
@pytest.mark.parametrize("source", [(480, 640), (37, 53), (10, 12), (31, 200)])
@pytest.mark.parametrize("target", [(224, 224), (8, 8), (70, 33)])
def test_resizing_agrees_with_pillow(
    resize: str, source: tuple[int, int], target: tuple[int, int]
) -> None:
    """Each filter gives what Pillow's gives, enlarging and shrinking, to the stated number of levels."""
    image = picture(*source)
    expected = np.asarray(image.resize(target[::-1], FILTERS[resize]), np.float32)
    result = graph_result(encoded(image, "PNG"), target, resize=resize)
    apart = float(np.abs(result - expected).max())
    assert apart <= LEVELS_APART[resize]


@pytest.mark.parametrize("side", range(1, 40))
def test_nearest_is_keras_load_img_to_the_pixel(side: int) -> None:
    """`nearest` picks the very pixels that Pillow picks, whatever the ratio."""
    image = picture(side, 300 + side)
    expected = np.asarray(image.resize((24, 24), Image.Resampling.NEAREST), np.float32)
    np.testing.assert_array_equal(
        graph_result(encoded(image, "PNG"), (24, 24), resize="nearest"), expected
    )


@pytest.mark.parametrize("file_format", ["JPEG", "PNG", "BMP", "GIF"])
@pytest.mark.parametrize("mode", ["RGB", "L"])
def test_decoding_agrees_with_pillow(file_format: str, mode: str) -> None:
    """Files of each kind, colour and grey, decode to the pixels that Pillow reads in them."""
    contents = encoded(picture(61, 83, mode), file_format)
    with Image.open(io.BytesIO(contents)) as image:
        expected = np.asarray(image.convert("RGB"), np.float32)
    np.testing.assert_array_equal(graph_result(contents, (61, 83), resize="nearest"), expected)


def test_an_alpha_channel_is_dropped_as_pillow_drops_it() -> None:
    """RGBA becomes RGB without blending."""
    image = picture(20, 20)
    image.putalpha(77)
    result = graph_result(encoded(image, "PNG"), (20, 20))
    np.testing.assert_array_equal(result, np.asarray(image.convert("RGB"), np.float32))


@pytest.mark.parametrize("file_format", ["JPEG", "PNG"])
def test_grey_is_pillows_grey(file_format: str) -> None:
    """A colour file becomes grey by Pillow's own integer arithmetic."""
    contents = encoded(picture(40, 40), file_format)
    with Image.open(io.BytesIO(contents)) as image:
        expected = np.asarray(image.convert("L"), np.float32)[..., np.newaxis]
    result = graph_result(contents, (40, 40), color_mode="grayscale")
    np.testing.assert_array_equal(result, expected)


def test_a_batch_may_hold_files_of_different_kinds_and_sizes() -> None:
    """Every file of a batch is decoded and resized by itself."""
    files = [encoded(picture(30, 50), "JPEG"), encoded(picture(70, 20), "PNG")]
    config = ModelConfig("m", "m", Path(), input_size=(16, 16))
    together = decode_and_resize(tf.constant(files), config).numpy()
    apart = [graph_result(contents, (16, 16)) for contents in files]
    np.testing.assert_array_equal(together, apart)


@pytest.mark.parametrize("convention", ["tf", "caffe", "torch"])
def test_conventions_are_those_of_keras(convention: str) -> None:
    """In the graph as in numpy, `keras.applications`' own preprocess_input."""
    pixels = np.random.default_rng(0).integers(0, 256, (2, 9, 9, 3)).astype(np.float32)
    result = tf.function(lambda image: apply_convention(image, convention))(tf.constant(pixels))
    expected = keras.applications.imagenet_utils.preprocess_input(pixels.copy(), mode=convention)
    np.testing.assert_allclose(result, expected, rtol=1e-6, atol=1e-6)


@pytest.mark.parametrize("lengths", [[0], [11], [13], [24], [6, 18], [12, 0]])
def test_wrong_numbers_of_bytes_are_refused(lengths: list[int]) -> None:
    """Raw pixels of another length than height, width and channels make are an error, never scores."""
    config = ModelConfig("m", "m", Path(), input_size=(2, 2))
    raw = tf.constant([bytes(length) for length in lengths])
    with pytest.raises(tf.errors.InvalidArgumentError):
        unpack_pixels(raw, config)


def test_raw_pixels_keep_their_order() -> None:
    """Raw bytes become height, width, channels, row by row; no image at all is an empty batch."""
    config = ModelConfig("m", "m", Path(), input_size=(2, 2))
    unpacked = unpack_pixels(tf.constant([bytes(range(12)), bytes(12)]), config)
    np.testing.assert_array_equal(unpacked[0], np.arange(12.0).reshape(2, 2, 3))
    assert unpack_pixels(tf.constant([], tf.string), config).shape == (0, 2, 2, 3)
