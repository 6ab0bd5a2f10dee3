"""Versions that a model server could not load: left out of what it serves until they change.

A model server whose newest version is damaged does not start, though an older one would do, and takes the other models that it
is to serve with it. One that runs does not try a version again that it could not load while it was being copied.
"""

from __future__ import annotations

import os
import time
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Mapping

_NOTHING: frozenset[object] = frozenset()
RETRY_SECONDS = 6.0
"""What a model server needs to try a version again that it is told of again; until then the error it tells is the old one."""


@dataclass(slots=True)
class _Damage:
    error: str
    tried: frozenset[object]
    """What was in the folder when it was tried; nothing if that is not known: it may have been written on since."""
    latest: frozenset[object]
    """What was in it at the last look."""


class DamagedVersions:
    """Those of one model server; versions are named by servable and number."""

    def __init__(self) -> None:
        self._damages: dict[tuple[str, int], _Damage] = {}
        self._tried_again: dict[tuple[str, int], tuple[float, frozenset[object]]] = {}
        self._looks: dict[tuple[str, int], tuple[frozenset[object], frozenset[object]]] = {}
        """What was in a folder at the last look but one, and at the last, while a model server was to load it."""
        self._told: dict[tuple[str, int], str] = {}

    def look_at(self, servable: str, version: int, folder: Path) -> None:
        """Remember what is in a folder that a model server is to load."""
        content = _content(folder)
        _, before = self._looks.get((servable, version), (content, content))
        self._looks[servable, version] = (before, content)

    def add(self, servable: str, version: int, folder: Path, error: str) -> None:
        """Leave out one of which a model server has ended just now; it has read what was there a look or two ago."""
        content = _content(folder)
        tried, _ = self._looks.get((servable, version), (content, content))
        self._damages[servable, version] = _Damage(error, tried, content)

    def add_if_tried(self, servable: str, version: int, folder: Path, error: str) -> bool:
        """Leave out one that a running server could not load, unless the error may be that of an attempt before."""
        begun, tried = self._tried_again.get((servable, version), (-RETRY_SECONDS, _NOTHING))
        if time.monotonic() < begun + RETRY_SECONDS:
            return False
        self._damages[servable, version] = _Damage(error, tried, _content(folder))
        return True

    def is_news(self, servable: str, version: int, error: str) -> bool:
        """Whether this error has not been told of it last."""
        before, self._told[servable, version] = self._told.get((servable, version)), error
        return error != before

    def forget(self, servable: str) -> None:
        """Let all of a servable's be tried again."""
        for which in [which for which in self._damages if which[0] == servable]:
            self._try_again(which, _NOTHING)
            self._told.pop(which, None)

    def usable(self, servable: str, on_disk: Mapping[int, Path]) -> dict[int, Path]:
        """Versions without those that are damaged; one that has changed, and changes no more, is tried again."""
        for which in [w for w in self._damages if w[0] == servable]:
            damage, folder = self._damages[which], on_disk.get(which[1])
            before, damage.latest = damage.latest, _content(folder) if folder else _NOTHING
            if damage.latest == before != damage.tried:
                self._try_again(which, damage.latest)
        return {v: path for v, path in on_disk.items() if (servable, v) not in self._damages}

    def error(self, servable: str) -> str:
        """Why the newest that is damaged could not be loaded; nothing if none is."""
        errors = {w[1]: damage.error for w, damage in self._damages.items() if w[0] == servable}
        return errors[max(errors)] if errors else ""

    def _try_again(self, which: tuple[str, int], content: frozenset[object]) -> None:
        del self._damages[which]
        self._tried_again[which] = (time.monotonic(), content)


def _content(folder: Path) -> frozenset[object]:
    """What changes whenever a file is written, added or removed, or its permissions are changed."""
    content = set[object]()
    # Not `rglob`, which fails where a folder has just gone, and follows no links.
    for inside, _, files in os.walk(folder, followlinks=True):
        for name in files:
            path = Path(inside, name)
            try:
                status = path.stat()
            except OSError:  # it has just gone
                continue
            content.add((path, status.st_size, status.st_mtime_ns, status.st_ctime_ns))
    return frozenset(content)
