"""A table of the models file -> its Keras model with weights: from a file if there is one, else from Keras."""

from __future__ import annotations

import contextlib
import os
import tempfile
import warnings
from pathlib import Path
from typing import TYPE_CHECKING

import h5py
import keras

from model_config import weights_dir
from scripts.command_line import UserError
from scripts.reachability import NotReachableError, fail_fast_downloads
from scripts.weights_files import WeightsMissingError, find_weights, where_to_put

if TYPE_CHECKING:
    from collections.abc import Iterator

    from model_config import ModelConfig


def build_model(config: ModelConfig) -> keras.Model:
    """Build a model with the weights that its table and `WEIGHTS_DIR` give.

    Raises:
        WeightsMissingError: There is no weights file, and Keras' download cannot be reached.
        UserError: The file, the class and the table do not fit together.
    """
    path = find_weights(config)
    if path is not None:
        return _from_file(config, path)
    if config.weights == "imagenet":
        return _download(
            config,
            f"put them at {where_to_put(config)} (scripts/download_model.py --model {config.name} writes that file where"
            " there is a network), or give it a table whose 'weights' is a file or \"random\"",
        )
    if config.weights == "random":
        return _random(config)
    raise WeightsMissingError(
        f"Model '{config.name}' has no weights: put a whole model at {weights_dir() / config.name}.keras, or name a file"
        " with 'weights' in its table."
    )


def _random(config: ModelConfig) -> keras.Model:
    """Random weights, for trying and measuring; as fast as trained ones.

    Batch norms and biases begin as zeros and ones. TensorFlow drops what adds zero, and then fuses less than in any
    trained model; so these are made random, too.
    """
    model = _application(config, weights=None)
    for variable in model.weights:
        if len(variable.shape) == 1:
            variable.assign_add(keras.random.uniform(variable.shape, 0.0, 0.1, variable.dtype))
    return model


def _download(config: ModelConfig, hint: str) -> keras.Model:
    """Build a `keras.applications` model with the ImageNet weights that Keras downloads (or has in its cache).

    Raises:
        WeightsMissingError: The network cannot be reached; then the person is to do what `hint` says.
        UserError: What is in the cache cannot be read.
    """
    try:
        with fail_fast_downloads():
            return _with_imagenet_weights(config)
    except NotReachableError as error:
        raise WeightsMissingError(
            f"Model '{config.name}': its ImageNet weights cannot be downloaded ({error}); {hint}."
        ) from None
    except OSError as error:
        if broken := [str(file) for file in _broken_downloads()]:
            raise UserError(
                f"Model '{config.name}': a download was broken off ({_first_line(error)}); delete {', '.join(broken)} and"
                " start again."
            ) from None
        raise


def _broken_downloads() -> Iterator[Path]:
    """The files in Keras' cache that cannot be opened; of those without a known hash it takes half a one for whole."""
    cache = Path(os.environ.get("KERAS_HOME") or "~/.keras").expanduser() / "models"
    for file in cache.glob("*.h5"):
        try:
            h5py.File(file).close()
        except OSError:
            yield file


def _with_imagenet_weights(config: ModelConfig) -> keras.Model:
    """Weights made for this input size where Keras has them, else those of the class's own size."""
    try:
        return _application(config, weights="imagenet")
    except UserError:
        model = _application(config, weights=None)
    try:
        model.set_weights(_application(config, weights="imagenet", own_size=False).get_weights())
    except ValueError as error:
        raise UserError(
            f"Model '{config.name}': the ImageNet weights of {config.architecture} do not fit this 'input_size',"
            f" 'color_mode' or 'labels': {_first_line(error)}"
        ) from None
    return model


def download_weights(config: ModelConfig) -> Path:
    """Put a model's ImageNet weights into `WEIGHTS_DIR`, where exports look first.

    Returns:
        The file; it is left alone if it is there already.

    Raises:
        WeightsMissingError: The network cannot be reached.
        UserError: The folder cannot be written.
    """
    path = weights_dir() / f"{config.name}.weights.h5"
    if path.is_file():
        return path
    model = _download(
        config, f"run this where there is a network, and carry {where_to_put(config)} over"
    )
    beside = path.with_name(f".{config.name}.{os.getpid()}.weights.h5")
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        model.save_weights(beside)
        return beside.replace(path)
    except OSError as error:
        raise UserError(f"{path} cannot be written: {error.strerror or error}.") from None
    finally:
        beside.unlink(missing_ok=True)


def _from_file(config: ModelConfig, path: Path) -> keras.Model:
    try:
        if path.suffix == ".keras" or _is_whole_model(path):
            return keras.models.load_model(path, compile=False)
        if config.architecture is None:
            raise UserError(
                f"Model '{config.name}': {path} holds weights alone; name the 'architecture' in its table, or give a"
                " whole model (.keras)."
            )
        model = _application(config, weights=None)
        with warnings.catch_warnings():
            # Keras only warns of layers that it finds no weights for and leaves as they are: at random.
            warnings.simplefilter("error", UserWarning)
            with _named_as_keras_wants(path) as name:
                model.load_weights(name)
    except (ValueError, OSError, KeyError, TypeError, UserWarning) as error:
        what = f"; does it belong to {config.architecture}?" if config.architecture else ":"
        raise UserError(
            f"Model '{config.name}': {path} cannot be loaded{what} {_first_line(error)}"
        ) from None
    return model


@contextlib.contextmanager
def _named_as_keras_wants(path: Path) -> Iterator[Path]:
    """A name by which Keras tells the layout: the files that it publishes have the older one, and `.h5` at the end."""
    with h5py.File(path) as file:
        is_older = any(name.startswith("layer_names") for name in file.attrs)
    with tempfile.TemporaryDirectory() as folder:
        name = Path(folder, "older.h5" if is_older else "present.weights.h5")
        name.symlink_to(path)
        yield name


def _is_whole_model(path: Path) -> bool:
    with h5py.File(path) as file:
        return "model_config" in file.attrs


def _application(config: ModelConfig, *, weights: str | None, own_size: bool = True) -> keras.Model:
    """Build the class of `keras.applications`; its number of classes follows from the table's labels."""
    if config.architecture is None:
        raise UserError(f"Model '{config.name}' names no 'architecture' to build.")
    options = dict(config.architecture_options)
    if weights is None and config.labels:
        options.setdefault("classes", len(config.labels))
    if own_size:
        options.setdefault("input_shape", (*(config.input_size or ()), config.channels))
    try:
        return getattr(keras.applications, config.architecture)(weights=weights, **options)
    except (ValueError, TypeError) as error:
        raise UserError(
            f"Model '{config.name}': {config.architecture} cannot be built with {options}: {_first_line(error)}"
        ) from None


def _first_line(error: Exception) -> str:
    return next((line.strip() for line in str(error).splitlines() if line.strip()), repr(error))
