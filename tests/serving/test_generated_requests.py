"""Thousands of mutated requests: the server lives, answers in time, and errors keep their shape.

SERVING_REQUESTS sets how many, SERVING_SEED where they start; a failure names its seed.
"""

from __future__ import annotations

import contextlib
import http.client
import json
import os
import random
import time
from collections import Counter
from typing import TYPE_CHECKING

import pytest

from serving.json_exact import read_exactly
from serving.json_values import JsonObject
from tests.serving.conftest import serving

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from tests.serving.conftest import ModelServer

pytestmark = [pytest.mark.tensorflow, pytest.mark.timeout(1800)]

REQUESTS = int(os.environ.get("SERVING_REQUESTS", "600"))
FIRST_SEED = int(os.environ.get("SERVING_SEED", "0"))
DEADLINE_SECONDS = 5.0
IMAGE = [[[0.5, 0.25, 0.125]] * 8] * 8
VALID: list[tuple[str, object]] = [
    ("images:predict", {"instances": [IMAGE]}),
    ("images:predict", {"inputs": {"image": [IMAGE, IMAGE]}}),
    ("images:predict", {"signature_name": "bytes", "instances": [{"b64": "AAAA"}, "x"]}),
    ("images:predict", {"signature_name": "both", "instances": [{"n": 1, "s": "a"}]}),
    ("images:predict", {"signature_name": "both", "inputs": {"n": [1, 2], "s": [["b"]]}}),
    ("images:regress", {"signature_name": "sum", "examples": [{"x": 1.5}], "context": {}}),
    ("images/versions/1:predict", {"instances": [{"image": IMAGE}]}),
    ("images/labels/none:predict", {"instances": []}),
]
JUNK: list[object] = [
    *(None, True, -1, 0, 2**31, 2**63, 2**64, 10**30, 1.5, -0.0, 1e-320, "", "1", "\ud7ff", "\0"),
    *([], [[]], [[], [1]], {}, {"b64": "@"}, {"b64": 1}, {"x": {}}, [IMAGE], IMAGE, [[[[[1]]]]]),
    *([[0.0] * 9] * 9, [[[]] * 8] * 8, {"image": [[[]]]}, ["a", {"b64": "YQ"}], [1, "a"]),
]
BYTES = [b"", b"\0", b"[", b"]", b"{", b'"', b",", b"NaN", b"1e999", b"-", b"\xff", b'{"b64":"']


def mutated(value: object, rng: random.Random) -> object:
    """A document with one thing in it changed, taken away, doubled or nested deeper."""
    if isinstance(value, dict) and value and rng.random() < 0.9:
        return mutated_object(value, rng)
    if isinstance(value, list) and value and rng.random() < 0.85:
        return mutated_list(value, rng)
    return rng.choice([*JUNK, [value], {"x": value}])


def mutated_object(value: dict[str, object], rng: random.Random) -> dict[str, object]:
    """An object without a member, with one too many, or with a changed one."""
    key = rng.choice(list(value))
    change = rng.random()
    if change < 0.1:
        return {name: item for name, item in value.items() if name != key}
    if change < 0.2:
        return {**value, rng.choice(["inputs", "instances", "x", "b64", ""]): value[key]}
    return {**value, key: mutated(value[key], rng)}


def mutated_list(value: list[object], rng: random.Random) -> list[object]:
    """A list without an element, repeated, or with a changed element."""
    index = rng.randrange(len(value))
    change = rng.random()
    if change < 0.1:
        return value[:index] + value[index + 1 :]
    if change < 0.2:
        return value * rng.randrange(4)
    return [*value[:index], mutated(value[index], rng), *value[index + 1 :]]


def request(seed: int) -> tuple[str, str, bytes]:
    """The method, path and body that belong to a seed."""
    rng = random.Random(seed)
    path, document = rng.choice(VALID)
    for _ in range(rng.randrange(4)):
        document = mutated(document, rng)
    body = json.dumps(document).encode("utf-8", "surrogatepass")
    if rng.random() < 0.2:
        at = rng.randrange(len(body) + 1)
        body = body[:at] + rng.choice(BYTES) + body[at + rng.randrange(3) :]
    if rng.random() < 0.05:
        path = path.replace(rng.choice("s:/p1"), rng.choice(["", "%", "%00", "?", "::", "//"]))
    return rng.choice(["POST"] * 9 + ["GET", "PUT"]), f"/v1/models/{path}", body


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[ModelServer]:
    """A convolution that dies of wrong ranks when nobody looks, strings, several inputs, examples."""
    root = tmp_path_factory.mktemp("generated")
    _save_model(root / "images" / "1")
    flags = ("--model_name=images", f"--model_base_path={root / 'images'}")
    with serving(root / "log", *flags, ready="images") as running_server:
        yield running_server


def _save_model(path: Path) -> None:
    import tensorflow as tf  # noqa: PLC0415  # takes seconds

    kernel = tf.random.stateless_normal([3, 3, 3, 16], seed=(1, 2))

    def scores(image: tf.Tensor) -> dict[str, tf.Tensor]:
        image = tf.nn.conv2d(tf.nn.relu(image), kernel, 2, "VALID")
        return {"scores": tf.reduce_mean(tf.nn.max_pool2d(image, 2, 2, "VALID"), [1, 2])}

    def total(inputs: tf.Tensor) -> dict[str, tf.Tensor]:
        parsed = tf.io.parse_example(inputs, {"x": tf.io.FixedLenFeature([], tf.float32)})
        return {"outputs": parsed["x"]}

    spec = tf.TensorSpec
    signatures = {
        "serving_default": tf.function(scores, [spec([None, None, None, 3], tf.float32, "image")]),
        "bytes": tf.function(
            lambda s: {"size": tf.strings.length(s), "s_bytes": s}, [spec(None, tf.string, "s")]
        ),
        "both": tf.function(
            lambda n, s: {"n": n + 1, "s": s},
            [spec(None, tf.int32, "n"), spec(None, tf.string, "s")],
        ),
        "sum": tf.function(total, [spec([None], tf.string, "inputs")]),
    }
    tf.saved_model.save(tf.Module(), str(path), signatures)


def test_nothing_that_is_sent_breaks_it(server: ModelServer) -> None:
    """Every answer comes in time; every error is one key with a text; the process lives."""
    statuses: Counter[int] = Counter()
    connection = http.client.HTTPConnection("127.0.0.1", server.rest_port, timeout=60)
    with contextlib.closing(connection):
        for seed in range(FIRST_SEED, FIRST_SEED + REQUESTS):
            start = time.monotonic()
            connection.request(*request(seed))
            answer = connection.getresponse()
            content = answer.read()
            assert time.monotonic() - start < DEADLINE_SECONDS, seed
            assert server.program.process.poll() is None, seed
            assert answer.status < 500 or answer.status == 501, (seed, content)
            if answer.headers["Content-Type"] == "application/json" and answer.status != 200:
                check_error(seed, content)
            statuses[answer.status] += 1
    print(f"{REQUESTS} requests: {dict(sorted(statuses.items()))}")
    assert statuses[200] > REQUESTS / 20
    assert statuses[400] > REQUESTS / 5


def check_error(seed: int, content: bytes) -> None:
    """An error is an object with the one key `error`, a text; a version beyond int64 has none."""
    document = read_exactly(content)
    assert isinstance(document, JsonObject), seed
    ((key, text),) = document.members
    assert key == "error", seed
    assert isinstance(text, str), seed
