"""Write a SavedModel that computes next to nothing: what is left is the cost of asking.

python -m benchmarks.programs.tiny_export FOLDER SIDE
"""

from __future__ import annotations

import sys

import tensorflow as tf

CLASSES = 10


def tiny(side: int) -> tuple[tf.Module, dict[str, tf.types.experimental.PolymorphicFunction]]:
    """Make a model whose scores are the first few numbers of an image of `side` pixels a side, with its signatures."""
    count = side * side * 3

    @tf.function(input_signature=[tf.TensorSpec([None, side, side, 3], tf.float32)])
    def of_image(input_image: tf.Tensor) -> dict[str, tf.Tensor]:
        """float32 [N, H, W, 3] -> scores float32 [N, classes]."""
        return {"scores": tf.reshape(input_image, [-1, count])[:, :CLASSES]}

    @tf.function(input_signature=[tf.TensorSpec([None], tf.string)])
    def of_pixels(pixels: tf.Tensor) -> dict[str, tf.Tensor]:
        """String [N], raw uint8 bytes each -> scores float32 [N, classes]."""
        values = tf.io.decode_raw(pixels, tf.uint8, fixed_length=count)
        return {"scores": tf.cast(values[:, :CLASSES], tf.float32)}

    @tf.function(input_signature=[tf.TensorSpec([None], tf.string)])
    def best_of_pixels(pixels: tf.Tensor) -> dict[str, tf.Tensor]:
        """As `of_pixels`; scores and classes [N, classes], best first."""
        scores, classes = tf.math.top_k(of_pixels(pixels)["scores"], CLASSES)
        return {"scores": scores, "classes": classes}

    signatures = {
        "serving_default": of_image,
        "pixels": of_pixels,
        "pixels_top": best_of_pixels,
    }
    return tf.Module(), signatures


def main() -> None:
    """Write it."""
    folder, side = sys.argv[1:]
    module, signatures = tiny(int(side))
    tf.saved_model.save(module, folder, signatures=signatures)


if __name__ == "__main__":
    main()
