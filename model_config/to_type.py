"""Command lines that a person can type as they stand."""

from __future__ import annotations

import shlex
import sys
from pathlib import Path


def command_to_type(program: str | Path, *arguments: str | Path) -> str:
    """What a person types here to run a program with the interpreter that runs now."""
    words = (Path(sys.executable), program, *arguments)
    return shlex.join(
        _as_seen_from_here(word) if isinstance(word, Path) else word for word in words
    )


def _as_seen_from_here(path: Path) -> str:
    here = Path.cwd()
    return str(path.relative_to(here) if path.is_relative_to(here) else path)
