from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from model_config import command_to_type

if TYPE_CHECKING:
    import pytest


def test_a_command_to_type_is_short_where_it_can_be(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The interpreter and files below the present folder are named from there, others as they are."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr("sys.executable", str(tmp_path / ".venv" / "bin" / "python"))
    shown = command_to_type(tmp_path / "a b.py", "--models", Path("/elsewhere/models.toml"))
    assert shown == ".venv/bin/python 'a b.py' --models /elsewhere/models.toml"
