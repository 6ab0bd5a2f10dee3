from __future__ import annotations

from pathlib import Path
from typing import Any

import h5py
import numpy as np
import pytest

from model_config import Label, ModelConfig

pytestmark = [
    pytest.mark.tensorflow,
    # Keras 3.15 copies TensorFlow variables in a way that NumPy 2 calls old.
    pytest.mark.filterwarnings("ignore:__array__ implementation doesn't accept a copy"),
]

keras = pytest.importorskip("keras")

from scripts.command_line import UserError  # noqa: E402
from scripts.keras_models import build_model  # noqa: E402
from scripts.weights_files import WeightsMissingError, find_weights  # noqa: E402

SMALL: dict[str, Any] = {
    "architecture": "MobileNet",
    "architecture_options": {"alpha": 0.25},
    "input_size": (32, 32),
}


@pytest.fixture(autouse=True)
def weights_dir(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """An empty WEIGHTS_DIR."""
    folder = tmp_path / "weights"
    folder.mkdir()
    monkeypatch.setenv("WEIGHTS_DIR", str(folder))
    return folder


def config_with(**settings: Any) -> ModelConfig:
    """A table."""
    return ModelConfig(name="mine", servable="mine", base_path=Path(), **settings)


def assert_same_weights(one: keras.Model, other: keras.Model) -> None:
    """Two models hold the same numbers."""
    for left, right in zip(one.get_weights(), other.get_weights(), strict=True):
        np.testing.assert_array_equal(left, right)


def test_weights_dir_is_looked_into_first(weights_dir: Path, tmp_path: Path) -> None:
    """A file that bears the model's name wins over the table, .weights.h5 over .h5 over .keras."""
    table = tmp_path / "table.keras"
    table.touch()
    config = config_with(weights=str(table))
    assert find_weights(config) == table
    for suffix in (".keras", ".h5", ".weights.h5"):
        (weights_dir / f"mine{suffix}").touch()
        assert find_weights(config) == weights_dir / f"mine{suffix}"


@pytest.mark.parametrize("file_name", ["any.weights.h5", "any.keras", "any.h5"])
def test_each_kind_of_file_gives_the_weights_back(tmp_path: Path, file_name: str) -> None:
    """Weights alone and whole models, in Keras 3's and the older format, load to the numbers that were saved."""
    saved = keras.applications.MobileNet((32, 32, 3), alpha=0.25, weights=None, classes=1000)
    path = tmp_path / file_name
    if file_name.endswith(".weights.h5"):
        saved.save_weights(path)
    else:
        saved.save(path)
    assert_same_weights(build_model(config_with(weights=str(path), **SMALL)), saved)


def save_as_keras_publishes(model: keras.Model, path: Path) -> None:
    """Write a weights file in the older layout: a group for each layer, in order, and the names as attributes."""
    layers = [layer for layer in model.layers if layer.weights]
    with h5py.File(path, "w") as file:
        file.attrs["layer_names"] = [layer.name.encode() for layer in layers]
        for layer in layers:
            group = file.create_group(layer.name)
            names = [f"{layer.name}/{number}" for number in range(len(layer.weights))]
            group.attrs["weight_names"] = [name.encode() for name in names]
            for name, value in zip(names, layer.get_weights(), strict=True):
                group[name] = value


@pytest.mark.parametrize("older", [True, False])
@pytest.mark.parametrize("file_name", ["mine.weights.h5", "mine.h5"])
def test_the_name_of_a_weights_file_need_not_tell_its_layout(
    weights_dir: Path, file_name: str, older: bool
) -> None:
    """The file that Keras publishes, put where the hints say, gives its weights; so does one of today under the older name."""
    saved = keras.applications.MobileNet((32, 32, 3), alpha=0.25, weights=None, classes=1000)
    if older:
        save_as_keras_publishes(saved, weights_dir / file_name)
    else:
        saved.save_weights(weights_dir / "other.weights.h5")
        (weights_dir / "other.weights.h5").rename(weights_dir / file_name)
    assert_same_weights(build_model(config_with(weights="imagenet", **SMALL)), saved)


def test_the_labels_say_how_many_classes() -> None:
    """A table with five labels builds a network of five classes."""
    labels = tuple(Label(str(n), str(n)) for n in range(5))
    model = build_model(config_with(weights="random", labels=labels, **SMALL))
    assert model.outputs[0].shape == (None, 5)


def test_weights_of_another_network_are_refused(tmp_path: Path) -> None:
    """A file that does not belong to the architecture is one sentence that names both."""
    path = tmp_path / "other.weights.h5"
    keras.Sequential([keras.Input((4,)), keras.layers.Dense(2)]).save_weights(path)
    with pytest.raises(UserError) as error:
        build_model(config_with(weights=str(path), **SMALL))
    assert str(path) in str(error.value)
    assert "MobileNet" in str(error.value)
    assert "\n" not in str(error.value)


@pytest.mark.parametrize("content", [b"", b"this is no HDF5", b"PK\x03\x04 nor a zip"])
@pytest.mark.parametrize("suffix", [".weights.h5", ".keras", ".h5"])
def test_a_damaged_file_is_one_sentence(tmp_path: Path, content: bytes, suffix: str) -> None:
    """Whatever lies in the file, the failure names it."""
    path = tmp_path / f"damaged{suffix}"
    path.write_bytes(content)
    with pytest.raises(UserError) as error:
        build_model(config_with(weights=str(path), **SMALL))
    assert str(path) in str(error.value)
    assert "\n" not in str(error.value)


def test_a_table_without_any_weights_says_where_to_put_them(weights_dir: Path) -> None:
    """Without architecture and weights there is nothing to build; the sentence names the file to provide."""
    with pytest.raises(WeightsMissingError, match=str(weights_dir / "mine.keras")):
        build_model(config_with(input_size=(8, 8)))


def test_weights_alone_need_an_architecture(tmp_path: Path) -> None:
    """A weights file does not say which network it is for."""
    path = tmp_path / "any.weights.h5"
    keras.Sequential([keras.Input((4,)), keras.layers.Dense(2)]).save_weights(path)
    with pytest.raises(UserError, match="name the 'architecture'"):
        build_model(config_with(weights=str(path), input_size=(8, 8)))


def test_an_option_that_the_class_does_not_take_is_named() -> None:
    """What Keras says of `architecture_options` is passed on in one sentence."""
    settings = {**SMALL, "architecture_options": {"beta": 1}}
    with pytest.raises(UserError, match="beta"):
        build_model(config_with(weights="random", **settings))
