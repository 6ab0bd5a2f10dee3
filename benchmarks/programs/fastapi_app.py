"""FASTAPI: what a good engineer would write instead: one framework, the model in the process, no second hop.

uvicorn imports `app` once in each of its workers; BENCHMARK_MODELS holds NAME=SIDE=FOLDER for each model, separated
by commas, BENCHMARK_SPARE how many times larger than needed a photo is decoded at least.
"""

from __future__ import annotations

import base64
import io
import os

os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "2")

import numpy as np
import orjson
import tensorflow as tf
from fastapi import FastAPI, Request, Response
from fastapi.concurrency import run_in_threadpool
from PIL import Image

from benchmarks.programs.reduced_jpeg import open_reduced

INTRA_OP_THREADS = int(os.environ.get("BENCHMARK_INTRA_OP_THREADS", "1"))
SPARE = int(os.environ["BENCHMARK_SPARE"])


class Model:
    """What Keras' own `model.export()` wrote, loaded in this process."""

    def __init__(self, side: int, folder: str) -> None:
        self.side = side
        self._loaded = tf.saved_model.load(folder)
        self._serve = self._loaded.signatures["serving_default"]
        (self._input,) = self._serve.structured_input_signature[1]

    def predict(self, photo: bytes) -> bytes:
        """Photo -> the five best as JSON text."""
        image = open_reduced(io.BytesIO(photo), self.side, SPARE)
        image = image.resize((self.side, self.side), Image.Resampling.BILINEAR)
        pixels = np.asarray(image, np.float32)[np.newaxis] / 127.5 - 1.0
        (output,) = self._serve(**{self._input: tf.constant(pixels)}).values()
        scores = output.numpy()[0]
        best = np.argpartition(scores, -5)[-5:]
        ordered = best[np.argsort(scores[best])[::-1]]
        return orjson.dumps([[int(number), float(scores[number])] for number in ordered])


def load_models() -> dict[str, Model]:
    """Load every model that BENCHMARK_MODELS names."""
    tables = [table.split("=", 2) for table in os.environ["BENCHMARK_MODELS"].split(",")]
    return {name: Model(int(side), folder) for name, side, folder in tables}


tf.config.threading.set_intra_op_parallelism_threads(INTRA_OP_THREADS)
app = FastAPI()
models = load_models()


@app.get("/hello/")
async def hello() -> str:
    """Tell that the models are loaded."""
    return "Hello, World!"


@app.post("/{name}/predict/")
async def predict(name: str, request: Request) -> Response:
    """Answer `{"b64": …}` with the five best."""
    photo = base64.b64decode(orjson.loads(await request.body())["b64"])
    best = await run_in_threadpool(models[name].predict, photo)
    return Response(best, media_type="application/json")
