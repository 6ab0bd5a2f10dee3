"""The model server as a process: how it starts, follows the disk, and stops."""

from __future__ import annotations

import json
import os
import platform
import re
import signal
import subprocess
import sys
import threading
import time
import urllib.error
import urllib.request
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING

import pytest

from tests.processes import ROOT, wait_until
from tests.serving.conftest import serving

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path

    from tests.serving.conftest import ModelServer, SaveVersion

pytestmark = pytest.mark.tensorflow


def predict(server: ModelServer, *rows: list[float], model: str = "m") -> object:
    """The predictions for some rows, or the status."""
    body = json.dumps({"instances": rows}).encode()
    try:
        with urllib.request.urlopen(f"{server.url}/{model}:predict", body, timeout=30) as answer:
            return json.load(answer)["predictions"]
    except urllib.error.HTTPError as error:
        return error.code


def test_it_follows_the_disk_and_stops_in_order(tmp_path: Path, save_version: SaveVersion) -> None:
    """A dropped-in version is served; a broken one is not; SIGTERM ends it with 0."""
    base_path = tmp_path / "m"
    save_version(base_path, 1)
    flags = ("--model_name=m", f"--model_base_path={base_path}", "--max_num_load_retries=0")
    with serving(tmp_path / "log", *flags, ready="m") as server:
        assert predict(server, [1, 2, 3]) == [[1.0, 2.0, 3.0]]
        save_version(base_path, 2)
        wait_until(lambda: predict(server, [1, 2, 3]) == [[2.0, 4.0, 6.0]], seconds=30, what="2")
        broken = base_path / "3"
        broken.mkdir()
        (broken / "saved_model.pb").write_bytes(b"not a model")
        status = f"{server.url}/m/versions/3"
        wait_until(lambda: b'"END"' in _get(status), seconds=30, what="the broken version ends")
        assert predict(server, [1, 2, 3]) == [[2.0, 4.0, 6.0]]
        assert server.program.stop() == 0


def _get(url: str) -> bytes:
    try:
        with urllib.request.urlopen(url, timeout=10) as answer:
            return bytes(answer.read())
    except urllib.error.HTTPError as error:
        return bytes(error.read())


SLOW_SECONDS = 3


def test_requests_that_run_are_finished(tmp_path: Path) -> None:
    """After SIGTERM, however often, a running request gets its answer (a time-out of 0 is none); new ones are refused."""
    _save_slow_model(tmp_path / "m" / "1")
    base_path = f"--model_base_path={tmp_path / 'm'}"
    flags = ("--model_name=m", base_path, "--rest_api_timeout_in_ms=0")
    with serving(tmp_path / "log", *flags, ready="m") as server:
        answers: list[object] = []
        request = threading.Thread(target=lambda: answers.append(predict(server, [1.0])))
        request.start()
        time.sleep(1)
        server.program.process.send_signal(signal.SIGTERM)
        wait_until(lambda: _is_refused(f"{server.url}/m"), seconds=5, what="refuses connections")
        server.program.process.send_signal(signal.SIGTERM)
        assert server.program.process.wait(timeout=60) == 0
        request.join(10)
        assert answers == [[[1.0]]]


def _is_refused(url: str) -> bool:
    try:
        urllib.request.urlopen(url, timeout=5).close()
    except urllib.error.HTTPError:
        return False
    except OSError:
        return True
    return False


def _save_slow_model(path: Path) -> None:
    import tensorflow as tf  # noqa: PLC0415  # takes seconds

    def slow(x: tf.Tensor) -> dict[str, tf.Tensor]:
        end = tf.timestamp() + SLOW_SECONDS
        (now,) = tf.while_loop(
            lambda now: now < end, lambda _: (tf.timestamp(),), (tf.timestamp(),)
        )
        with tf.control_dependencies([now]):
            return {"y": tf.identity(x)}

    function = tf.function(slow, input_signature=[tf.TensorSpec([None, 1], tf.float32, "x")])
    tf.saved_model.save(tf.Module(), str(path), {"serving_default": function})


def failing(*flags: str, env: Mapping[str, str] = {}) -> str:
    """Start the server where it cannot start; return what it says, and check the status and where it says why."""
    done = subprocess.run(
        [sys.executable, "-m", "serving", "--port=0", "--rest_api_port=1", *flags],
        cwd=ROOT,
        env={**os.environ, **env},
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
    )
    assert done.returncode == 255, done.stderr
    assert "Failed to start server. Error: " in done.stdout  # as with the real server
    return done.stdout + done.stderr


@pytest.mark.parametrize(
    ("config", "sentence"),
    [
        ("", "has no model_config_list"),
        ("garbage", "Invalid protobuf file"),
        ('model_config_list { config { name: "m" base_path: "rel" model_platform: "tensorflow" } }', "Expected model m to have an absolute path"),
        ('model_config_list { config { name: "m" base_path: "/x" } }', "Illegal setting neither ModelServerConfig::model_type (deprecated) nor ModelServerConfig::model_platform. (Model m"),
        ('model_config_list { config { name: "m" base_path: "/x" model_type: TENSORFLOW model_platform: "tensorflow" } }', "Illegal setting both"),
        ('model_config_list { config { name: "m" base_path: "/x" model_type: OTHER } }', "model_type choice 2 not supported"),
        ('model_config_list { config { name: "m" base_path: "/x" model_platform: "caffe" } }', "Model m requests unsupported platform caffe"),
        ('model_config_list { config { name: "m" base_path: "gs://x" model_platform: "tensorflow" } }', "only folders of this machine"),
    ],
)  # fmt: skip
def test_a_wrong_model_config_is_told(tmp_path: Path, config: str, sentence: str) -> None:
    """It does not start, and says which file or model is wrong and how."""
    file = tmp_path / "models.txt"
    file.write_text(config)
    said = failing(f"--model_config_file={file}")
    assert "Failed to start server. Error: INVALID_ARGUMENT: " in said
    assert sentence in said


def test_a_model_that_does_not_load_is_told(tmp_path: Path) -> None:
    """A configured model that cannot be loaded ends the start with its error."""
    (tmp_path / "m" / "1").mkdir(parents=True)
    said = failing("--model_name=m", f"--model_base_path={tmp_path / 'm'}")
    assert "1 servable(s) did not become available: {{{name: m version: 1} due to error: " in said
    assert "Specified file path does not appear to contain a SavedModel bundle" in said
    assert f"Specified file path: {tmp_path / 'm' / '1'}}}, }}" in said
    (tmp_path / "m" / "1" / "export.meta").touch()
    said = failing("--model_name=m", f"--model_base_path={tmp_path / 'm'}")
    assert "UNIMPLEMENTED: Session Bundle is deprecated and removed." in said


def test_threads_that_contradict_each_other_are_told() -> None:
    """All three flags are one too many, as the real server has it."""
    both = [f"--tensorflow_{kind}_op_parallelism=2" for kind in ("intra", "inter")]
    said = failing("--model_base_path=/x", "--tensorflow_session_parallelism=2", *both)
    assert "Either configure server_options.tensorflow_session_parallelism or (" in said


def test_batching_of_each_version(tmp_path: Path, save_version: SaveVersion) -> None:
    """With its flag, a version is batched as its own file says, and without one not at all."""
    own = save_version(tmp_path / "own", 1) / "batching_params.pbtxt"
    own.write_text("max_batch_size { value: 2 }")
    save_version(tmp_path / "none", 1)
    config = tmp_path / "models.txt"
    models = "".join(
        f'config {{ name: "{name}" base_path: "{tmp_path / name}" model_platform: "tensorflow" }}'
        for name in ("own", "none")
    )
    config.write_text(f"model_config_list {{ {models} }}")
    flags = (f"--model_config_file={config}", "--enable_per_model_batching_parameters")
    with serving(tmp_path / "log", *flags, "--enable_batching", ready="own") as server:
        assert predict(server, *[[1.0] * 3] * 3, model="own") == 400
        beyond_the_default = predict(server, *[[1.0] * 3] * 1001, model="none")
        assert beyond_the_default == [[1.0] * 3] * 1001


def test_warm_up_requests_are_batched_as_others_are(
    tmp_path: Path, save_version: SaveVersion
) -> None:
    """One that is larger than a batch may be fails the load."""
    import tensorflow as tf  # noqa: PLC0415  # takes seconds
    from tensorflow_serving.apis.prediction_log_pb2 import PredictionLog  # noqa: PLC0415  # needs it

    log = PredictionLog()
    rows = tf.make_tensor_proto([[1.0, 2.0, 3.0]] * 9)
    log.predict_log.request.inputs["x"].CopyFrom(rows)
    extra = save_version(tmp_path / "m", 1) / "assets.extra"
    extra.mkdir()
    with tf.io.TFRecordWriter(str(extra / "tf_serving_warmup_requests")) as writer:
        writer.write(log.SerializeToString())
    (tmp_path / "batching.txt").write_text("max_batch_size { value: 8 }")
    batching = ("--enable_batching", f"--batching_parameters_file={tmp_path / 'batching.txt'}")
    said = failing("--model_name=m", f"--model_base_path={tmp_path / 'm'}", *batching)
    assert "Task size 9 is larger than maximum input batch size 8" in said


def test_rest_is_opened_last(tmp_path: Path, save_version: SaveVersion) -> None:
    """Whoever has waited for the REST API finds the gRPC API there."""
    save_version(tmp_path / "m", 1)
    flags = ("--model_name=m", f"--model_base_path={tmp_path / 'm'}")
    with serving(tmp_path / "log", *flags, ready="m") as server:
        opened = re.findall(r"the (\w+) API answers", server.program.output())
        assert opened[:1] == ["gRPC"]


def test_log_lines_are_stamped_as_the_routers(tmp_path: Path) -> None:
    """A line begins with its time in UTC, wherever the machine stands, so that both programs' lines can be sorted."""
    (tmp_path / "m" / "1").mkdir(parents=True)
    base_path = f"--model_base_path={tmp_path / 'm'}"
    said = failing("--model_name=m", base_path, env={"TZ": "Asia/Tokyo"})
    (stamp,) = re.findall(r"^(\S+) INFO serving.server: loading model m", said, re.MULTILINE)
    assert re.fullmatch(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{3}Z", stamp)
    age = datetime.now(UTC) - datetime.fromisoformat(stamp)
    assert timedelta(0) < age < timedelta(minutes=5)


@pytest.mark.skipif(platform.machine() != "x86_64", reason="TensorFlow decides on other processors")
@pytest.mark.parametrize(("chosen", "is_on"), [({}, True), ({"TF_ENABLE_ONEDNN_OPTS": "0"}, False)])
def test_onednn_is_on_unless_somebody_says_otherwise(chosen: dict[str, str], is_on: bool) -> None:
    """TensorFlow says that it uses oneDNN, whatever instructions the processor has."""
    said = failing(env={"TF_CPP_MIN_LOG_LEVEL": "0", **chosen})
    assert ("oneDNN custom operations are on" in said) is is_on
