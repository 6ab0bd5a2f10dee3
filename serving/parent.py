"""End with the parent process, so that nothing is orphaned when that one is killed."""

from __future__ import annotations

import os
import signal
import threading
import time

_GLANCE_SECONDS = 0.5


def exit_with_parent(patience_seconds: float) -> None:
    """Watch the parent from now on; when it ends, stop as on SIGTERM, or at once after a while.

    Args:
        patience_seconds: how long an orderly stop may take.
    """
    threading.Thread(target=_watch, args=(os.getppid(), patience_seconds), daemon=True).start()


def _watch(parent: int, patience_seconds: float) -> None:
    while os.getppid() == parent:
        time.sleep(_GLANCE_SECONDS)
    os.kill(os.getpid(), signal.SIGTERM)
    time.sleep(patience_seconds)
    os._exit(1)
