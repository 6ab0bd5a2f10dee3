"""The requests that a model server runs through a version before it serves it, so that nobody waits for the first.

The file's name, place and records are TensorFlow Serving's (SavedModel Warmup, tensorflow.org/tfx/serving).
"""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

import tensorflow as tf
from tensorflow_serving.apis.predict_pb2 import PredictRequest
from tensorflow_serving.apis.prediction_log_pb2 import PredictionLog, PredictLog

from serving.export.image_graph import image_shape

if TYPE_CHECKING:
    from collections.abc import Iterable
    from pathlib import Path

    from tensorflow.core.framework.tensor_pb2 import TensorProto

    from model_config import ModelConfig


def write_warmup(version: Path, config: ModelConfig, signatures: Iterable[str]) -> None:
    """Write one black image for each of the signatures that the router asks for.

    Args:
        version: The version's folder.
        config: Says the servable and the image's size.
        signatures: Those that the version has.
    """
    images = {"serving_default": _float_image(config), "pixels": _raw_image(config)}
    path = version / "assets.extra" / "tf_serving_warmup_requests"
    path.parent.mkdir()
    with tf.io.TFRecordWriter(str(path)) as records:
        for signature in images.keys() & set(signatures):
            log = _predict_log(config.servable, signature, images[signature])
            records.write(log.SerializeToString())


def _predict_log(servable: str, signature: str, image: tuple[str, TensorProto]) -> PredictionLog:
    request = PredictRequest()
    request.model_spec.name = servable
    request.model_spec.signature_name = signature
    name, tensor = image
    request.inputs[name].CopyFrom(tensor)
    return PredictionLog(predict_log=PredictLog(request=request))


def _float_image(config: ModelConfig) -> tuple[str, TensorProto]:
    """One value stands for all in a TensorProto with a shape: the file stays small."""
    return "input_image", tf.make_tensor_proto(0.0, tf.float32, [1, *image_shape(config)])


def _raw_image(config: ModelConfig) -> tuple[str, TensorProto]:
    return "pixels", tf.make_tensor_proto([bytes(math.prod(image_shape(config)))], tf.string)
