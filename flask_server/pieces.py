"""Bytes as they arrive, in pieces: added at the end, taken from the front, and moved once."""

from __future__ import annotations

from collections import deque

_SMALLEST_PIECE = 64 * 1024


class Pieces:
    """What has arrived and was not taken yet; `len` tells its bytes."""

    def __init__(self) -> None:
        self._pieces: deque[bytes | memoryview] = deque()
        self._size = 0

    def __len__(self) -> int:
        return self._size

    @property
    def first(self) -> bytes | memoryview:
        """The first 64 KB, or more of it, or all there is if it is less."""
        return self._pieces[0] if self._pieces else b""

    def add(self, data: bytes) -> None:
        """Add what has arrived; small pieces are joined, for each takes memory of its own."""
        if self._pieces and len(self._pieces[-1]) < _SMALLEST_PIECE:
            self._pieces.append(b"".join((self._pieces.pop(), data)))
        else:
            self._pieces.append(data)
        self._size += len(data)

    def put_back(self, data: bytes) -> None:
        """Put what was taken to the front again."""
        if data:
            self._pieces.appendleft(data)
            self._size += len(data)

    def take(self, size: int) -> bytes:
        """The first `size` bytes, or all if there are fewer."""
        taken: list[bytes | memoryview] = []
        missing = size
        while missing and self._pieces:
            piece = self._pieces.popleft()
            if len(piece) > missing:
                self._pieces.appendleft(memoryview(piece)[missing:])
                piece = memoryview(piece)[:missing]
            taken.append(piece)
            missing -= len(piece)
        self._size -= size - missing
        return b"".join(taken)
