from __future__ import annotations

import os
import re
import shutil
import subprocess
import sys
from contextlib import contextmanager
from typing import TYPE_CHECKING

import numpy as np
import pytest
from PIL import Image

from model_config import load_deployment, version_folders
from scripts.command_line import UserError
from scripts.running_supervisor import reload_models
from tests.scripts.photo_folders_made import CLASSES, make_folders, make_photo
from tests.scripts.running import assert_one_sentence, run_script

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from contextlib import AbstractContextManager
    from pathlib import Path

    Holder = Callable[[str], AbstractContextManager[subprocess.Popen[str]]]

MODELS = """# Mine.
[small_net]
weights = "net.keras"
preprocess = "tf"
input_size = [48, 48]
base_path = "versions/small_net"
"""


@pytest.fixture(scope="module")
def network(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A small classifier whose weights are random: what it sees tells colours and patterns apart all the same."""
    keras = pytest.importorskip("keras")
    keras.utils.set_random_seed(0)
    layers = keras.layers
    model = keras.Sequential(
        [
            keras.Input((48, 48, 3)),
            layers.Conv2D(32, 5, strides=2, activation="relu"),
            layers.Conv2D(64, 3, strides=2, activation="relu"),
            layers.GlobalAveragePooling2D(),
            layers.Dense(2),
        ]
    )
    path = tmp_path_factory.mktemp("network") / "net.keras"
    model.save(path)
    return path


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """A models file, and photos of three classes, ten each."""
    (tmp_path / "models.toml").write_text(MODELS)
    make_folders(tmp_path / "photos", per_class=10)
    return tmp_path


def train(
    folder: Path,
    *arguments: str,
    photos: str = "photos",
    state: str = "state",
    backbone: str | None = "small_net",
) -> subprocess.CompletedProcess[str]:
    """Run the script with all its state in the folder."""
    env = {
        "STATE_DIR": str(folder / state),
        "SAVED_MODELS_DIR": str(folder / "versions"),
        "WEIGHTS_DIR": str(folder / "weights"),
        "KERAS_HOME": str(folder / "keras"),
        "https_proxy": "http://127.0.0.1:9",  # no download: refused at once
    }
    models = ("--models", "models.toml", *(("--backbone", backbone) if backbone else ()))
    return run_script(
        "train_classifier", photos, "--name", "shapes", *models, *arguments, cwd=folder, env=env
    )


# Keras 3.15 copies TensorFlow variables in a way that NumPy 2 calls old.
KERAS_ON_NUMPY_2 = pytest.mark.filterwarnings("ignore:__array__ implementation doesn't accept")


@pytest.mark.tensorflow
@KERAS_ON_NUMPY_2
def test_photos_become_a_served_model(folder: Path, network: Path) -> None:
    """A network with random weights is enough for patterns; version, labels, plot and table are there, bad files listed."""
    shutil.copy(network, folder)
    (folder / "photos" / "discs" / "broken.jpg").write_bytes(b"no picture")
    first = train(folder)
    assert first.returncode == 0, first.stderr
    assert "left out: photos/discs/broken.jpg" in first.stdout
    accuracy = re.search(r"held-out accuracy: ([\d.]+)% of 6 photos", first.stdout)
    assert accuracy is not None
    assert float(accuracy[1]) >= 80
    assert (folder / "state/training/shapes/confusion.png").read_bytes().startswith(b"\x89PNG")

    text = (folder / "models.toml").read_text()
    assert text.startswith(MODELS)
    config = load_deployment(folder / "models.toml").models["shapes"]
    assert [label.name for label in config.labels] == list(CLASSES)
    assert (config.preprocess, config.input_size) == ("tf", (48, 48))

    again = train(folder)
    assert again.returncode == 0, again.stderr
    assert (folder / "models.toml").read_text() == text
    assert list(version_folders(folder / "versions" / "shapes")) == [1, 2]
    _assert_reads_new_photos(folder / "versions" / "shapes" / "2")


def _assert_reads_new_photos(version: Path) -> None:
    from tests.serving.bare_session import BareSession  # noqa: PLC0415 - imports TensorFlow

    session = BareSession(version)
    photos = [make_photo(name, seed) for name in CLASSES for seed in range(100, 110)]
    pixels = [
        np.asarray(photo.resize((48, 48), Image.Resampling.BILINEAR)).tobytes() for photo in photos
    ]
    right = session.run("pixels", pixels).argmax(axis=-1) == np.repeat(np.arange(3), 10)
    assert right.mean() >= 0.8


@pytest.mark.tensorflow
@KERAS_ON_NUMPY_2
def test_what_was_seen_before_is_not_looked_at_again(tmp_path: Path, network: Path) -> None:
    """A second look takes every photo from the cache, by its content; a new one is looked at."""
    keras = pytest.importorskip("keras")
    from scripts.photo_folders import find_classes  # noqa: PLC0415
    from scripts.training.backbone import Backbone  # noqa: PLC0415 - imports TensorFlow

    (tmp_path / "models.toml").write_text(MODELS)
    config = load_deployment(tmp_path / "models.toml").models["small_net"]
    make_folders(tmp_path / "photos", per_class=2)
    backbone = Backbone(keras.models.load_model(network), config, tmp_path / "cache")
    photos = find_classes(tmp_path / "photos")[1]
    _, before = backbone.see(photos)
    files = {path: path.stat().st_mtime_ns for path in (tmp_path / "cache").iterdir()}
    assert len(files) == 6

    shutil.copy(photos[0].path, tmp_path / "photos" / "discs" / "renamed.png")
    make_photo("discs", 50).save(tmp_path / "photos" / "discs" / "new.png")
    _, after = backbone.see(find_classes(tmp_path / "photos")[1])
    now = {path: path.stat().st_mtime_ns for path in (tmp_path / "cache").iterdir()}
    assert len(after) == 8
    assert len(now) == 7
    assert files.items() <= now.items()
    np.testing.assert_array_equal(after[:2], before[:2])


def test_a_class_with_one_photo_is_named(folder: Path) -> None:
    """There must be one to learn from and one to test with, which is told before any is looked at; nothing is written."""
    for number in range(1, 10):
        for suffix in ("png", "jpg"):
            (folder / "photos" / "stripes" / f"{number}.{suffix}").unlink(missing_ok=True)
    process = train(folder)
    assert_one_sentence(process, "'stripes' has 1 photo")
    assert (folder / "models.toml").read_text() == MODELS
    assert not (folder / "versions").exists()


def test_a_cache_that_cannot_be_written_is_told_at_once(folder: Path) -> None:
    """STATE_DIR is named before any photo is looked at."""
    process = train(folder, state="/proc/x")
    assert_one_sentence(process, "/proc/x")
    assert process.stdout == ""


@pytest.mark.tensorflow
def test_any_models_file_has_a_backbone(folder: Path) -> None:
    """Without a table mobilenet_v2 the class MobileNetV2 looks at the photos, by weights that can be carried over."""
    process = train(folder, backbone=None)
    last = process.stderr.strip().splitlines()[-1]
    assert process.returncode == 3
    assert f"{folder}/weights/MobileNetV2.weights.h5" in last
    assert "download_model.py --model MobileNetV2" in last


def test_a_folder_without_classes_is_one_sentence(folder: Path) -> None:
    """A folder of pictures alone is refused before TensorFlow is imported."""
    process = train(folder, photos="photos/discs")
    assert_one_sentence(process, "one folder of pictures for each class")


def test_a_table_with_other_labels_is_not_overwritten(folder: Path) -> None:
    """What the models file says of this name counts."""
    table = '\n[shapes]\ninput_size = [48, 48]\npreprocess = "tf"\nlabels = ["a", "b"]\n'
    (folder / "models.toml").write_text(MODELS + table)
    assert_one_sentence(train(folder), "[shapes]", "another --name")


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (["--name", "no/slash"], "part of a URL"),
        (["--backbone", "nothing"], "'nothing' is neither a table"),
    ],
)
def test_a_mistake_is_told_at_once(folder: Path, arguments: list[str], words: str) -> None:
    """Before anything is trained or written."""
    assert_one_sentence(train(folder, *arguments), words)
    assert not (folder / "labels").exists()


@pytest.mark.parametrize(
    ("file", "words"),
    [("versions", "versions/shapes cannot be written"), ("labels", "labels cannot be written")],
)
def test_what_cannot_be_written_is_told_at_once(folder: Path, file: str, words: str) -> None:
    """No photo is looked at for a version or labels that could not be written."""
    (folder / file).write_text("a file")
    process = train(folder)
    assert_one_sentence(process, words)
    assert process.stdout == ""


def test_no_supervisor_to_reload_is_told_at_once(folder: Path) -> None:
    """`--reload` without a running auto_cmd.py does not cost a training first."""
    process = train(folder, "--reload")
    assert_one_sentence(process, "No auto_cmd.py runs", "make run")
    assert process.stdout == ""


HOLDER = """
import fcntl, os, pathlib, signal, sys
folder, placement = pathlib.Path(sys.argv[1]), sys.argv[2]
file = open(folder / "auto_cmd.pid", "w")
fcntl.flock(file, fcntl.LOCK_EX)
def reload(*_):
    if placement:
        (folder / "placement.json.new").write_text(placement)
        (folder / "placement.json.new").rename(folder / "placement.json")
    print("told", flush=True)
    sys.exit()
signal.signal(signal.SIGHUP, reload)
file.write(str(os.getpid()))
file.flush()
print("ready", flush=True)
signal.pause()
"""
"""A supervisor as others see it: holds `auto_cmd.pid`, and writes the placement anew when it gets SIGHUP."""


@pytest.fixture
def holder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Holder:
    """Starts a `HOLDER` that will write this placement."""
    monkeypatch.setenv("STATE_DIR", str(tmp_path))
    (tmp_path / "placement.json").write_text('{"shapes": {"upstream": ["http://before"]}}')

    @contextmanager
    def start(placement: str) -> Iterator[subprocess.Popen[str]]:
        command = [sys.executable, "-c", HOLDER, str(tmp_path), placement]
        with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as process:
            assert process.stdout is not None
            assert process.stdout.readline() == "ready\n"
            yield process
            assert process.stdout.readline() == "told\n"

    return start


def test_the_running_supervisor_is_told(tmp_path: Path, holder: Holder) -> None:
    """The process that holds `auto_cmd.pid` gets SIGHUP; when it is gone, a sentence says so."""
    with holder('{"shapes": {"upstream": ["http://127.0.0.1:9000"]}}') as process:
        assert reload_models("shapes") == process.pid
    # A number that another process has by now.
    (tmp_path / "auto_cmd.pid").write_text(str(os.getpid()))
    with pytest.raises(UserError, match="make run"):
        reload_models("shapes")


@pytest.mark.slow
@pytest.mark.parametrize(
    ("placement", "words"),
    [
        ('{"other": {"upstream": ["http://127.0.0.1:9000"]}}', "another --models"),
        ('{"shapes": {"problem": "It is not among them."}}', "'shapes': It is not among them."),
        ("", "has not taken 'shapes' up within 1 s"),
    ],
)
def test_a_supervisor_that_does_not_take_it_up_is_told_of(
    holder: Holder, placement: str, words: str
) -> None:
    """Another models file, `--only`, and a file that it refuses: nobody is told that the model is served."""
    with holder(placement), pytest.raises(UserError, match=words):
        reload_models("shapes", seconds=1)
