from __future__ import annotations

import os
from pathlib import Path

import pytest

from tests.scripts.running import assert_one_sentence, run_script

MODELS = """
[cached]
architecture = "MobileNet"
architecture_options = { alpha = 0.25 }
input_size = [128, 128]

[random]
architecture = "MobileNet"
weights = "random"
"""


@pytest.fixture
def env(tmp_path: Path) -> dict[str, str]:
    """No network, an own cache of Keras' and an own WEIGHTS_DIR; a models file."""
    (tmp_path / "models.toml").write_text(MODELS)
    return {
        "https_proxy": "http://127.0.0.1:9",  # the discard port: refused at once
        "KERAS_HOME": str(tmp_path / "keras"),
        "WEIGHTS_DIR": str(tmp_path / "weights"),
        "MODELS_FILE": str(tmp_path / "models.toml"),
        "SAVED_MODELS_DIR": str(tmp_path / "saved_models"),
    }


@pytest.mark.tensorflow
# Keras 3.15 copies TensorFlow variables in a way that NumPy 2 calls old.
@pytest.mark.filterwarnings("ignore:__array__ implementation doesn't accept a copy")
@pytest.mark.parametrize(
    ("side", "weights_for"),
    [(128, 128), (96, 224)],  # Keras has MobileNet weights for 128 pixels, and none for 96
)
def test_weights_land_where_exports_look_first(
    tmp_path: Path, env: dict[str, str], side: int, weights_for: int
) -> None:
    """What Keras downloads (here: has in its cache) goes to WEIGHTS_DIR, for the size that comes nearest."""
    keras = pytest.importorskip("keras")
    cache = tmp_path / "keras" / "models"
    cache.mkdir(parents=True)
    shape = (weights_for, weights_for, 3)
    trained = keras.applications.MobileNet(shape, alpha=0.25, weights=None)
    trained.save(cache / f"mobilenet_2_5_{weights_for}_tf.h5")
    Path(env["MODELS_FILE"]).write_text(MODELS.replace("128", str(side)))

    process = run_script("download_model", "--model", "cached", cwd=tmp_path, env=env)

    assert process.returncode == 0, process.stderr
    assert [f.name for f in (tmp_path / "weights").iterdir()] == ["cached.weights.h5"]
    again = keras.applications.MobileNet((side, side, 3), alpha=0.25, weights=None)
    again.load_weights(tmp_path / "weights" / "cached.weights.h5")
    assert (again.get_weights()[0] == trained.get_weights()[0]).all()


@pytest.mark.tensorflow
def test_without_a_network_it_ends_with_status_3(tmp_path: Path, env: dict[str, str]) -> None:
    """The last line says how to go on; no half file is left."""
    process = run_script("download_model", "--all", cwd=tmp_path, env=env)
    assert process.returncode == 3
    assert "cached.weights.h5" in process.stderr.strip().splitlines()[-1]
    assert not (tmp_path / "weights").exists()


@pytest.mark.tensorflow
def test_half_a_download_is_named(tmp_path: Path, env: dict[str, str]) -> None:
    """What a download that was killed has left in Keras' cache is to be deleted, says one sentence."""
    h5py = pytest.importorskip("h5py")
    half = tmp_path / "keras" / "models" / "mobilenet_2_5_128_tf.h5"
    half.parent.mkdir(parents=True)
    with h5py.File(half, "w") as file:
        file["weights"] = [1.0] * 1000
    os.truncate(half, 3000)
    process = run_script("download_model", "--model", "cached", cwd=tmp_path, env=env)
    assert_one_sentence(process, "'cached'", "truncated file", f"delete {half} and start again")


def test_a_model_without_imagenet_weights_is_refused(tmp_path: Path, env: dict[str, str]) -> None:
    """There is nothing to download for it."""
    process = run_script("download_model", "--model", "random", cwd=tmp_path, env=env)
    assert_one_sentence(process, "'random'", 'weights = "imagenet"')


@pytest.mark.tensorflow
def test_a_class_without_a_table_is_taken_too(tmp_path: Path, env: dict[str, str]) -> None:
    """A backbone's weights can be carried over; without a network the hint is not to run the same program."""
    process = run_script("download_model", "--model", "EfficientNetB0", cwd=tmp_path, env=env)
    last = process.stderr.strip().splitlines()[-1]
    assert process.returncode == 3
    assert f"carry {tmp_path}/weights/EfficientNetB0.weights.h5 over" in last
    assert "download_model" not in last


def test_what_is_neither_table_nor_class_is_refused(tmp_path: Path, env: dict[str, str]) -> None:
    """The nearest of both is named."""
    process = run_script("download_model", "--model", "EfficientNet0", cwd=tmp_path, env=env)
    assert_one_sentence(process, "'EfficientNet0' is neither", "did you mean 'EfficientNetB0'?")
