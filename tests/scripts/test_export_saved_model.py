from __future__ import annotations

import sys
from typing import TYPE_CHECKING

import pytest

from tests.scripts.running import assert_one_sentence, run_script

if TYPE_CHECKING:
    from pathlib import Path

MODELS = """
[tiny]
architecture = "MobileNet"
architecture_options = { alpha = 0.25 }
weights = "random"
input_size = [32, 32]
labels = ["cat", "dog"]
base_path = "versions/tiny"

[trained_here]
train = "train.py"
input_size = [8, 8]

[downloaded]
architecture = "MobileNetV2"
base_path = "versions/downloaded"

[from_elsewhere]
input_size = [8, 8]

[lost]
architecture = "MobileNetV2"
weights = "nowhere.weights.h5"
base_path = "versions/lost"
"""


@pytest.fixture
def models(tmp_path: Path) -> Path:
    """A models file in a folder of its own."""
    file = tmp_path / "models.toml"
    file.write_text(MODELS)
    return file


@pytest.mark.tensorflow
def test_a_model_becomes_the_next_version(models: Path, tmp_path: Path) -> None:
    """From any folder, the script writes versions 1 and 2 and says where; with --bfloat16 also how far answers move."""
    words = {"1": (), "2": ("keep their best class", "scores move by at most 0.0")}
    for number, options in (("1", ()), ("2", ("--bfloat16",))):
        process = run_script(
            "export_saved_model", "--models", models, "--model", "tiny", *options, cwd=tmp_path
        )
        assert process.returncode == 0, process.stderr
        version = tmp_path / "versions" / "tiny" / number
        assert (version / "saved_model.pb").is_file()
        assert all(part in process.stdout for part in (str(version), *words[number]))
        assert process.stderr == ""


@pytest.mark.tensorflow
def test_without_a_network_one_sentence_says_how_to_go_on(models: Path, tmp_path: Path) -> None:
    """A download that cannot be had ends with status 3 and a last line that names the file to provide."""
    env = {
        "https_proxy": "http://127.0.0.1:9",  # the discard port: refused at once
        "KERAS_HOME": str(tmp_path / "keras"),
        "WEIGHTS_DIR": str(tmp_path / "weights"),
    }
    process = run_script(
        "export_saved_model", "--models", models, "--model", "downloaded", cwd=tmp_path, env=env
    )
    assert process.returncode == 3
    last = process.stderr.strip().splitlines()[-1]
    assert str(tmp_path / "weights" / "downloaded.weights.h5") in last
    assert "Traceback" not in process.stderr
    assert not (tmp_path / "versions" / "downloaded").exists()


def test_a_weights_file_that_is_missing_is_named(models: Path, tmp_path: Path) -> None:
    """The table's path and the place in WEIGHTS_DIR are both told, with status 3."""
    process = run_script("export_saved_model", "--models", models, "--model", "lost", cwd=tmp_path)
    assert_one_sentence(process, str(tmp_path / "nowhere.weights.h5"), "lost.weights.h5")
    assert process.returncode == 3


@pytest.mark.tensorflow
def test_all_exports_what_it_can(models: Path, tmp_path: Path) -> None:
    """With --all a model that fails does not keep the others from being exported."""
    env = {"https_proxy": "http://127.0.0.1:9", "KERAS_HOME": str(tmp_path / "keras")}
    process = run_script("export_saved_model", "--models", models, "--all", cwd=tmp_path, env=env)
    assert process.returncode == 3
    assert (tmp_path / "versions" / "tiny" / "1").is_dir()
    assert "'downloaded'" in process.stderr
    assert "'lost'" in process.stderr
    assert "from_elsewhere" not in process.stdout + process.stderr


def test_an_unknown_model_is_named_with_its_neighbour(models: Path, tmp_path: Path) -> None:
    """A wrong name is one sentence with the nearest right one."""
    process = run_script("export_saved_model", "--models", models, "--model", "tini", cwd=tmp_path)
    assert_one_sentence(process, "[tini]", "did you mean 'tiny'?")


def test_a_trained_model_points_to_its_trainer(models: Path, tmp_path: Path) -> None:
    """What is trained here cannot be exported from weights; the sentence gives the command, to be run as it is."""
    process = run_script(
        "export_saved_model", "--models", models, "--model", "trained_here", cwd=tmp_path
    )
    command = f"run: {sys.executable} train.py --models models.toml --model trained_here\n"
    assert_one_sentence(process, command)


def test_a_missing_models_file_is_named(tmp_path: Path) -> None:
    """A models file that is not there is one sentence."""
    process = run_script(
        "export_saved_model", "--models", "none.toml", "--model", "tiny", cwd=tmp_path
    )
    assert_one_sentence(process, str(tmp_path / "none.toml"))
