"""How many connections each worker holds, told to the other workers, so that those that hold fewer take the next."""

from __future__ import annotations

import mmap

_PLACES = 256
_NOBODY = -1


class ConnectionCounts:
    """One number a worker, in memory that all processes share which are forked after this was made."""

    def __init__(self) -> None:
        self._counts = memoryview(mmap.mmap(-1, 4 * _PLACES)).cast("i")
        for place in range(_PLACES):
            self.leave(place)

    def enter(self) -> int:
        """Take a place for a new worker; if there is none left, it shares the last one."""
        places = self._counts.tolist()
        place = places.index(_NOBODY) if _NOBODY in places else _PLACES - 1
        self.tell(place, 0)
        return place

    def leave(self, place: int) -> None:
        """Forget a worker that has ended."""
        self._counts[place] = _NOBODY

    def tell(self, place: int, count: int) -> None:
        """How many connections the worker at this place holds now."""
        self._counts[place] = count

    def others_hold_fewer(self, place: int) -> bool:
        """Whether another worker holds fewer connections than the one at this place."""
        mine = self._counts[place]
        return any(_NOBODY < count < mine for count in self._counts.tolist())
