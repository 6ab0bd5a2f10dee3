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
    from collections.abc import Collection, Mapping
    from pathlib import Path

    from tensorflow.core.framework.tensor_pb2 import TensorProto

    from model_config import ModelConfig


def write_warmup(version: Path, config: ModelConfig, signatures: Collection[str]) -> None:
    """Write one black image for the signature that the router asks for.

    For no other: what one signature has compiled is of no use to the next, which takes as long again to load, and as much
    memory for packed weights of its own.

    Args:
        version: The version's folder.
        config: Says the servable and the image's size.
        signatures: Those that the version has.
    """
    shape = image_shape(config)
    # One value stands for all in a TensorProto with a shape: the file stays small.
    floats = {"input_image": tf.make_tensor_proto(0.0, tf.float32, [1, *shape])}
    pixels = {"pixels": tf.make_tensor_proto([bytes(math.prod(shape))], tf.string)}
    images = {"pixels_top": pixels, "pixels": pixels, "serving_default": floats}
    asked = next(name for name in images if name in signatures)
    write_requests(version, config.servable, {asked: images[asked]})


def write_requests(
    version: Path, servable: str, requests: Mapping[str, Mapping[str, TensorProto]]
) -> None:
    """Write requests: signature -> input -> tensor."""
    path = version / "assets.extra" / "tf_serving_warmup_requests"
    path.parent.mkdir()
    with tf.io.TFRecordWriter(str(path)) as records:
        for signature, inputs in requests.items():
            records.write(_predict_log(servable, signature, inputs).SerializeToString())


def _predict_log(servable: str, signature: str, inputs: Mapping[str, TensorProto]) -> PredictionLog:
    request = PredictRequest()
    request.model_spec.name = servable
    request.model_spec.signature_name = signature
    for name, tensor in inputs.items():
        request.inputs[name].CopyFrom(tensor)
    return PredictionLog(predict_log=PredictLog(request=request))
