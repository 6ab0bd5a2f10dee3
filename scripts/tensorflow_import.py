"""Import TensorFlow and Keras: without what they have to say about it, and without what only they would want."""

from __future__ import annotations

import contextlib
import gc
import os
import sys
import tempfile
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterator


@contextlib.contextmanager
def importing_tensorflow() -> Iterator[None]:
    """Keep what TensorFlow's C++ prints while it is imported off the screen, unless the import fails.

    Keras imports scikit-learn where it is installed, for wrappers that nobody here uses. That is a fifth of its time, so
    within the block it is not found, unless it has been imported before.
    """
    os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")
    os.environ.setdefault("KERAS_BACKEND", "tensorflow")
    with _hidden_from_import("sklearn"), _stderr_kept_back(), _no_garbage_collected():
        yield


@contextlib.contextmanager
def _hidden_from_import(name: str) -> Iterator[None]:
    if name in sys.modules:
        yield
        return
    sys.modules[name] = None  # type: ignore[assignment]  # "not found", by the import system's rules
    try:
        yield
    finally:
        del sys.modules[name]


@contextlib.contextmanager
def _no_garbage_collected() -> Iterator[None]:
    """To look for garbage among thousands of modules takes a tenth of their import."""
    gc.disable()
    try:
        yield
    finally:
        gc.enable()


@contextlib.contextmanager
def _stderr_kept_back() -> Iterator[None]:
    sys.stderr.flush()
    screen = os.dup(2)
    with tempfile.TemporaryFile() as chatter:
        os.dup2(chatter.fileno(), 2)
        try:
            yield
        except BaseException:
            chatter.seek(0)
            os.write(screen, chatter.read())
            raise
        finally:
            os.dup2(screen, 2)
            os.close(screen)
