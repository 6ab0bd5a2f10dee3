from __future__ import annotations

import io
import re
from typing import TYPE_CHECKING

import pytest
from PIL import Image

from tests.processes import ROOT
from tests.scripts.running import assert_one_sentence, run_script

if TYPE_CHECKING:
    import subprocess
    from pathlib import Path

DIGITS = """
[digits]
train = "scripts/train_digits.py"
color_mode = "grayscale"
input_size = [8, 8]
base_path = "digits"

[other_size]
train = "scripts/train_digits.py"
color_mode = "grayscale"
input_size = [28, 28]
"""


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with a models file."""
    folder = tmp_path_factory.mktemp("digits")
    (folder / "models.toml").write_text(DIGITS)
    return folder


@pytest.fixture(scope="module")
def training(folder: Path) -> subprocess.CompletedProcess[str]:
    """One run of the script, as the supervisor starts it."""
    process = run_script("train_digits", "--models=models.toml", "--model=digits", cwd=folder)
    assert process.returncode == 0, process.stderr
    return process


@pytest.mark.tensorflow
def test_training_shows_progress_and_the_held_out_accuracy(
    training: subprocess.CompletedProcess[str],
) -> None:
    """A line an epoch, and at least 97 % of the digits that were held out are read right."""
    assert "epoch 1/" in training.stdout
    found = re.search(r"held-out accuracy: ([\d.]+)% of 360 pictures", training.stdout)
    assert found is not None
    assert float(found[1]) >= 97


@pytest.mark.tensorflow
@pytest.mark.parametrize("side", [8, 32, 128, 500])
def test_the_shipped_pictures_are_read_right_at_any_size(
    training: subprocess.CompletedProcess[str], folder: Path, side: int
) -> None:
    """The export names the digit of every shipped picture, enlarged or shrunk as a person may send it."""
    from tests.serving.bare_session import BareSession  # noqa: PLC0415 - imports TensorFlow

    assert training.returncode == 0
    session = BareSession(folder / "digits" / "1")
    files = []
    for digit in range(10):
        with Image.open(ROOT / "test_images" / f"digit_{digit}.png") as image:
            file = io.BytesIO()
            image.resize((side, side), Image.Resampling.BICUBIC).save(file, "PNG")
            files.append(file.getvalue())
    assert session.run("image_bytes", files).argmax(axis=-1).tolist() == list(range(10))


def test_a_table_for_other_pictures_is_refused(folder: Path) -> None:
    """The digits are 8x8 and grey; a table that says otherwise is one sentence."""
    process = run_script("train_digits", "--models=models.toml", "--model=other_size", cwd=folder)
    assert_one_sentence(process, "[other_size]", "input_size = [8, 8]")


@pytest.mark.parametrize(
    ("version", "words"), [("x", "'x' is no version"), ("7", "holds version 7 already")]
)
def test_a_version_that_cannot_be_written_is_told_before_training(
    tmp_path: Path, version: str, words: str
) -> None:
    """Nobody waits a minute for a number that is none, or is taken."""
    (tmp_path / "models.toml").write_text(DIGITS)
    (tmp_path / "digits" / "7").mkdir(parents=True)
    process = run_script("train_digits", "--models=models.toml", "--version", version, cwd=tmp_path)
    assert_one_sentence(process, words)
    assert process.stdout == ""


def test_a_folder_that_cannot_be_written_is_told_before_training(tmp_path: Path) -> None:
    """SAVED_MODELS_DIR on a disk that takes nothing is one sentence."""
    (tmp_path / "models.toml").write_text(DIGITS.replace('base_path = "digits"\n', ""))
    process = run_script(
        "train_digits", "--models=models.toml", cwd=tmp_path, env={"SAVED_MODELS_DIR": "/proc/x"}
    )
    assert_one_sentence(process, "/proc/x/digits cannot be written")
    assert process.stdout == ""
