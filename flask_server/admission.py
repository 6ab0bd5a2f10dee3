"""How many requests one model may hold at once, so that a slow model never starves a fast one."""

from __future__ import annotations

import threading
import time
from contextlib import ExitStack

from flask_server.errors import ClientGone, TooBusy, UpstreamTimeout
from flask_server.transport import hung_up

_WATCH_SECONDS = 0.5


class Places:
    """So many requests at the model, so many waiting; whoever comes then is sent away at once."""

    def __init__(self, model: str, concurrency: int, queue: int) -> None:
        self._model = model
        self._free = threading.Semaphore(concurrency)
        self._limit = concurrency + queue
        self._inside = 0  # with a place, or waiting for one
        self._lock = threading.Lock()

    def take(self, deadline: float, client: int | None = None) -> ExitStack:
        """Wait for a place.

        Args:
            deadline: When to stop waiting, in seconds of `time.monotonic`.
            client: The file descriptor of the client's connection; when it hangs up, waiting ends.

        Returns:
            A context manager that frees the place when its block ends.

        Raises:
            TooBusy: Too many wait already.
            UpstreamTimeout: None became free in time.
            ClientGone: The client hung up.
        """
        self._enter()
        with ExitStack() as place:
            place.callback(self._leave)
            self._wait(deadline, client)
            place.callback(self._free.release)
            return place.pop_all()

    def _enter(self) -> None:
        with self._lock:
            if self._inside >= self._limit:
                raise TooBusy(f"Too many requests wait for '{self._model}'; try again in a moment.")
            self._inside += 1

    def _leave(self) -> None:
        with self._lock:
            self._inside -= 1

    def _wait(self, deadline: float, client: int | None) -> None:
        while True:
            left = deadline - time.monotonic()
            if self._free.acquire(timeout=max(min(left, _WATCH_SECONDS), 0.0)):
                return
            if client is not None and hung_up(client):
                raise ClientGone("The client closed its connection.")
            if left <= 0:
                raise UpstreamTimeout(f"No place for '{self._model}' became free in time.")
