"""Start auto_cmd.py with everything it writes in a folder of the test."""

from __future__ import annotations

import contextlib
import json
import os
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import requests

from tests.processes import ROOT, Program, free_port, running, wait_until

if TYPE_CHECKING:
    from collections.abc import Iterator


@dataclass(frozen=True)
class Deployed:
    """A supervisor that is up, and where its router listens."""

    program: Program
    url: str
    state_dir: Path

    def post(self, model: str, image: Path, **params: str) -> requests.Response:
        """Send an image file as raw bytes."""
        kind = {"jpg": "jpeg"}.get(image.suffix[1:], image.suffix[1:])
        return requests.post(
            f"{self.url}/{model}/predict/",
            data=image.read_bytes(),
            headers={"Content-Type": f"image/{kind}"},
            params=params,
            timeout=60,
        )

    def labels(self, model: str, image: Path, **params: str) -> list[tuple[str, str, float]]:
        """The labels of an image; fails unless the answer is 200."""
        response = self.post(model, image, **params)
        assert response.status_code == 200, response.text
        return [(row[0], row[1], row[2]) for row in response.json()]

    def placement(self) -> dict[str, Any]:
        """Where the supervisor says that each model is."""
        return dict(json.loads((self.state_dir / "placement.json").read_text()))

    def children(self) -> dict[int, str]:
        """Process ids and command lines of everything that the supervisor has started."""
        return descendants(self.program.process.pid)


@contextlib.contextmanager
def deployed(
    folder: Path,
    *arguments: str,
    models: Path = ROOT / "models.toml",
    seconds: float = 420,
    cwd: Path = ROOT,
    **env: str,
) -> Iterator[Deployed]:
    """Run `auto_cmd.py ARGUMENTS` until the block ends; yields when its table has been printed."""
    port = free_port()
    settings = {
        "MODELS_FILE": str(models),
        "PORT": str(port),
        "SAVED_MODELS_DIR": str(folder / "saved_models"),
        "WEIGHTS_DIR": str(folder / "weights"),
        "STATE_DIR": str(folder / "state"),
        "LOGS_DIR": str(folder / "logs"),
        **env,
    }
    with running(
        ROOT / "auto_cmd.py", *arguments, log=folder / "auto_cmd.out", env=settings, cwd=cwd
    ) as program:
        wait_until(
            lambda: (
                "Stop:" in program.output()
                or "to stop." in program.output()
                or program.process.poll() is not None
            ),
            seconds=seconds,
            what=f"the table of models is printed\n{program.output()}",
        )
        assert program.process.poll() is None, program.output()
        yield Deployed(program, f"http://127.0.0.1:{port}", folder / "state")
    assert descendants(program.process.pid) == {}


def descendants(pid: int) -> dict[int, str]:
    """Process ids and command lines of the children of a process, and of theirs (Linux)."""
    found: dict[int, str] = {}
    waiting = [pid]
    while waiting:
        parent = waiting.pop()
        for entry in Path("/proc").glob("[0-9]*/stat"):
            with contextlib.suppress(OSError):
                fields = entry.read_text().rsplit(")", 1)[1].split()
                child = int(entry.parent.name)
                if int(fields[1]) == parent and fields[0] != "Z":
                    command = (entry.parent / "cmdline").read_bytes().replace(b"\0", b" ")
                    found[child] = command.decode(errors="replace")
                    waiting.append(child)
    return found


def is_running(pid: int) -> bool:
    """Whether a process exists and is no zombie."""
    try:
        return Path(f"/proc/{pid}/stat").read_text().rsplit(")", 1)[1].split()[0] != "Z"
    except OSError:
        return False


def kill(pid: int, number: int) -> None:
    """Send a signal."""
    os.kill(pid, number)
