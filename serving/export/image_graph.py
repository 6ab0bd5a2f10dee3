"""Image file bytes -> preprocessed pixels as a TensorFlow graph: what the router does in Pillow and numpy."""

from __future__ import annotations

from typing import TYPE_CHECKING

import keras
import tensorflow as tf

from serving.export.versions import ExportError

if TYPE_CHECKING:
    from model_config import ModelConfig

# Pillow's filters -> the kernels of ScaleAndTranslate, which widens them when it shrinks (antialiasing) as Pillow does.
# `box` and `hamming` it has not, or not alike (`GRAPH_FILTERS`).
_KERNELS = {"bilinear": "triangle", "bicubic": "keyscubic", "lanczos": "lanczos3"}


def image_shape(config: ModelConfig) -> tuple[int, int, int]:
    """Height, width, channels of the images that a model takes.

    Raises:
        ExportError: Its table does not say.
    """
    if config.input_size is None:
        raise ExportError(
            f"Model '{config.name}' needs an 'input_size' in its table to be exported."
        )
    return (*config.input_size, config.channels)


def unpack_pixels(raw: tf.Tensor, config: ModelConfig) -> tf.Tensor:
    """Raw bytes, string [N] of H·W·C each, row by row -> float32 [N, H, W, C], 0 to 255.

    Other numbers of bytes are an error of the graph: `decode_raw` wants all elements alike, and then `reshape` finds
    too many or too few.
    """
    values = tf.io.decode_raw(raw, tf.uint8)
    return tf.cast(tf.reshape(values, [tf.shape(raw)[0], *image_shape(config)]), tf.float32)


def decode_and_resize(encoded: tf.Tensor, config: ModelConfig) -> tf.Tensor:
    """Decode image files and bring them to the model's size and colours.

    Args:
        encoded: string [N], each a JPEG, PNG, GIF (its first frame) or BMP file. EXIF orientation is not applied.
        config: Says `input_size`, `color_mode` and `resize`.

    Returns:
        float32 [N, H, W, C], whole numbers 0 to 255.
    """
    shape = height, width, channels = image_shape(config)

    def one(contents: tf.Tensor) -> tf.Tensor:
        return resize_image(decode(contents, channels), height, width, config.resize)

    spec = tf.TensorSpec(shape, tf.float32)
    return tf.map_fn(one, encoded, fn_output_signature=spec)


def apply_convention(image: tf.Tensor, convention: str) -> tf.Tensor:
    """Scale and center pixels as `keras.applications` does: by its own function, in the graph.

    Args:
        image: float32 [N, H, W, C], 0 to 255, RGB or grayscale.
        convention: `tf`, `caffe`, `torch` or `none`.
    """
    if convention == "none":
        return image
    return keras.applications.imagenet_utils.preprocess_input(
        image, data_format="channels_last", mode=convention
    )


def decode(contents: tf.Tensor, channels: int) -> tf.Tensor:
    """Decode one file: string [] -> uint8 [height, width, channels]."""
    # The accurate inverse DCT is what Pillow uses; decode_image leaves the choice to libjpeg.
    rgb = tf.cond(
        tf.io.is_jpeg(contents),
        lambda: tf.io.decode_jpeg(contents, channels=3, dct_method="INTEGER_ACCURATE"),
        lambda: tf.io.decode_image(contents, channels=3, expand_animations=False),
    )
    rgb = tf.ensure_shape(rgb, [None, None, 3])
    return rgb if channels == 3 else _luma(rgb)


def _luma(rgb: tf.Tensor) -> tf.Tensor:
    """ITU-R BT.601 luma in Pillow's fixed point (its `convert("L")`)."""
    weights = tf.constant([19595, 38470, 7471], tf.int32)
    weighted = tf.reduce_sum(tf.cast(rgb, tf.int32) * weights, axis=-1, keepdims=True)
    return tf.cast((weighted + 0x8000) // 0x10000, tf.uint8)


def resize_image(image: tf.Tensor, height: int, width: int, resize: str) -> tf.Tensor:
    """Resize one image: uint8 [h, w, C] -> float32 [height, width, C], rounded as an image of bytes would be."""
    if resize == "nearest":
        return tf.cast(_resize_nearest(image, height, width), tf.float32)
    # Pillow shortens the rows, makes bytes of the result, then the columns (where that is much cheaper, Pillow 13 takes
    # the columns first, which may move a pixel by a few levels).
    source_height = tf.shape(image)[0]
    narrow = _scale(image, tf.stack([source_height, width]), _KERNELS[resize])
    return _scale(narrow, tf.stack([height, width]), _KERNELS[resize])


def _scale(image: tf.Tensor, size: tf.Tensor, kernel: str) -> tf.Tensor:
    scaled = tf.raw_ops.ScaleAndTranslate(
        images=image[tf.newaxis],
        size=size,
        scale=tf.cast(size, tf.float32) / tf.cast(tf.shape(image)[:2], tf.float32),
        translation=tf.zeros([2]),
        kernel_type=kernel,
        antialias=True,
    )[0]
    return tf.clip_by_value(tf.floor(scaled + 0.5), 0.0, 255.0)


def _resize_nearest(image: tf.Tensor, height: int, width: int) -> tf.Tensor:
    shape = tf.shape(image)
    rows = tf.gather(image, _nearest(shape[0], height), axis=0)
    return tf.gather(rows, _nearest(shape[1], width), axis=1)


def _nearest(source: tf.Tensor, target: int) -> tf.Tensor:
    """For each of `target` places the index of the pixel under its center.

    Pillow walks in double precision by adding the step; so does this, to fall on the same side of a border.
    """
    step = tf.cast(source, tf.float64) / target
    steps = tf.concat([[step * 0.5], tf.fill([target - 1], step)], axis=0)
    return tf.cast(tf.cumsum(steps), tf.int32)
