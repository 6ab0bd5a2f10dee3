"""The log files of the supervisor and its children."""

from __future__ import annotations

import io
import shutil
from typing import TYPE_CHECKING

import pytest

from model_config import ConfigError
from supervisor.console import Console

if TYPE_CHECKING:
    from pathlib import Path


@pytest.mark.parametrize("folder", ["file", "file/logs"])
def test_a_logs_folder_that_cannot_be_made_is_named(tmp_path: Path, folder: str) -> None:
    """A LOGS_DIR that is a file, or lies below one, is refused in a sentence."""
    (tmp_path / "file").touch()
    with pytest.raises(ConfigError, match=r"^LOGS_DIR .* cannot be written \(.*\); name another"):
        Console(tmp_path / folder, io.StringIO())


def test_a_logs_folder_that_cannot_be_written_is_named(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A folder that is there but takes no file is refused likewise."""

    def refuse(path: Path) -> None:
        raise PermissionError(13, "Permission denied", path)

    monkeypatch.setattr("pathlib.Path.touch", refuse)
    with pytest.raises(ConfigError, match="Permission denied"):
        Console(tmp_path, io.StringIO())


def test_a_log_that_cannot_be_written_costs_its_lines_only(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """When a log file can no longer be written, the terminal goes on, without tracebacks."""
    terminal = io.StringIO()
    console = Console(tmp_path / "logs", terminal)
    shutil.rmtree(tmp_path / "logs")
    console.line("tiny", "text")
    console.close()
    assert terminal.getvalue() == "tiny     │ text\n"
    assert capsys.readouterr().err == ""
