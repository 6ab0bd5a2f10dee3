"""Run a script as a person does."""

from __future__ import annotations

import os
import subprocess
import sys
from typing import TYPE_CHECKING

from tests.processes import ROOT

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path


def run_script(
    name: str, *arguments: str | Path, cwd: Path, env: Mapping[str, str] | None = None
) -> subprocess.CompletedProcess[str]:
    """Run `python scripts/NAME.py ARGUMENTS` in another folder and wait for its end."""
    return subprocess.run(
        [sys.executable, str(ROOT / "scripts" / f"{name}.py"), *map(str, arguments)],
        cwd=cwd,
        env={**os.environ, **(env or {})},
        capture_output=True,
        text=True,
        timeout=240,
        check=False,
    )


def assert_one_sentence(process: subprocess.CompletedProcess[str], *words: str) -> None:
    """The script ended with status 1 or 3 and one line on standard error that holds the words."""
    assert process.returncode in (1, 3), process.stderr
    assert len(process.stderr.strip().splitlines()) == 1, process.stderr
    assert all(word in process.stderr for word in words), process.stderr
