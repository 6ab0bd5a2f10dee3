"""A Keras model as a `tf.Module` with its signatures.

The model itself stands once in the SavedModel's function library; every signature calls it.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, cast

import keras
import tensorflow as tf

from model_config.model import GRAPH_FILTERS
from serving.export.folding import folded_values
from serving.export.image_graph import (
    apply_convention,
    decode_and_resize,
    image_shape,
    unpack_pixels,
)

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

    from numpy.typing import NDArray

    from model_config import ModelConfig

# A SavedModel's graph is one protocol buffer, which may not pass 2 GB; what stands beside the constants is small.
FREEZE_LIMIT_BYTES = 1_500_000_000
TOP = 10
Computation = Callable[[tf.Tensor], tf.Tensor]
ModelCall = Callable[[tf.Tensor], Any]
"""Images -> the scores, in whatever structure the model gives them."""
Signature = Callable[[tf.Tensor], dict[str, tf.Tensor]]


@dataclass(frozen=True)
class SignedModel:
    """What `tf.saved_model.save` takes."""

    module: tf.Module
    signatures: Mapping[str, Signature]


def sign(model: keras.Model, config: ModelConfig) -> SignedModel:
    """Give a Keras model its signatures.

    `serving_default`: `input_image` float32 [N, H, W, C], preprocessed -> `scores` float32 [N, classes].
    `pixels`: `pixels` string [N], each H·W·C raw uint8 bytes -> `scores`.
    `pixels_top`: `pixels` -> the best `scores` float32 [N, 10] and their `classes` int32 [N, 10], best first, of equal
        scores the lower class first. Only where there are more classes: to write and read a thousand numbers as text takes
        a twentieth of the time that MobileNetV2 takes to compute them.
    `image_bytes`: `image_bytes` string [N], each an image file -> `scores`.
    `preprocessing`: `image_bytes` string [N] -> `input_image` float32 [N, H, W, C].

    A convention of the deployment's own is Python code that no graph can hold: then `serving_default` stands alone.
    A filter that TensorFlow does not have (`hamming`) leaves out the two that resize.
    """
    module = tf.Module()
    floats = tf.TensorSpec([None, *image_shape(config)], tf.float32, name="input_image")
    score = _scorer(model, floats, module)
    signatures = {"serving_default": _signature(score, floats, "scores")}
    if not config.own_preprocess:
        signatures |= _signatures_of_bytes(score, config, top=_has_top(model))
    return SignedModel(module, signatures)


def _has_top(model: keras.Model) -> bool:
    """Whether a model gives so many scores that the best of them are a signature of their own."""
    shape = model.outputs[0].shape
    return len(shape) == 2 and shape[1] is not None and shape[1] > TOP


def _signatures_of_bytes(
    score: Computation, config: ModelConfig, *, top: bool
) -> dict[str, Signature]:
    def from_pixels(raw: tf.Tensor) -> tf.Tensor:
        return score(apply_convention(unpack_pixels(raw, config), config.preprocess))

    def preprocess(files: tf.Tensor) -> tf.Tensor:
        return apply_convention(decode_and_resize(files, config), config.preprocess)

    def from_files(files: tf.Tensor) -> tf.Tensor:
        return score(preprocess(files))

    pixels = tf.TensorSpec([None], tf.string, name="pixels")
    signatures = {"pixels": _signature(from_pixels, pixels, "scores")}
    if top:
        signatures["pixels_top"] = _top_signature(from_pixels, pixels)
    if config.resize in GRAPH_FILTERS:
        files = tf.TensorSpec([None], tf.string, name="image_bytes")
        signatures["image_bytes"] = _signature(from_files, files, "scores")
        signatures["preprocessing"] = _signature(preprocess, files, "input_image")
    return signatures


def _signature(compute: Computation, spec: tf.TensorSpec, output: str) -> Signature:
    def compute_named(value: tf.Tensor) -> dict[str, tf.Tensor]:
        return {output: compute(value)}

    return cast(Signature, tf.function(compute_named, input_signature=[spec], autograph=False))


def _top_signature(score: Computation, spec: tf.TensorSpec) -> Signature:
    def best(value: tf.Tensor) -> dict[str, tf.Tensor]:
        found = tf.math.top_k(score(value), k=TOP)
        return {"scores": found.values, "classes": found.indices}

    return cast(Signature, tf.function(best, input_signature=[spec], autograph=False))


def _scorer(model: keras.Model, spec: tf.TensorSpec, module: tf.Module) -> Computation:
    """The model as one function, whose weights hang on `module`: constants, or variables where they are too many."""
    size = _size_bytes(variable.value for variable in model.variables)
    compute = (_frozen if size <= FREEZE_LIMIT_BYTES else _with_variables)(model, module)

    def score(input_image: tf.Tensor) -> tf.Tensor:
        (scores,) = keras.tree.flatten(compute(input_image))  # one output, which may have a name
        return tf.cast(scores, tf.float32)

    return cast(Computation, tf.function(score, input_signature=[spec], autograph=False))


def _frozen(model: keras.Model, module: tf.Module) -> ModelCall:
    """TensorFlow folds batch norms into constants when it loads a graph, and packs them once, which makes it faster.

    As captured tensors they stand in the main graph, once; inside the functions they would be copied with each.
    """
    folded = folded_values(model)
    weights = [_constant(variable, folded) for variable in model.trainable_variables]
    others = [_constant(variable, folded) for variable in model.non_trainable_variables]
    module.model_constants = [*weights, *others]
    return lambda image: model.stateless_call(weights, others, image, training=False)[0]


def _constant(variable: keras.Variable, folded: Mapping[int, NDArray[Any]]) -> tf.Tensor:
    return tf.constant(folded.get(id(variable), variable.value), variable.dtype)


def _with_variables(model: keras.Model, module: tf.Module) -> ModelCall:
    """A Keras 3 model is no trackable of TensorFlow's: its variables must hang on the module themselves."""
    module.model_variables = [variable.value for variable in model.variables]
    return lambda image: model(image, training=False)


def _size_bytes(variables: Iterable[tf.Variable]) -> int:
    return sum(variable.dtype.size * math.prod(variable.shape) for variable in variables)
