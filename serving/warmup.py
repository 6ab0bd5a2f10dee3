"""Replay recorded requests before a version is handed out, so that the first users do not wait.

They lie in a version's `assets.extra/tf_serving_warmup_requests`: a TFRecord of `PredictionLog`
messages, at most 1000. Source: https://www.tensorflow.org/tfx/serving/saved_model_warmup.
"""

from __future__ import annotations

import logging
from typing import TYPE_CHECKING

from google.protobuf.message import DecodeError
from tensorflow_serving.apis.prediction_log_pb2 import PredictionLog

from serving import tensorflow_core as tf
from serving.errors import Code, InvalidArgument, ServingError, Unimplemented
from serving.messages import run_classify, run_multi_inference, run_predict, run_regress

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from serving.servable import Servable

logger = logging.getLogger(__name__)

REQUESTS_FILE = "assets.extra/tf_serving_warmup_requests"
_RECORDS_MAX = 1000


def warm_up(
    servable: Servable, version_path: Path, iterations: int, timeout_seconds: float | None = None
) -> bool:
    """Run a version's recorded requests, each `iterations` times (0 is once).

    With the timeout that requests will have: a run is compiled for each, so another one would warm nothing. But a first
    run may take longer than any other, and is not held to it.

    Returns:
        Whether there were any.

    Raises:
        ServingError: a request fails, or the file is broken; the version must not be served then.
    """
    file = version_path / REQUESTS_FILE
    count = 0
    for count, log in enumerate(_logs(file), start=1):
        if count > _RECORDS_MAX:
            raise InvalidArgument(
                f"Number of warmup records exceeds the maximum ({_RECORDS_MAX}) at {file}"
            )
        for _ in range(max(1, iterations)):
            _replay(servable, log, timeout_seconds)
    return count > 0


def _logs(path: Path) -> Iterator[PredictionLog]:
    if not path.is_file():
        return
    logger.info("replaying the warm-up requests of %s", path)
    try:
        for record in tf.RecordIterator(str(path), ""):
            yield PredictionLog.FromString(record)
    except tf.OpError as error:
        raise ServingError(
            f"{error.message}. Please verify your warmup data is in TFRecord format.",
            Code(error.error_code),
        ) from None
    except DecodeError:
        raise InvalidArgument(f"Failed to parse warmup record from {path}") from None


def _replay(servable: Servable, log: PredictionLog, timeout_seconds: float | None) -> None:
    try:
        _run(servable, log, timeout_seconds)
    except ServingError as error:
        if error.code is not Code.DEADLINE_EXCEEDED:
            raise
        _run(servable, log, None)


def _run(servable: Servable, log: PredictionLog, timeout_seconds: float | None) -> None:
    """Run a record's request; a kind of record that is not known is passed over, as the real server does."""
    match log.WhichOneof("log_type"):
        case "predict_log":
            asked = log.predict_log.request
            run_predict(servable, asked, timeout_seconds, check_method_name=False)
        case "classify_log":
            asked = log.classify_log.request
            name = asked.model_spec.signature_name
            run_classify(servable, name, asked.input, timeout_seconds, check_method_name=False)
        case "regress_log":
            asked = log.regress_log.request
            name = asked.model_spec.signature_name
            run_regress(servable, name, asked.input, timeout_seconds, check_method_name=False)
        case "multi_inference_log":
            several = log.multi_inference_log.request
            run_multi_inference(servable, several, timeout_seconds, check_method_name=False)
        case "session_run_log":
            number = PredictionLog.SESSION_RUN_LOG_FIELD_NUMBER
            raise Unimplemented(f"Unsupported log_type for warmup: {number}")
