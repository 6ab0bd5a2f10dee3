from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from tests.scripts.fashion_files import write_fashion_files
from tests.scripts.running import assert_one_sentence, run_script

if TYPE_CHECKING:
    from pathlib import Path


@pytest.fixture
def models(tmp_path: Path) -> Path:
    """A models file with another model."""
    (tmp_path / "models.toml").write_text("[other]\ninput_size = [8, 8]\n")
    return tmp_path / "models.toml"


@pytest.mark.tensorflow
def test_without_network_and_data_one_sentence_says_so(models: Path, tmp_path: Path) -> None:
    """The last line names --data, with status 3, and the models file is as it was: nothing will try it again."""
    before = models.read_text()
    env = {"https_proxy": "http://127.0.0.1:9", "KERAS_HOME": str(tmp_path / "keras")}
    process = run_script("train_fashion_mnist", "--models", models, cwd=tmp_path, env=env)
    assert process.returncode == 3
    assert "--data" in process.stderr.strip().splitlines()[-1]
    assert "Traceback" not in process.stderr
    assert models.read_text() == before


def test_a_folder_without_the_files_is_one_sentence(models: Path, tmp_path: Path) -> None:
    """The first file that is missing is named."""
    write_fashion_files(tmp_path / "data", learn=20, test=10)
    (tmp_path / "data" / "t10k-labels-idx1-ubyte.gz").unlink()
    process = run_script("train_fashion_mnist", "--models", models, "--data", "data", cwd=tmp_path)
    assert_one_sentence(process, "t10k-labels-idx1-ubyte")


def test_files_that_do_not_belong_together_are_one_sentence(models: Path, tmp_path: Path) -> None:
    """As many labels as pictures."""
    write_fashion_files(tmp_path / "data", learn=20, test=10)
    labels = tmp_path / "data" / "train-labels-idx1-ubyte.gz"
    labels.write_bytes((tmp_path / "data" / "t10k-labels-idx1-ubyte.gz").read_bytes())
    process = run_script("train_fashion_mnist", "--models", models, "--data", "data", cwd=tmp_path)
    assert_one_sentence(process, "train files", "as many labels as pictures")


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (["--version", "abc"], "'abc' is no version"),
        (["--out", "/proc/x"], "/proc/x cannot be written"),
        (["--out", "models.toml"], "models.toml cannot be written"),
    ],
)
def test_what_cannot_be_written_is_told_before_training(
    models: Path, tmp_path: Path, arguments: list[str], words: str
) -> None:
    """Neither the version nor the package costs the time of a training first."""
    process = run_script("train_fashion_mnist", "--models", models, *arguments, cwd=tmp_path)
    assert_one_sentence(process, words)
    assert process.stdout == ""
    assert "fashion_mnist" not in models.read_text()
