"""`python -m benchmarks`: measure, print, and write JSON and a plot."""

from __future__ import annotations

import sys

try:
    from benchmarks.command_line import read_options
    from benchmarks.run import run
except ModuleNotFoundError as error:
    sys.exit(
        f"The package '{error.name}' is not installed; install requirements-bench.txt with pip."
    )

if __name__ == "__main__":
    sys.exit(run(read_options()))
