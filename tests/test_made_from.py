"""What a version was made from, beside what its table says now."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING, Any

import pytest

from model_config import ModelConfig
from model_config.made_from import (
    RECORD,
    difference,
    facts,
    facts_now,
    read_record,
    weights_file,
    write_record,
)

if TYPE_CHECKING:
    from pathlib import Path


@pytest.fixture(autouse=True)
def weights_dir(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """An empty WEIGHTS_DIR."""
    folder = tmp_path / "weights"
    folder.mkdir()
    monkeypatch.setenv("WEIGHTS_DIR", str(folder))
    return folder


@pytest.fixture
def vgg(tmp_path: Path) -> ModelConfig:
    """A table with everything that counts."""
    return ModelConfig(
        name="m",
        servable="m",
        base_path=tmp_path / "m",
        architecture="VGG16",
        architecture_options={"pooling": "max"},
        weights="imagenet",
        preprocess="caffe",
        input_size=(32, 24),
    )


def recorded(config: ModelConfig, version: Path) -> Any:
    """What a version tells that is made from this table."""
    version.mkdir()
    write_record(version, config)
    return read_record(version)


@pytest.mark.parametrize(
    ("change", "fact"),
    [
        ({"architecture": "VGG19"}, "architecture"),
        ({"architecture_options": {}}, "architecture_options"),
        ({"weights": "random"}, "weights"),
        ({"weights": "/w/mine.h5"}, "weights"),
        ({"preprocess": "tf"}, "preprocess"),
        ({"input_size": (24, 32)}, "input_size"),
        ({"color_mode": "grayscale"}, "color_mode"),
    ],
)
def test_each_change_that_counts_is_found(
    vgg: ModelConfig, tmp_path: Path, change: dict[str, Any], fact: str
) -> None:
    """Whatever makes a version answer otherwise is a difference, named by its key."""
    then = recorded(vgg, tmp_path / "1")
    assert difference(then, facts_now(vgg)) is None
    assert difference(then, facts_now(replace(vgg, **change))) == fact


@pytest.mark.parametrize(
    "change",
    [
        {"top": 3, "resize": "nearest", "labels": (), "servable": "other", "timeout_seconds": 1.0},
        {"preprocess": "mine:preprocess"},
        {"architecture": None, "architecture_options": {}, "weights": None},
    ],
)
def test_what_a_version_does_not_depend_on_is_no_difference(
    vgg: ModelConfig, tmp_path: Path, change: dict[str, Any]
) -> None:
    """The router's own keys, its own preprocessing, and a table that leaves open where its versions come from."""
    assert difference(recorded(vgg, tmp_path / "1"), facts_now(replace(vgg, **change))) is None


def test_a_model_that_resizes_by_itself_depends_on_the_filter(
    vgg: ModelConfig, tmp_path: Path
) -> None:
    """A few-shot model is given whole pictures, so that its version holds the filter, too."""
    table = replace(vgg, support_set=True)
    then = recorded(table, tmp_path / "1")
    assert difference(then, facts_now(replace(table, resize="nearest"))) == "resize"


def test_weights_that_are_trained_again_are_found(vgg: ModelConfig, tmp_path: Path) -> None:
    """A weights file of the same name with other content makes other versions; the same content elsewhere does not."""
    file = tmp_path / "mine.h5"
    file.write_bytes(b"first")
    table = replace(vgg, weights=str(file))
    then = recorded(table, tmp_path / "1")
    file.write_bytes(b"second")
    assert difference(then, facts_now(table)) == "weights"
    moved = tmp_path / "moved.h5"
    moved.write_bytes(b"first")
    assert difference(then, facts_now(replace(vgg, weights=str(moved)))) is None


def test_weights_that_were_not_carried_along_are_no_difference(
    vgg: ModelConfig, tmp_path: Path
) -> None:
    """Versions serve where their weights file is not, in whatever folder the models file is there."""
    file = tmp_path / "mine.h5"
    file.write_bytes(b"first")
    then = recorded(replace(vgg, weights=str(file)), tmp_path / "1")
    file.unlink()
    assert difference(then, facts_now(replace(vgg, weights="/elsewhere/mine.h5"))) is None
    assert difference(then, facts_now(replace(vgg, weights="/elsewhere/other.h5"))) == "weights"


def test_a_file_put_into_weights_dir_is_found(
    vgg: ModelConfig, tmp_path: Path, weights_dir: Path
) -> None:
    """WEIGHTS_DIR wins over the table, so a file that appears there means other versions."""
    then = recorded(vgg, tmp_path / "1")
    (weights_dir / "m.weights.h5").write_bytes(b"mine")
    assert weights_file(vgg) == weights_dir / "m.weights.h5"
    assert difference(then, facts_now(vgg)) == "weights"
    assert difference(recorded(vgg, tmp_path / "2"), facts_now(vgg)) is None


@pytest.mark.parametrize("content", [None, b"{", b"[1]", b"\xff", b"{}"])
def test_a_version_that_does_not_tell_is_taken_as_it_is(
    vgg: ModelConfig, tmp_path: Path, content: bytes | None
) -> None:
    """Without a record, or with one that cannot be read, nothing is known to differ."""
    if content is not None:
        (tmp_path / RECORD).parent.mkdir()
        (tmp_path / RECORD).write_bytes(content)
    assert difference(read_record(tmp_path) or {}, facts(vgg)) is None
