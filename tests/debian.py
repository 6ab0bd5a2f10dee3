"""Programs of Debian's that tests need: found, or installed where that is possible."""

from __future__ import annotations

import os
import shutil
import subprocess
from functools import cache
from typing import NoReturn

import pytest


@cache
def program(package: str, *names: str) -> str:
    """Where a program is, by any of its names; root installs its package if it is not there.

    Where neither is possible the test is skipped, but in CI, where it must be there, it fails.
    """
    path = _found(names)
    if path is None and os.geteuid() == 0 and shutil.which("apt-get"):
        for action in (("update",), ("install", "-y", "--no-install-recommends", package)):
            command = ("apt-get", "-qq", *action)
            subprocess.run(command, check=False, capture_output=True, timeout=240)
        path = _found(names)
    return path or unavailable(f"{names[0]} is not installed; apt-get install {package}")


def unavailable(reason: str) -> NoReturn:
    """Skip, naming what is missing; in CI it must be there, so fail."""
    if os.environ.get("CI") == "true":
        pytest.fail(reason)
    pytest.skip(reason)


def _found(names: tuple[str, ...]) -> str | None:
    return next(filter(None, map(shutil.which, names)), None)
