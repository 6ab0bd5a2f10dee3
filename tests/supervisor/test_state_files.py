"""The files in which a run tells others what it does."""

from __future__ import annotations

import json
import os
from typing import TYPE_CHECKING

import pytest

from model_config import ConfigError, load_deployment
from supervisor.prepare import has_version, missing_versions
from supervisor.state_files import only_one, write_placement

if TYPE_CHECKING:
    from pathlib import Path


def test_placement_is_replaced_whole(tmp_path: Path) -> None:
    """The placement file is replaced in one step and nothing is left beside it."""
    path = tmp_path / "placement.json"
    write_placement(path, {"a": {"problem": "none"}})
    write_placement(path, {"a": {"upstream": ["http://127.0.0.1:9000"]}})
    assert json.loads(path.read_text()) == {"a": {"upstream": ["http://127.0.0.1:9000"]}}
    assert list(tmp_path.iterdir()) == [path]


def test_a_second_supervisor_is_refused(tmp_path: Path) -> None:
    """One state folder belongs to one supervisor at a time; its process id is named."""
    with only_one(tmp_path):
        assert (tmp_path / "auto_cmd.pid").read_text() == f"{os.getpid()}\n"
        with (
            pytest.raises(ConfigError, match=rf"as process {os.getpid()} with STATE_DIR"),
            only_one(tmp_path),
        ):
            pass
    with only_one(tmp_path):
        assert (tmp_path / "auto_cmd.pid").exists()


def test_a_state_folder_that_cannot_be_made_is_named(tmp_path: Path) -> None:
    """A STATE_DIR below a file is refused in a sentence."""
    (tmp_path / "file").write_text("")
    with (
        pytest.raises(ConfigError, match="cannot be written"),
        only_one(tmp_path / "file" / "state"),
    ):
        pass


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
    (tmp_path / folder).mkdir(parents=True)
    (tmp_path / folder / "saved_model.pb").write_bytes(b"")
    assert has_version(tmp_path) is expected
    assert has_version(tmp_path / "missing") is False


def test_one_base_path_is_prepared_once(tmp_path: Path) -> None:
    """Of the tables over one base path, the one that says how makes the version for all."""
    path = tmp_path / "models.toml"
    path.write_text(
        '[plain]\ninput_size = [8, 8]\nbase_path = "m"\n'
        '[made]\ninput_size = [8, 8]\nbase_path = "m"\ntrain = "train.py"\n'
        "[there]\ninput_size = [8, 8]\n"
    )
    (tmp_path / "there" / "3").mkdir(parents=True)
    (tmp_path / "there" / "3" / "saved_model.pb").write_bytes(b"")
    deployment = load_deployment(path, env={"SAVED_MODELS_DIR": str(tmp_path)})
    (job,) = missing_versions(deployment.models.values())
    assert [model.name for model in job] == ["made", "plain"]
