"""What a model server's work costs without the server: parse the JSON, run the model, nothing else.

python -m benchmarks.programs.bare VERSION_FOLDER FLOATS_FILE PIXELS_FILE
prints one JSON object: milliseconds of processor time, medians.
"""

from __future__ import annotations

import json
import os
import statistics
import sys
import time
from pathlib import Path
from typing import TYPE_CHECKING

os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "2")

import numpy as np
import simdjson

from benchmarks.programs.limit import SignatureRunner

if TYPE_CHECKING:
    from collections.abc import Callable

REPEATS = 60
WARM_UPS = 5
INTRA_OP_THREADS = 1


def parse(text: bytes) -> np.ndarray:
    """The numbers of `instances` by the fastest parser that Python has, without one Python float."""
    numbers = simdjson.Parser().parse(text)["instances"].as_buffer(of_type="d")
    return np.frombuffer(numbers, np.float64).astype(np.float32)


def cpu_ms(work: Callable[[], object]) -> float:
    """Median processor time of all threads of this process."""
    for _ in range(WARM_UPS):
        work()
    times = []
    for _ in range(REPEATS):
        begin = time.process_time()
        work()
        times.append(1000 * (time.process_time() - begin))
    return statistics.median(times)


def main() -> None:
    """Measure the parse and each signature's run."""
    folder, floats_file, pixels_file = sys.argv[1:]
    text, raw = Path(floats_file).read_bytes(), Path(pixels_file).read_bytes()
    side = round((len(raw) / 3) ** 0.5)
    image = parse(text).reshape(1, side, side, 3)
    pixels = np.array([raw], object)
    floats_run = SignatureRunner(folder, INTRA_OP_THREADS, "serving_default").run
    pixels_run = SignatureRunner(folder, INTRA_OP_THREADS, "pixels").run
    figures = {
        "parse_ms": cpu_ms(lambda: parse(text)),
        "floats_run_ms": cpu_ms(lambda: floats_run(image)),
        "pixels_run_ms": cpu_ms(lambda: pixels_run(pixels)),
    }
    print(json.dumps(figures))


if __name__ == "__main__":
    main()
