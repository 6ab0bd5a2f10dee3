"""Counts of requests that all workers share, exact under any concurrency.

Every limit counts within windows of the clock (UTC): "10/s" is at most 10 requests in each second, a daily quota at
most so many from midnight to midnight.
"""

from __future__ import annotations

import fcntl
import logging
import os
import time
from contextlib import contextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING, Protocol

import orjson

from flask_server.errors import LimitsUnavailable
from model_config import ConfigError

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence
    from pathlib import Path

_WINDOW_NAMES = {1: "second", 60: "minute", 3600: "hour", 86400: "day (UTC)"}
# A record always fills this, so that a shorter one leaves no rest of a longer one behind.
_RECORD_BYTES = 256
_log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class Limit:
    """At most so many requests in each window of so many seconds."""

    name: str
    most: int
    seconds: int

    @property
    def sentence(self) -> str:
        """For a person: `10 requests a second`."""
        return f"{self.most} requests a {_WINDOW_NAMES[self.seconds]}"


@dataclass(frozen=True, slots=True)
class Standing:
    """How much of a limit is left, and in how many seconds all of it is there again."""

    limit: Limit
    left: int
    reset_seconds: int


@dataclass(frozen=True, slots=True)
class Spending:
    """Whether a request was within every limit; if not, it was not counted in any."""

    allowed: bool
    standings: tuple[Standing, ...]


class Ledger(Protocol):
    """Where requests are counted."""

    def spend(self, key_id: str, limits: Sequence[Limit]) -> Spending:
        """Count one request of a key in every limit, if all of them allow it.

        Raises:
            LimitsUnavailable: The counts cannot be reached.
        """


def spending(limits: Sequence[Limit], used: Sequence[int], now: int) -> Spending:
    """What becomes of one more request, when `used` were counted before it in each limit's window at `now`."""
    allowed = all(count < limit.most for limit, count in zip(limits, used, strict=True))
    standings = tuple(
        Standing(limit, max(limit.most - count - allowed, 0), limit.seconds - now % limit.seconds)
        for limit, count in zip(limits, used, strict=True)
    )
    return Spending(allowed, standings)


class FileLedger:
    """A small file for each key, changed under a lock: no server, and a killed process leaves no lock behind."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        try:
            folder.mkdir(parents=True, exist_ok=True, mode=0o700)
        except OSError as error:
            raise ConfigError(
                f"The folder {folder} for rates and quotas cannot be made ({error.strerror});"
                " set STATE_DIR to one that can be written."
            ) from None

    def spend(self, key_id: str, limits: Sequence[Limit]) -> Spending:
        """See `Ledger.spend`."""
        try:
            with self._locked(key_id) as file:
                return _spend_in(file, limits)
        except OSError as error:
            _log.error("counts in %s: %s", self._folder, error)
            raise LimitsUnavailable("Rates and quotas cannot be checked now.") from None

    @contextmanager
    def _locked(self, key_id: str) -> Iterator[int]:
        # Opened anew for each request: such a lock excludes other threads as it does other processes.
        file = os.open(
            self._folder / f"{key_id}.json", os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600
        )
        try:
            fcntl.flock(file, fcntl.LOCK_EX)
            yield file
        finally:
            os.close(file)


def _spend_in(file: int, limits: Sequence[Limit]) -> Spending:
    """Change the record `{"<seconds>": [<window>, <count>], …}` of an open and locked file."""
    now = int(time.time())
    record = _record(os.pread(file, _RECORD_BYTES, 0))
    counts = [_counted(record.get(str(one.seconds)), now // one.seconds) for one in limits]
    result = spending(limits, [count for _, count in counts], now)
    if result.allowed:
        fresh = {
            str(limit.seconds): [window, count + 1]
            for limit, (window, count) in zip(limits, counts, strict=True)
        }
        os.pwrite(file, orjson.dumps(record | fresh).ljust(_RECORD_BYTES), 0)
    return result


def _record(text: bytes) -> dict[str, object]:
    try:
        record = orjson.loads(text) if text else {}
    except ValueError:
        record = None
    if isinstance(record, dict):
        return record
    _log.warning("a record of rates and quotas was damaged; it starts again from 0")
    return {}


def _counted(entry: object, window: int) -> tuple[int, int]:
    """The window to count in, and what was counted in it.

    The next window goes on if it has begun once: a clock that is set back a little over midnight would else give the
    whole quota twice.
    """
    match entry:
        case [int(known), int(count)] if known in (window, window + 1):
            return known, count
    return window, 0
