"""Write a SavedModel that computes next to nothing: what is left is the cost of asking.

python -m benchmarks.programs.tiny_export FOLDER
"""

from __future__ import annotations

import sys

import tensorflow as tf

from benchmarks.field import TINY_SIDE

CLASSES = 10
PIXEL_COUNT = TINY_SIDE * TINY_SIDE * 3


class Tiny(tf.Module):
    """The first few pixels are the scores."""

    @tf.function(input_signature=[tf.TensorSpec([None, TINY_SIDE, TINY_SIDE, 3], tf.float32)])
    def of_image(self, input_image: tf.Tensor) -> dict[str, tf.Tensor]:
        """float32 [N, H, W, 3] -> scores float32 [N, classes]."""
        return {"scores": tf.reshape(input_image, [-1, PIXEL_COUNT])[:, :CLASSES]}

    @tf.function(input_signature=[tf.TensorSpec([None], tf.string)])
    def of_pixels(self, pixels: tf.Tensor) -> dict[str, tf.Tensor]:
        """String [N], raw uint8 bytes each -> scores float32 [N, classes]."""
        values = tf.io.decode_raw(pixels, tf.uint8, fixed_length=PIXEL_COUNT)
        return {"scores": tf.cast(values[:, :CLASSES], tf.float32)}


def main() -> None:
    """Write it."""
    module = Tiny()
    signatures = {"serving_default": module.of_image, "pixels": module.of_pixels}
    tf.saved_model.save(module, sys.argv[1], signatures=signatures)


if __name__ == "__main__":
    main()
