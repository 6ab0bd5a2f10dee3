"""What each worker tells the other workers: how many connections it holds, and which configuration it answers by."""

from __future__ import annotations

import mmap

_PLACES = 256
_NOBODY = -1
_DIGITS = 16


class WorkerBoard:
    """A few bytes a worker, in memory that all processes share which are forked after this was made."""

    def __init__(self) -> None:
        self._counts = memoryview(mmap.mmap(-1, 4 * _PLACES)).cast("i")
        self._configurations = mmap.mmap(-1, _DIGITS * _PLACES)
        for place in range(_PLACES):
            self.leave(place)

    def enter(self) -> int:
        """Take a place for a new worker, which has read nothing yet; if there is none left, it shares the last one."""
        places = self._counts.tolist()
        place = places.index(_NOBODY) if _NOBODY in places else _PLACES - 1
        self.tell_connections(place, 0)
        self.tell_configuration(place, "")
        return place

    def leave(self, place: int) -> None:
        """Forget a worker that has ended."""
        self._counts[place] = _NOBODY

    def tell_connections(self, place: int, count: int) -> None:
        """How many connections the worker at this place holds now."""
        self._counts[place] = count

    def others_hold_fewer(self, place: int) -> bool:
        """Whether another worker holds fewer connections than the one at this place."""
        mine = self._counts[place]
        return any(_NOBODY < count < mine for count in self._counts.tolist())

    def tell_configuration(self, place: int, configuration: str) -> None:
        """Which configuration the worker at this place answers by: a `digest_of` its files, or nothing yet."""
        self._configurations[_bytes_of(place)] = _padded(configuration)

    def all_answer_by(self, configuration: str) -> bool:
        """Whether no worker answers by another configuration than this."""
        wanted = _padded(configuration)
        return all(
            self._configurations[_bytes_of(place)] == wanted
            for place, count in enumerate(self._counts.tolist())
            if count != _NOBODY
        )


def _bytes_of(place: int) -> slice:
    return slice(place * _DIGITS, (place + 1) * _DIGITS)


def _padded(configuration: str) -> bytes:
    return configuration.encode().ljust(_DIGITS)
