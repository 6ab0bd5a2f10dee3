"""An encoder as a SavedModel that learns labels from a few pictures, while it is served and without training.

Pictures that people name are the support set. The encoder turns each picture into a direction; a label's direction is
the mean of its pictures', and a new picture is given the labels in the order of the angles to it: prototypical networks
with the cosine (Snell et al. 2017, arXiv:1703.05175). The support set lives in the graph, so that any client of
TensorFlow Serving's API can teach it.
"""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Any, NamedTuple

import tensorflow as tf
from tensorflow.python.framework.convert_to_constants import (
    convert_variables_to_constants_v2,
)

from serving.export.image_graph import (
    apply_convention,
    decode,
    image_shape,
    resize_image,
)

if TYPE_CHECKING:
    from collections.abc import Callable

    import keras
    from tensorflow.core.framework.tensor_pb2 import TensorProto

    from model_config import ModelConfig

SHARPNESS = 20.0
"""What cosines are multiplied by before the softmax."""
_PICTURES = tf.TensorSpec([None], tf.string, name="images")
_WINDOWS = tf.TensorSpec([None, 4], tf.int32, name="crop_windows")
_LABELS = tf.TensorSpec([None], tf.string, name="labels")
_OVERWRITE = tf.TensorSpec([], tf.bool, name="overwrite")
_VERSION = tf.TensorSpec([], tf.int64, name="support_version")
_SUPPORT = {
    "support_images": tf.TensorSpec([None], tf.string, name="support_images"),
    "support_labels": tf.TensorSpec([None], tf.string, name="support_labels"),
}


class SupportSet(NamedTuple):
    """Named pictures as the graph holds them."""

    embeddings: tf.Tensor
    """float32 [M, D], of length 1 each."""
    labels: tf.Tensor
    """string [M]."""
    version: tf.Tensor
    """int64 [], whatever the last teacher called it; 0 before there was one."""


class FewShotClassifier(tf.Module):
    """A frozen encoder, its support set, and the signatures over both."""

    def __init__(self, features: keras.Model, config: ModelConfig) -> None:
        """Freeze the encoder and begin with an empty support set.

        Args:
            features: Takes float32 [N, H, W, C], preprocessed; gives [N, ...], of which all is used.
            config: Says input size, colours, convention and resize filter.

        Raises:
            ExportError: The table says no input size.
        """
        super().__init__()
        self._config = config
        self._shape = image_shape(config)
        self._encode, self._dimensions = _frozen(features)
        # One variable holds all: whoever reads it sees labels, embeddings and version that belong together.
        self._packed = tf.Variable(
            _pack(self._nothing()), shape=[3], dtype=tf.string, trainable=False
        )

    def signatures(self) -> dict[str, Any]:
        """What `tf.saved_model.save` takes; pictures are web-safe base64 texts, windows [top, left, height, width].

        `decode_and_serve`: `images` [N] -> `scores` float32 [N, L], `classes` string [N, L], best first, and
        `support_version` int64 [N].
        `decode_and_crop_and_serve`: the same with `crop_windows` int32 [N, 4] in pixels; all zeros is the whole.
        `preprocessing`: `images`, `crop_windows` -> `input_image` float32 [N, H, W, C].
        `set_support_set`: `images`, `crop_windows`, `labels`, `overwrite` (else they are added), `support_version`.
        `get_support_set`: `labels` to choose by, or none for all -> `embeddings`, `labels`, `support_version`.
        `serve_with_support_set`: `images` classified by `support_images` and `support_labels`, which it keeps as
        `support_version`: to ask a server that may have been restarted since it was taught.
        """
        return {
            "decode_and_serve": self.decode_and_serve,
            "decode_and_crop_and_serve": self.decode_and_crop_and_serve,
            "preprocessing": self.preprocessing,
            "set_support_set": self.set_support_set,
            "get_support_set": self.get_support_set,
            "serve_with_support_set": self.serve_with_support_set,
        }

    @tf.function(input_signature=[_PICTURES])
    def decode_and_serve(self, images: tf.Tensor) -> dict[str, tf.Tensor]:
        """Classify whole pictures."""
        return _classify(self._embed(images, _whole(images)), self._support_set())

    @tf.function(input_signature=[_PICTURES, _WINDOWS])
    def decode_and_crop_and_serve(
        self, images: tf.Tensor, crop_windows: tf.Tensor
    ) -> dict[str, tf.Tensor]:
        """Classify a window of each picture."""
        return _classify(self._embed(images, crop_windows), self._support_set())

    @tf.function(input_signature=[_PICTURES, _WINDOWS])
    def preprocessing(self, images: tf.Tensor, crop_windows: tf.Tensor) -> dict[str, tf.Tensor]:
        """Give what the encoder is shown, to look at."""
        return {"input_image": _each(self._preprocess, images, crop_windows, self._shape)}

    @tf.function(input_signature=[_PICTURES, _WINDOWS, _LABELS, _OVERWRITE, _VERSION])
    def set_support_set(
        self,
        images: tf.Tensor,
        crop_windows: tf.Tensor,
        labels: tf.Tensor,
        overwrite: tf.Tensor,
        support_version: tf.Tensor,
    ) -> dict[str, tf.Tensor]:
        """Teach: replace the support set or add to it; concurrent additions all count."""
        embeddings = self._embed_named(images, crop_windows, labels)
        with tf.control_dependencies([embeddings]):
            # A shared name finds the mutex again in every call; a tf.CriticalSection could not be saved.
            mutex = tf.raw_ops.MutexV2(shared_name="support_set")
            lock = tf.raw_ops.MutexLock(mutex=mutex)
        with tf.control_dependencies([lock]):
            before = tf.cond(overwrite, self._nothing, self._support_set)
        taught = SupportSet(
            tf.concat([before.embeddings, embeddings], axis=0),
            tf.concat([before.labels, labels], axis=0),
            support_version,
        )
        with tf.control_dependencies([self._packed.assign(_pack(taught))]):
            tf.raw_ops.ConsumeMutexLock(mutex_lock=lock)
        return {"labels": taught.labels, "support_version": taught.version}

    @tf.function(input_signature=[_LABELS])
    def get_support_set(self, labels: tf.Tensor) -> dict[str, tf.Tensor]:
        """Give the support set, or its part with some labels (TensorFlow Serving asks for an input in every call)."""
        held = self._support_set()
        wanted = tf.reduce_any(held.labels[:, tf.newaxis] == labels[tf.newaxis], axis=1)
        wanted |= tf.equal(tf.size(labels), 0)
        return {
            "embeddings": tf.boolean_mask(held.embeddings, wanted),
            "labels": tf.boolean_mask(held.labels, wanted),
            "support_version": held.version,
        }

    @tf.function(input_signature=[_PICTURES, *_SUPPORT.values(), _VERSION])
    def serve_with_support_set(
        self,
        images: tf.Tensor,
        support_images: tf.Tensor,
        support_labels: tf.Tensor,
        support_version: tf.Tensor,
    ) -> dict[str, tf.Tensor]:
        """Classify by the support set that comes along, and keep it for `decode_and_serve`."""
        embeddings = self._embed_named(support_images, _whole(support_images), support_labels)
        sent = SupportSet(embeddings, support_labels, support_version)
        self._packed.assign(_pack(sent))
        return _classify(self._embed(images, _whole(images)), sent)

    def _embed_named(self, images: tf.Tensor, windows: tf.Tensor, labels: tf.Tensor) -> tf.Tensor:
        """Pictures -> float32 [M, D]; there must be one label for each."""
        same = tf.debugging.assert_equal(
            tf.size(images), tf.size(labels), "there must be as many labels as pictures"
        )
        with tf.control_dependencies([same]):
            return self._embed(images, windows)

    def _embed(self, images: tf.Tensor, windows: tf.Tensor) -> tf.Tensor:
        """Pictures -> float32 [N, D] of length 1; one at a time, so that many need no more memory than one."""
        return _each(self._embed_one, images, windows, (self._dimensions,))

    def _embed_one(self, image: tf.Tensor, window: tf.Tensor) -> tf.Tensor:
        return self._encode(self._preprocess(image, window)[tf.newaxis])[0]

    def _preprocess(self, image: tf.Tensor, window: tf.Tensor) -> tf.Tensor:
        height, width, channels = self._shape
        whole = decode(tf.io.decode_base64(image), channels)
        pixels = resize_image(_crop(whole, window), height, width, self._config.resize)
        return apply_convention(pixels[tf.newaxis], self._config.preprocess)[0]

    def _nothing(self) -> SupportSet:
        return SupportSet(
            tf.zeros([0, self._dimensions]), tf.constant([], tf.string), tf.constant(0, tf.int64)
        )

    def _support_set(self) -> SupportSet:
        embeddings, labels, version = tf.unstack(self._packed.read_value())
        return SupportSet(
            tf.ensure_shape(tf.io.parse_tensor(embeddings, tf.float32), [None, self._dimensions]),
            tf.ensure_shape(tf.io.parse_tensor(labels, tf.string), [None]),
            tf.ensure_shape(tf.io.parse_tensor(version, tf.int64), []),
        )


def warmup_requests(config: ModelConfig) -> dict[str, dict[str, TensorProto]]:
    """What a model server asks before it serves: the first run of a signature takes seconds. Nothing is taught by it."""
    png = tf.io.encode_png(tf.zeros(image_shape(config), tf.uint8))
    black = tf.make_tensor_proto([tf.io.encode_base64(png).numpy()], tf.string)
    nothing = {
        "support_images": tf.make_tensor_proto([], tf.string),
        "support_labels": tf.make_tensor_proto([], tf.string),
        "support_version": tf.make_tensor_proto(0, tf.int64),
    }
    return {
        "decode_and_serve": {"images": black},
        "serve_with_support_set": {"images": black, **nothing},
    }


def _frozen(features: keras.Model) -> tuple[Callable[[tf.Tensor], tf.Tensor], int]:
    """The encoder with its weights as constants, and the length of what it gives."""
    (shape,) = (tensor.shape for tensor in features.inputs)

    @tf.function(input_signature=[tf.TensorSpec([None, *shape[1:]], tf.float32)], autograph=False)
    def encode(image: tf.Tensor) -> tf.Tensor:
        given = features(image, training=False)
        flat = tf.reshape(given, [-1, math.prod(given.shape[1:])])
        return tf.math.l2_normalize(tf.cast(flat, tf.float32), axis=-1)

    frozen = convert_variables_to_constants_v2(
        encode.get_concrete_function(), lower_control_flow=False
    )
    (dimensions,) = frozen.outputs[0].shape[1:]
    return lambda image: frozen(image)[0], dimensions


def _pack(support: SupportSet) -> tf.Tensor:
    return tf.stack([tf.io.serialize_tensor(part) for part in support])


def _whole(images: tf.Tensor) -> tf.Tensor:
    """Windows that cut nothing off."""
    return tf.zeros([tf.size(images), 4], tf.int32)


def _crop(pixels: tf.Tensor, window: tf.Tensor) -> tf.Tensor:
    """Cut out [top, left, height, width]; a window that leaves the picture is an error, all zeros is the whole."""
    top, left, height, width = tf.unstack(window)
    return tf.cond(
        tf.reduce_all(window == 0),
        lambda: pixels,
        lambda: tf.image.crop_to_bounding_box(pixels, top, left, height, width),
    )


def _each(
    one: Callable[[tf.Tensor, tf.Tensor], tf.Tensor],
    images: tf.Tensor,
    windows: tf.Tensor,
    shape: tuple[int, ...],
) -> tf.Tensor:
    return tf.map_fn(
        lambda pair: one(*pair),
        (images, windows),
        fn_output_signature=tf.TensorSpec(shape, tf.float32),
        parallel_iterations=1,
    )


def _classify(embeddings: tf.Tensor, support: SupportSet) -> dict[str, tf.Tensor]:
    """float32 [N, D] -> every label of the support set for each, best first."""
    labels, number_of = tf.unique(support.labels)
    means = tf.math.unsorted_segment_mean(support.embeddings, number_of, tf.size(labels))
    cosines = tf.matmul(embeddings, tf.math.l2_normalize(means, axis=-1), transpose_b=True)
    scores = tf.nn.softmax(SHARPNESS * cosines)
    order = tf.argsort(scores, direction="DESCENDING", stable=True)
    return {
        "scores": tf.gather(scores, order, batch_dims=1),
        "classes": tf.gather(labels, order),
        "support_version": tf.fill([tf.shape(embeddings)[0]], support.version),
    }
