"""What a program does that measures its own work: it takes tasks on standard input until that ends."""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any

from benchmarks.load import repeat

if TYPE_CHECKING:
    from collections.abc import Callable

    Task = dict[str, Any]
    Answer = Callable[[bytes, Task], object]


def take_tasks(answer: Answer) -> None:
    """Say that it is ready; then answer each task, a JSON object a line, with the measurement, likewise.

    Args:
        answer: Does once, with a JPEG, what is measured.
    """
    print("ready", flush=True)
    for line in sys.stdin:
        print(json.dumps(_measure(json.loads(line), answer)), flush=True)


def _measure(task: Task, answer: Answer) -> dict[str, Any]:
    """Answer one photo again and again in `threads` threads."""
    jpeg = Path(task["photo"]).read_bytes()

    def call() -> bool:
        answer(jpeg, task)
        return True

    load = repeat([call] * task["threads"], seconds=task["seconds"], least=task["least"])
    return {"latencies_ms": load.latencies_ms, "seconds": load.seconds}
