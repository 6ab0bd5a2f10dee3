"""The whole program, without model servers of its own."""

from __future__ import annotations

import os
import subprocess
import sys
from typing import TYPE_CHECKING

from tests.processes import ROOT, free_port

if TYPE_CHECKING:
    from pathlib import Path

MODEL = "[a]\ninput_size = [8, 8]\nupstream = 'http://127.0.0.1:9'\n"


def command(folder: Path, models: str) -> list[str]:
    """auto_cmd.py for these models, and a router alone."""
    path = folder / "models.toml"
    path.write_text(models)
    program = [sys.executable, str(ROOT / "auto_cmd.py"), "--models", str(path)]
    return [*program, "--model-server", "none", "--port", str(free_port())]


def environment(folder: Path, **more: str) -> dict[str, str]:
    """Everything that is written goes to a folder of the test."""
    folders = {"STATE_DIR": str(folder / "state"), "LOGS_DIR": str(folder / "logs")}
    return {**os.environ, "DRAIN_SECONDS": "0", "WORKERS": "1", **folders, **more}


def ended(folder: Path, models: str, **env: str) -> subprocess.CompletedProcess[str]:
    """What it says and exits with, where it ends by itself."""
    return subprocess.run(
        command(folder, models),
        env=environment(folder, **env),
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )


def test_a_wrong_function_stops_everything_at_once(tmp_path: Path) -> None:
    """What the router will never take is said, and it is not started again and again."""
    answer = ended(tmp_path, MODEL + "preprocess = 'nomod:f'\n")
    assert answer.returncode == 1
    assert "starting it again" not in answer.stdout
    assert "No module named 'nomod'; without it nothing is served, so everything" in answer.stdout


def test_a_logs_folder_that_cannot_be_made_is_one_sentence(tmp_path: Path) -> None:
    """The program ends with one line about LOGS_DIR."""
    (tmp_path / "file").touch()
    answer = ended(tmp_path, MODEL, LOGS_DIR=str(tmp_path / "file"))
    assert answer.returncode == 1
    assert answer.stderr.startswith("auto_cmd.py: LOGS_DIR ")
    assert answer.stderr.count("\n") == 1
