"""Which versions are made before models are served."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from model_config import load_deployment
from model_config.made_from import write_record
from supervisor.prepare import Missing, has_version, missing_versions

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    Load = Callable[[str], list[Missing]]

TABLE = """
[m]
weights    = "m.keras"
preprocess = "{}"
input_size = [8, 8]
base_path  = "m"
"""


@pytest.fixture
def missing(tmp_path: Path) -> Load:
    """What is missing for a models file of the given text."""

    def load(text: str) -> list[Missing]:
        path = tmp_path / "models.toml"
        path.write_text(text)
        return missing_versions(load_deployment(path, env={}).models.values())

    return load


def make_version(folder: Path) -> Path:
    """A folder that counts as a version."""
    folder.mkdir(parents=True)
    (folder / "saved_model.pb").write_bytes(b"")
    return folder


def export(folder: Path, models: Path) -> None:
    """A version that tells what it was made from: the first table of a models file."""
    (config,) = load_deployment(models, env={}).models.values()
    write_record(make_version(folder), config)


@pytest.mark.parametrize(
    ("folder", "expected"),
    [
        ("1", True),
        ("00000123", True),
        ("tmp", False),
        ("1.new", False),
        ("empty/1", False),
        (str(2**63), False),
    ],
)
def test_what_counts_as_a_version(tmp_path: Path, folder: str, expected: bool) -> None:
    """A version is a folder with a number for a name that holds a SavedModel."""
    make_version(tmp_path / folder)
    assert has_version(tmp_path) is expected
    assert has_version(tmp_path / "missing") is False


def test_one_base_path_is_prepared_once(missing: Load, tmp_path: Path) -> None:
    """Of the tables over one base path, the one that says how makes the version for all."""
    make_version(tmp_path / "there" / "3")
    (job,) = missing("""
        [plain]
        input_size = [8, 8]
        base_path = "m"
        [made]
        input_size = [8, 8]
        base_path = "m"
        train = "train.py"
        [there]
        input_size = [8, 8]
        base_path = "there"
        """)
    assert [model.name for model in job.models] == ["made", "plain"]
    assert job.reason == f"no version under {tmp_path / 'm'} yet"


def test_a_table_that_has_changed_since_the_export_is_noticed(
    missing: Load, tmp_path: Path
) -> None:
    """The newest version counts, which answers by default; the sentence tells both sides."""
    assert missing(TABLE.format("none"))
    export(tmp_path / "m" / "1", tmp_path / "models.toml")
    assert missing(TABLE.format("none")) == []
    (job,) = missing(TABLE.format("tf"))
    assert job.reason == 'version 1 was made with preprocess = "none", the table says "tf"'
    export(tmp_path / "m" / "2", tmp_path / "models.toml")
    assert missing(TABLE.format("tf")) == []


def test_weights_of_another_content_are_noticed(missing: Load, tmp_path: Path) -> None:
    """A weights file that was trained again is told, though the table is as it was."""
    (tmp_path / "m.keras").write_bytes(b"first")
    missing(TABLE.format("tf"))
    export(tmp_path / "m" / "1", tmp_path / "models.toml")
    (tmp_path / "m.keras").write_bytes(b"second")
    (job,) = missing(TABLE.format("tf"))
    assert job.reason == "version 1 was made from other weights than there are now"


def test_a_version_of_somebody_else_is_taken_as_it_is(missing: Load, tmp_path: Path) -> None:
    """What does not tell what it was made from is served, whatever the table says."""
    make_version(tmp_path / "m" / "1")
    assert missing(TABLE.format("tf")) == []
