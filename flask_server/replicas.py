"""Which of a model's replicas to ask: least busy first, a broken one last and only now and then."""

from __future__ import annotations

import threading
import time
from contextlib import contextmanager
from typing import TYPE_CHECKING

from flask_server.transport import HttpTransport

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator

    from flask_server.transport import Answer, Exchange, Transport

_CONNECT_SECONDS = 1.0
_CONNECT_SECONDS_SET_ASIDE = 0.08
_FIRST_BACK_OFF_SECONDS = 0.25
_LONGEST_BACK_OFF_SECONDS = 5.0
_BUDGET = 64.0
_BUDGET_PER_REQUEST = 0.1


class Replica:
    """One model server, and how it has been doing."""

    def __init__(self, url: str, transport: Transport) -> None:
        self.url = url
        self.in_flight = 0
        self.failures = 0
        self._transport = transport
        self._set_aside_until = 0.0
        self._unhurried_at = 0.0
        self._lock = threading.Lock()

    @property
    def set_aside(self) -> bool:
        """Whether it failed lately and is not due for another try."""
        return time.monotonic() < self._set_aside_until

    @contextmanager
    def busy(self) -> Iterator[None]:
        """Count the block as one request in flight."""
        with self._lock:
            self.in_flight += 1
            if self.failures:  # this request tries it again; the others wait for how that ends
                self._back_off()
        try:
            yield
        finally:
            with self._lock:
                self.in_flight -= 1

    def exchange(self, request: Exchange) -> Answer:
        """See `Transport.exchange`; one that refuses or breaks off is set aside."""
        try:
            return self._transport.exchange(request, connect_seconds=self._connect_seconds())
        except ConnectionError:
            self.put_aside()
            raise

    def _connect_seconds(self) -> float:
        """Little for one that failed, so that requests without hope end soon; now and then enough for one far away."""
        with self._lock:
            now = time.monotonic()
            if self.failures and now < self._unhurried_at:
                return _CONNECT_SECONDS_SET_ASIDE
            self._unhurried_at = now + _LONGEST_BACK_OFF_SECONDS
            return _CONNECT_SECONDS

    def close(self) -> None:
        """See `Transport.close`."""
        self._transport.close()

    def put_aside(self) -> None:
        """Ask it last for a while, the longer the more often it has failed in a row."""
        with self._lock:
            self.failures += 1
            self._back_off()

    def has_predicted(self) -> None:
        """Forget its failures; a mere answer is not enough, for one that cannot predict may still tell its state."""
        with self._lock:
            self.failures = 0
            self._set_aside_until = 0.0

    def _back_off(self) -> None:
        seconds = _FIRST_BACK_OFF_SECONDS * 2 ** min(self.failures - 1, 10)
        self._set_aside_until = time.monotonic() + min(seconds, _LONGEST_BACK_OFF_SECONDS)


class Replicas:
    """The replicas of one model."""

    def __init__(self, replicas: Iterable[Replica]) -> None:
        self.all = tuple(replicas)
        self._turn = 0

    def in_order(self) -> Iterator[Replica]:
        """Each replica once, the one to ask next chosen when it is asked for.

        Those set aside come last: they are asked only if no other answered.
        """
        left = list(self.all)
        while left:
            self._turn += 1
            start = self._turn % len(left)
            chosen = min(
                left[start:] + left[:start], key=lambda one: (one.set_aside, one.in_flight)
            )
            left.remove(chosen)
            yield chosen


class RetryBudget:
    """How many retries there may be: some at once, and then one for every ten requests, so that no storm begins."""

    def __init__(self) -> None:
        self._tokens = _BUDGET

    def earn(self) -> None:
        """Count a request."""
        self._tokens = min(self._tokens + _BUDGET_PER_REQUEST, _BUDGET)

    def spend(self) -> bool:
        """Take one retry out of the budget, if there is one."""
        if self._tokens < 1:
            return False
        self._tokens -= 1
        return True


class ReplicaPool:
    """One `Replica` for each URL, shared by the models that are served there."""

    def __init__(self, connect: Callable[[str], Transport] = HttpTransport) -> None:
        self._connect = connect
        self._replicas: dict[str, Replica] = {}

    def replicas(self, urls: Iterable[str]) -> Replicas:
        """The replicas at these base URLs."""
        return Replicas(self._replica(url) for url in urls)

    @property
    def all(self) -> tuple[Replica, ...]:
        """Every replica of every model."""
        return tuple(self._replicas.values())

    def close(self) -> None:
        """Keep no connection any longer."""
        for replica in self._replicas.values():
            replica.close()

    def _replica(self, url: str) -> Replica:
        if url not in self._replicas:
            self._replicas[url] = Replica(url, self._connect(url))
        return self._replicas[url]
