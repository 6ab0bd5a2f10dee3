"""The chores, with an interpreter that cannot do what is asked of it."""

from __future__ import annotations

import re
import shutil
import subprocess
from typing import TYPE_CHECKING

import pytest

from tests.processes import ROOT

if TYPE_CHECKING:
    from pathlib import Path

pytestmark = pytest.mark.skipif(shutil.which("make") is None, reason="needs make")

# What Debian's does without the package python3-venv: it begins the folder, and fails.
WITHOUT_VENV = """\
#!/bin/sh
[ "$2" != venv ] || { mkdir -p "$3/bin" && touch "$3/bin/python" && exit 1; }
"""


def make(folder: Path, *arguments: str) -> subprocess.CompletedProcess[str]:
    """Run make."""
    command = ["make", *arguments]
    return subprocess.run(
        command, cwd=folder, capture_output=True, text=True, timeout=60, check=False
    )


@pytest.fixture
def project(tmp_path: Path) -> Path:
    """A folder with the Makefile, and what it needs to be read."""
    shutil.copy(ROOT / "Makefile", tmp_path)
    (tmp_path / "deploy").mkdir()
    shutil.copy(ROOT / "deploy" / "chores.mk", tmp_path / "deploy")
    for file in ROOT.glob("requirements*.txt"):
        shutil.copy(file, tmp_path)
    return tmp_path


def test_without_the_venv_module_the_advice_is_given_each_time(project: Path) -> None:
    """An environment that could not be made leaves nothing behind that the next run would take for one."""
    interpreter = project / "python"
    interpreter.write_text(WITHOUT_VENV)
    interpreter.chmod(0o755)
    for _ in range(2):
        result = make(project, "install", f"PYTHON={interpreter}")
        assert "apt-get install python3-venv" in result.stderr
        assert not (project / ".venv").exists()


def test_every_chore_that_is_listed_does_something(project: Path) -> None:
    """Also those for which there is a folder of that name."""
    (project / "docs").mkdir()
    (project / "bench").mkdir()
    chores = re.findall(r"^make ([\w-]+)", make(project, "help").stdout, re.MULTILINE)
    assert {"run", "docs", "bench", "audit"} <= {*chores}
    for chore in chores:
        result = make(project, "--dry-run", chore)
        assert (result.returncode, "Nothing to be done" in result.stdout) == (0, False), chore
