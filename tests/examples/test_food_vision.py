from __future__ import annotations

import socket
import subprocess
import sys
from typing import TYPE_CHECKING

import pytest

from tests.processes import ROOT, free_port, running
from tests.scripts.running import assert_one_sentence

if TYPE_CHECKING:
    from pathlib import Path

pytestmark = pytest.mark.slow

FOOD_VISION = ROOT / "examples" / "food_vision" / "food_vision.py"


def start(port: int) -> subprocess.CompletedProcess[str]:
    """Run the program where it cannot begin."""
    command = [sys.executable, FOOD_VISION, "--port", str(port)]
    return subprocess.run(command, capture_output=True, text=True, timeout=60, check=False)


def test_a_port_that_is_taken_is_one_sentence() -> None:
    """No address is printed that somebody else answers at."""
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        process = start(port)
    assert_one_sentence(process, f"127.0.0.1:{port}", "Address already in use;", "--port")
    assert process.stdout == ""


def test_a_port_that_is_none_is_one_sentence() -> None:
    """There are 65535."""
    assert_one_sentence(start(70000), "port must be 0-65535;")


def test_it_answers_at_its_port(tmp_path: Path) -> None:
    """The server inherits the port that was taken for it."""
    port = free_port()
    with running(FOOD_VISION, "--port", str(port), log=tmp_path / "log") as program:
        program.wait_for(f"http://127.0.0.1:{port}/")
