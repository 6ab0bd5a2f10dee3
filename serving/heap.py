"""The C library's heap: give back to the system what large work has freed."""

from __future__ import annotations

import ctypes

# malloc_trim(3). glibc has it; elsewhere nothing is done.
_malloc_trim = getattr(ctypes.CDLL(None), "malloc_trim", None)


def give_back() -> None:
    """Give the system the pages that are free, wherever in the heap they lie.

    glibc by itself gives back only the heap's end: what TensorFlow copies while it loads an InceptionV3 and compiles two of
    its signatures would stay as 0.9 GB.
    """
    if _malloc_trim is not None:
        _malloc_trim(0)
