"""LIMIT: what the photo and the model cost by themselves, in one process without HTTP.

Reads one JSON object a line from standard input (`Task`), measures, and answers with one JSON object a line.
"""

from __future__ import annotations

import io
import json
import os
import sys
from typing import TYPE_CHECKING, Any

os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "2")

import numpy as np
import tensorflow as tf
from PIL import Image

from benchmarks.load import repeat
from benchmarks.programs.reduced_jpeg import open_reduced

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


def measure(task: dict[str, Any], run: Callable[[np.ndarray], np.ndarray]) -> dict[str, Any]:
    """Answer one photo again and again in `threads` threads."""
    with open(task["photo"], "rb") as file:  # noqa: PTH123
        jpeg = file.read()

    def call() -> bool:
        return answer(jpeg, task["side"], task["spare"], run).size > 0

    load = repeat([call] * task["threads"], seconds=task["seconds"], least=task["least"])
    return {"latencies_ms": load.latencies_ms, "seconds": load.seconds}


def main() -> None:
    """Load the model (arguments: FOLDER INTRA_OP_THREADS), then take tasks until standard input ends."""
    folder, intra_op_threads = sys.argv[1:]
    runner = SignatureRunner(folder, int(intra_op_threads))
    print("ready", flush=True)
    for line in sys.stdin:
        print(json.dumps(measure(json.loads(line), runner.run)), flush=True)


if __name__ == "__main__":
    main()
