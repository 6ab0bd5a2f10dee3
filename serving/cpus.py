"""How many processors there are for this process."""

from __future__ import annotations

import os


def schedulable_cpus() -> int:
    """The processors it may run on: in a container often fewer than the machine has."""
    if hasattr(os, "sched_getaffinity"):  # macOS has none
        return len(os.sched_getaffinity(0))
    return os.cpu_count() or 1
