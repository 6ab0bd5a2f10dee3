"""The files in which a run tells others what it does."""

from __future__ import annotations

import json
import os
from typing import TYPE_CHECKING

import pytest

from model_config import ConfigError
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
