"""LIMIT: what the photo and the model cost by themselves, in one process without HTTP."""

from __future__ import annotations

import io
import os
import sys
from typing import TYPE_CHECKING

os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "2")
os.environ.setdefault("TF_ENABLE_ONEDNN_OPTS", "1")  # as the model server has it

import numpy as np
import tensorflow as tf
from PIL import Image

from benchmarks.programs.reduced_jpeg import open_reduced
from benchmarks.programs.tasks import take_tasks

if TYPE_CHECKING:
    from collections.abc import Callable


class SignatureRunner:
    """A signature of a SavedModel in a session, called with the least work in Python."""

    def __init__(
        self, folder: str, intra_op_threads: int, signature_name: str = "serving_default"
    ) -> None:
        config = tf.compat.v1.ConfigProto(
            intra_op_parallelism_threads=intra_op_threads, use_per_session_threads=True
        )
        session = tf.compat.v1.Session(graph=tf.Graph(), config=config)
        with session.graph.as_default():
            meta_graph = tf.compat.v1.saved_model.load(session, ["serve"], folder)
        signature = meta_graph.signature_def[signature_name]
        (given,), (wanted,) = signature.inputs.values(), signature.outputs.values()
        self.run = session.make_callable(wanted.name, [given.name])


def answer(
    jpeg: bytes, side: int, spare: int, run: Callable[[np.ndarray], np.ndarray]
) -> np.ndarray:
    """Decode, resize, apply the convention `tf`, run; float32 [classes]."""
    reduced = open_reduced(io.BytesIO(jpeg), side, spare)
    image = reduced.resize((side, side), Image.Resampling.BILINEAR)
    pixels = np.asarray(image, np.float32) / np.float32(127.5) - np.float32(1.0)
    return run(pixels[np.newaxis])[0]


def main() -> None:
    """Load the model (arguments: FOLDER INTRA_OP_THREADS), then take tasks."""
    folder, intra_op_threads = sys.argv[1:]
    runner = SignatureRunner(folder, int(intra_op_threads))
    take_tasks(lambda jpeg, task: answer(jpeg, task["side"], task["spare"], runner.run))


if __name__ == "__main__":
    main()
