"""Run the commands of a page under docs/ as it prints them."""

from __future__ import annotations

import contextlib
import os
import re
import shutil
import subprocess
import sys
from pathlib import Path
from typing import TYPE_CHECKING

from tests.processes import ROOT, Program, answers, free_port, running, wait_until

if TYPE_CHECKING:
    from collections.abc import Iterator


def commands(page: str) -> list[str]:
    """The ```bash blocks of `docs/PAGE`, in their order; lines that end with a backslash are joined."""
    text = (ROOT / "docs" / page).read_text()
    blocks = re.findall(r"^```bash\n(.*?)^```", text, flags=re.MULTILINE | re.DOTALL)
    assert blocks, f"{page} prints no commands"
    return [
        line for block in blocks for line in block.replace("\\\n", "").splitlines() if line.strip()
    ]


class Checkout:
    """A folder that looks like a fresh checkout to a person, whose state is its own."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        for name in ("scripts", "test_images", "docs", "examples", "auto_cmd.py"):
            (folder / name).symlink_to(ROOT / name)
        (folder / ".venv").symlink_to(Path(sys.prefix))
        shutil.copy(ROOT / "models.toml", folder)
        shutil.copy(ROOT / "imagenet_class_index.json", folder)
        self.router = f"http://127.0.0.1:{free_port()}"
        self.env = {
            "MODELS_FILE": str(folder / "models.toml"),
            "SAVED_MODELS_DIR": str(folder / "saved_models"),
            "WEIGHTS_DIR": str(folder / "weights"),
            "STATE_DIR": str(folder / "state"),
            "LOGS_DIR": str(folder / "logs"),
            "PORT": self.router.rsplit(":", 1)[1],
            "KERAS_HOME": str(folder / "keras"),
            "https_proxy": "http://127.0.0.1:9",  # no download: refused at once
            "no_proxy": "127.0.0.1,localhost",
        }

    def run(self, command: str, *, seconds: float = 240) -> str:
        """Run a command line; fail the test with its output if it fails."""
        process = subprocess.run(
            ["bash", "-euo", "pipefail", "-c", command],
            cwd=self.folder,
            env={**os.environ, **self.env},
            capture_output=True,
            text=True,
            timeout=seconds,
            check=False,
        )
        assert process.returncode == 0, f"{command}\n{process.stdout}\n{process.stderr}"
        return process.stdout

    @contextlib.contextmanager
    def started(self, *arguments: str, model: str, seconds: float = 180) -> Iterator[Program]:
        """What `make run ARGS=…` runs, until the block ends; it begins when the router has the model."""
        auto_cmd = (ROOT / "auto_cmd.py", *arguments)
        with running(*auto_cmd, log=self.folder / "run.log", env=self.env) as program:
            program.wait_for(f"{self.router}/readyz?model={model}", seconds=seconds)
            yield program
            program.stop()

    def wait_for(self, model: str, *, seconds: float = 180) -> None:
        """Wait until the router has a model that it was told of while it runs."""
        url = f"{self.router}/readyz?model={model}"
        wait_until(lambda: answers(url), seconds=seconds, what=f"{model} is available")
