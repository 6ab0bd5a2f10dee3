"""`python -m benchmarks`: measure, print, and write JSON and a plot."""

from __future__ import annotations

import sys

from benchmarks.command_line import read_options
from benchmarks.run import run

if __name__ == "__main__":
    sys.exit(run(read_options()))
