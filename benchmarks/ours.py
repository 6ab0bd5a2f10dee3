"""OURS: `auto_cmd.py`, started as a user starts it."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from benchmarks.processes import Program, free_port, pids_of_role

if TYPE_CHECKING:
    from pathlib import Path

    from benchmarks.field import Field


@dataclass(frozen=True, slots=True)
class Ours:
    """A running supervisor with its router and model servers."""

    program: Program
    port: int
    start_up_seconds: float
    """From the start to the router being ready for every model."""

    def stop(self) -> None:
        """End it in order."""
        self.program.stop()

    def pids(self, role: str) -> list[int]:
        """Its processes of one role."""
        return pids_of_role(self.program.pid, role)


def start_ours(field: Field, name: str, models_file: Path, models: list[str]) -> Ours:
    """Start it and wait until it is ready for `models`."""
    state = field.logs / name
    env = {"STATE_DIR": str(state), "LOGS_DIR": str(state), **field.ours_env}
    port = free_port()
    arguments = ("auto_cmd.py", "--models", models_file, "--port", str(port))
    program = Program(arguments, field.logs / f"{name}.log", env=env)
    try:
        url = f"http://127.0.0.1:{port}/readyz?model="
        seconds = max(program.wait_for(url + model) for model in models)
    except BaseException:
        program.stop()
        raise
    return Ours(program, port, seconds)
