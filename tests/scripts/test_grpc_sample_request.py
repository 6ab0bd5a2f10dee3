from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from tests.processes import ROOT
from tests.scripts.running import assert_one_sentence, run_script
from tests.serving.conftest import serving

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from tests.serving.conftest import ModelServer

CLOCK = ROOT / "test_images" / "wall_clock.jpg"
MODELS = """
[light]
base_path = "light"
labels = ["bright", "dark"]
input_size = [8, 8]
preprocess = "none"
upstream = "http://127.0.0.1:1"

[other_labels]
servable = "light"
base_path = "light"
labels = ["bright"]
input_size = [8, 8]
"""


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[ModelServer]:
    """A model that tells bright pictures from dark ones, from their bytes."""
    import tensorflow as tf  # noqa: PLC0415  # takes seconds

    def scores(image_bytes: tf.Tensor) -> dict[str, tf.Tensor]:
        def brightness(encoded: tf.Tensor) -> tf.Tensor:
            return tf.reduce_mean(tf.cast(tf.image.decode_jpeg(encoded, 3), tf.float32)) / 255.0

        bright = tf.map_fn(brightness, image_bytes, tf.float32)
        return {"scores": tf.stack([bright, 1.0 - bright], axis=1)}

    folder = tmp_path_factory.mktemp("light")
    (folder / "models.toml").write_text(MODELS)
    function = tf.function(scores, [tf.TensorSpec([None], tf.string, "image_bytes")])
    signatures = {"image_bytes": function}
    tf.saved_model.save(tf.Module(), str(folder / "light" / "1"), signatures)
    flags = ("--model_name=light", f"--model_base_path={folder / 'light'}")
    with serving(folder / "log", *flags, ready="light") as running_server:
        yield running_server


@pytest.mark.tensorflow
def test_an_image_file_gets_its_labels(server: ModelServer) -> None:
    """The file's bytes go to the signature image_bytes, and its two labels are printed."""
    folder = server.program.log.parent
    address = f"127.0.0.1:{server.grpc_port}"
    done = run_script(
        *("grpc_sample_request", "-i", CLOCK, "--models", "models.toml", "--server", address),
        cwd=folder,
    )
    assert done.returncode == 0, done.stderr
    lines = [line.split() for line in done.stdout.splitlines()]
    assert {label for _, label, *_ in lines} == {"bright", "dark"}
    assert sum(float(score) for score, *_ in lines) == pytest.approx(1, abs=1e-4)


@pytest.mark.tensorflow
def test_a_server_that_does_not_answer_is_told(tmp_path: Path) -> None:
    """Without a server, one sentence says which address did not answer and what to do."""
    (tmp_path / "models.toml").write_text(MODELS)
    done = run_script(
        *("grpc_sample_request", "-i", CLOCK, "--models", "models.toml"),
        *("--server", "127.0.0.1:1"),
        cwd=tmp_path,
    )
    assert_one_sentence(done, "Nobody answers at 127.0.0.1:1;", "--server")


@pytest.mark.tensorflow
def test_a_version_label_is_sent_along(server: ModelServer) -> None:
    """`--version-label` asks for the version with that label; the server says that nobody bears it."""
    address = f"127.0.0.1:{server.grpc_port}"
    done = run_script(
        *("grpc_sample_request", "-i", CLOCK, "--models", "models.toml", "--server", address),
        *("--version-label", "nobody"),
        cwd=server.program.log.parent,
    )
    assert_one_sentence(done, "Unrecognized servable version label: nobody")
    assert "--port" not in done.stderr


@pytest.mark.tensorflow
def test_a_file_that_is_no_image_is_told_as_such(server: ModelServer) -> None:
    """What the graph says of it is one line, and does not advise to start the server that has just answered."""
    done = run_script(
        *("grpc_sample_request", "-i", "models.toml", "--models", "models.toml"),
        *("--server", f"127.0.0.1:{server.grpc_port}"),
        cwd=server.program.log.parent,
    )
    assert_one_sentence(done, "INVALID_ARGUMENT", "image")
    assert "--port" not in done.stderr


@pytest.mark.tensorflow
def test_scores_that_do_not_fit_the_labels_are_one_sentence(server: ModelServer) -> None:
    """A table of another model is told as the router tells it."""
    address = f"127.0.0.1:{server.grpc_port}"
    process = run_script(
        *("grpc_sample_request", "-i", CLOCK, "--models", "models.toml", "--server", address),
        *("--model", "other_labels"),
        cwd=server.program.log.parent,
    )
    assert_one_sentence(process, "answered 2 scores, but 1 label is configured")
