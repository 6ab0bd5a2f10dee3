"""What is known about the request being answered: one small object that every attached file may read."""

from __future__ import annotations

import time
from contextlib import ExitStack, contextmanager
from contextvars import ContextVar
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from flask import g

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from contextlib import AbstractContextManager

    StageWatcher = Callable[["RequestFacts", str], AbstractContextManager[object]]

_NOTABLE_SECONDS = 0.001
received_at: ContextVar[float] = ContextVar("received_at")
"""When the request that this thread answers was there, on the monotonic clock: before a thread was free for it."""


def _received_at() -> float:
    return received_at.get(time.monotonic())


@dataclass(slots=True)
class RequestFacts:
    """The facts of one request, filled in while it walks through the router."""

    request_id: str
    traceparent: str
    tracestate: str | None = None
    started: float = field(default_factory=_received_at)
    model: str | None = None
    version: int | None = None
    key_name: str | None = None
    """The name of the access key it came with, if keys are in use."""
    problem: str | None = None
    """The title of its failure, if it failed."""
    image_bytes: list[int] = field(default_factory=list)
    """The encoded size of each image sent."""
    image_pixels: list[int] = field(default_factory=list)
    """The number of pixels of each image that was decoded."""
    stage_seconds: dict[str, float] = field(default_factory=dict)
    """receive, queue, decode, preprocess, upstream: how long each took."""
    watchers: list[StageWatcher] = field(default_factory=list)
    """What else is to be told when a stage begins and ends: a context manager for these facts and the stage's name."""

    def __post_init__(self) -> None:
        """Count the wait for a thread, where there was any to speak of, like the wait for a place at the model."""
        waited = time.monotonic() - self.started
        if waited > _NOTABLE_SECONDS:
            self.stage_seconds["queue"] = waited

    @contextmanager
    def stage(self, name: str) -> Iterator[None]:
        """Add the time that the block takes to the stage `name`."""
        begun = time.monotonic()
        try:
            with ExitStack() as watching:
                for watcher in self.watchers:
                    watching.enter_context(watcher(self, name))
                yield
        finally:
            spent = time.monotonic() - begun
            self.stage_seconds[name] = self.stage_seconds.get(name, 0.0) + spent

    @property
    def whole_at(self) -> float:
        """When all of the request was there: some bodies are received only by the thread that answers."""
        return self.started + self.stage_seconds.get("receive", 0.0)

    def total_seconds(self) -> float:
        """How long ago the request came in."""
        return time.monotonic() - self.started


def facts() -> RequestFacts:
    """The facts of the request being answered."""
    current: RequestFacts = g.facts
    return current
