"""Batching real runs: many single images at once, in fewer calls, with the same scores.

SERVING_BATCH_MODEL names a folder of versions to measure with instead of the small model here.
"""

from __future__ import annotations

import json
import os
import time
import urllib.request
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import pytest

from tests.serving.conftest import serving

if TYPE_CHECKING:
    from collections.abc import Sequence

    from tests.serving.conftest import ModelServer

pytestmark = [pytest.mark.tensorflow, pytest.mark.timeout(900)]

CONCURRENT = 64
PARAMETERS = """max_batch_size { value: 32 } batch_timeout_micros { value: 20000 }
max_enqueued_batches { value: 100 } num_batch_threads { value: 2 }"""
RUN_COUNT = ":tensorflow:serving:batching_session:wrapped_run_count"


def save_small_model(path: Path) -> None:
    """A convolution and a softmax over 32x32 images."""
    import tensorflow as tf  # noqa: PLC0415  # takes seconds

    kernel = tf.random.stateless_normal([3, 3, 3, 8], seed=(1, 2))
    weights = tf.random.stateless_normal([8, 10], seed=(3, 4))

    def scores(image: tf.Tensor) -> dict[str, tf.Tensor]:
        features = tf.reduce_mean(tf.nn.relu(tf.nn.conv2d(image, kernel, 1, "SAME")), [1, 2])
        return {"scores": tf.nn.softmax(features @ weights)}

    spec = tf.TensorSpec([None, 32, 32, 3], tf.float32, "image")
    tf.saved_model.save(tf.Module(), str(path), {"serving_default": tf.function(scores, [spec])})


def ask(server: ModelServer, body: bytes) -> list[float]:
    """The scores of one image."""
    with urllib.request.urlopen(f"{server.url}/m:predict", body, timeout=120) as answer:
        scores: list[float] = json.load(answer)["predictions"][0]
    return scores


def ask_all(server: ModelServer, bodies: Sequence[bytes]) -> tuple[np.ndarray, float]:
    """The scores of many images asked for at once, and how many seconds that took."""
    with ThreadPoolExecutor(CONCURRENT) as pool:
        start = time.perf_counter()
        scores = list(pool.map(lambda body: ask(server, body), bodies))
        return np.array(scores), time.perf_counter() - start


def runs(server: ModelServer) -> float:
    """How many batches were run, says the metric."""
    url = f"http://127.0.0.1:{server.rest_port}/monitoring/prometheus/metrics"
    with urllib.request.urlopen(url, timeout=30) as answer:
        lines = answer.read().decode().splitlines()
    return sum(float(line.split()[1]) for line in lines if line.startswith(RUN_COUNT))


def image_shape(server: ModelServer) -> tuple[int, ...]:
    """Height, width and channels of the model's input."""
    with urllib.request.urlopen(f"{server.url}/m/metadata", timeout=30) as answer:
        metadata = json.load(answer)["metadata"]["signature_def"]["signature_def"]
    (spec,) = metadata["serving_default"]["inputs"].values()
    return tuple(int(dim["size"]) for dim in spec["tensor_shape"]["dim"][1:])


def test_batched_scores_are_the_same_in_fewer_runs(tmp_path: Path) -> None:
    """64 clients with an image each get the scores of one by one (1e-5), in fewer runs."""
    chosen = os.environ.get("SERVING_BATCH_MODEL")
    base_path = Path(chosen) if chosen else tmp_path / "m"
    if not chosen:
        save_small_model(base_path / "1")
    (tmp_path / "batching.txt").write_text(PARAMETERS)
    (tmp_path / "monitoring.txt").write_text("prometheus_config { enable: true }")
    flags = ("--model_name=m", f"--model_base_path={base_path}", "--rest_api_num_threads=64")
    with serving(tmp_path / "off.log", *flags, ready="m") as server:
        shape = (CONCURRENT, 1, *image_shape(server))
        images = np.random.default_rng(0).random(shape, np.float32)
        bodies = [json.dumps({"instances": image.tolist()}).encode() for image in images]
        alone = np.array([ask(server, body) for body in bodies])
        _, seconds_off = ask_all(server, bodies)
    batching = (
        "--enable_batching",
        f"--batching_parameters_file={tmp_path / 'batching.txt'}",
        f"--monitoring_config_file={tmp_path / 'monitoring.txt'}",
    )
    with serving(tmp_path / "on.log", *flags, *batching, ready="m") as server:
        ask(server, bodies[0])
        before = runs(server)
        together, seconds_on = ask_all(server, bodies)
        batches = runs(server) - before
    print(
        f"{CONCURRENT} images: {CONCURRENT / seconds_off:.0f}/s in {CONCURRENT} runs without, "
        f"{CONCURRENT / seconds_on:.0f}/s in {batches:.0f} runs with batching"
    )
    np.testing.assert_allclose(together, alone, atol=1e-5)
    assert 0 < batches < CONCURRENT * 3 / 4
