"""Send an image file as it is to a model server over gRPC, and print the labels that its scores mean."""

from __future__ import annotations

import argparse
import sys
from pathlib import Path
from typing import TYPE_CHECKING

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))

from scripts.client_side import best_labels
from scripts.command_line import UserError, run
from scripts.model_choice import add_models_argument, pick_model, read_models
from scripts.sample_image import add_top_argument, print_labels, read_image
from scripts.tensorflow_import import importing_tensorflow

if TYPE_CHECKING:
    from collections.abc import Mapping

    import numpy as np
    from tensorflow.core.framework.tensor_pb2 import TensorProto

    from model_config import ModelConfig

TIMEOUT_SECONDS = 60.0
MAX_MESSAGE_BYTES = 2**31 - 1


def main() -> None:
    """Call `Predict` with the signature `image_bytes`: the graph decodes, resizes and predicts."""
    arguments = _arguments()
    deployment = read_models(arguments.models)
    config = pick_model(deployment, arguments.model or next(iter(deployment.models)))
    image = read_image(arguments.image)
    scores = predicted_scores(arguments.server, config, image, arguments.version_label)
    print_labels(best_labels(scores, config, arguments.top or config.top))


def predicted_scores(
    server: str, config: ModelConfig, image: bytes, version_label: str | None = None
) -> np.ndarray:
    """Ask a model server for the scores of one encoded image.

    Args:
        server: `host:port` of its gRPC API.
        config: the model's table.
        image: a JPEG or PNG file's bytes.
        version_label: which version; None for the newest.

    Returns:
        float32 [classes].

    Raises:
        UserError: it does not answer, or not with scores.
    """
    # Here, since nobody should wait for them to read --help. Messages alone load none of TensorFlow's libraries.
    import grpc  # noqa: PLC0415
    from tensorflow.core.framework import types_pb2  # noqa: PLC0415
    from tensorflow_serving.apis import predict_pb2, prediction_service_pb2_grpc  # noqa: PLC0415

    request = predict_pb2.PredictRequest()
    request.model_spec.name = config.servable
    request.model_spec.signature_name = "image_bytes"
    if version_label is not None:
        request.model_spec.version_label = version_label
    request.inputs["image_bytes"].dtype = types_pb2.DT_STRING
    request.inputs["image_bytes"].tensor_shape.dim.add(size=1)
    request.inputs["image_bytes"].string_val.append(image)
    limits = [("grpc.max_send_message_length", MAX_MESSAGE_BYTES)]
    with grpc.insecure_channel(server, options=limits) as channel:
        stub = prediction_service_pb2_grpc.PredictionServiceStub(channel)
        try:
            response = stub.Predict(request, timeout=TIMEOUT_SECONDS)
        except grpc.RpcError as error:
            if error.code() is grpc.StatusCode.UNAVAILABLE:
                raise UserError(
                    f"Nobody answers at {server}; start a model server with --port, or name its gRPC port with --server."
                ) from None
            reason = (error.details() or error.code().name).strip().splitlines()[0]
            raise UserError(f"{server} answered {error.code().name}: {reason}") from None
    return _only_row(response.outputs, config.servable)


def _only_row(outputs: Mapping[str, TensorProto], servable: str) -> np.ndarray:
    with importing_tensorflow():
        from tensorflow.python.framework import tensor_util  # noqa: PLC0415 - takes a second

    if len(outputs) != 1:
        raise UserError(f"{servable} answered {sorted(outputs)}, not scores alone.")
    (output,) = outputs.values()
    rows: np.ndarray = tensor_util.MakeNdarray(output)
    if not rows.ndim or not len(rows):
        raise UserError(f"{servable} answered no row of scores.")
    row: np.ndarray = rows[0]
    return row


def _arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument(
        "-i", "--image", type=Path, required=True, metavar="IMAGE", help="a JPEG or PNG file"
    )
    parser.add_argument(
        "--model", metavar="NAME", help="its table (default: the first of the models file)"
    )
    add_models_argument(parser)
    parser.add_argument(
        "--server",
        default="127.0.0.1:8500",
        metavar="HOST:PORT",
        help="the model server's gRPC port (default: %(default)s)",
    )
    parser.add_argument(
        "--version-label", metavar="LABEL", help="the version with this label (default: the newest)"
    )
    add_top_argument(parser)
    return parser.parse_args()


if __name__ == "__main__":
    run(main)
