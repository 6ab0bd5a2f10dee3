"""The pictures that people have named: the lasting truth of what few-shot models are taught.

`FileSupportStore`: one SQLite file under STATE_DIR, shared by the workers of all routers on this machine. What a method has
written when it returns stays written, whichever process is killed then.
"""

from __future__ import annotations

import contextlib
import logging
import sqlite3
import time
from dataclasses import dataclass
from typing import TYPE_CHECKING, Protocol

from flask_server.errors import SupportUnavailable, TooLarge, UnknownLabel

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence
    from pathlib import Path

_SCHEMA = """
CREATE TABLE IF NOT EXISTS picture (id INTEGER PRIMARY KEY, model TEXT NOT NULL, label TEXT NOT NULL, image TEXT NOT NULL);
CREATE TABLE IF NOT EXISTS version (model TEXT PRIMARY KEY, number INTEGER NOT NULL);
"""
_WAIT_SECONDS = 10.0
_log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class SupportSet:
    """The named pictures of one model."""

    version: int
    """Another number after every change, and always a larger one, even if the file is lost; 0: never taught."""
    labels: tuple[str, ...]
    """One for each picture."""
    images: tuple[str, ...]
    """Image files as web-safe base64."""


class SupportStore(Protocol):
    """The support sets of all models."""

    def version(self, model: str) -> int:
        """The version of a model's support set; 0 if it was never taught."""

    def read(self, model: str) -> SupportSet:
        """A model's support set as it stands at one moment."""

    def counts(self, model: str) -> tuple[int, Mapping[str, int]]:
        """The version, and how many pictures each label has."""

    def add(self, model: str, label: str, images: Sequence[str], *, most: int) -> None:
        """Name pictures.

        Raises:
            TooLarge: The model would have more than `most` of them; none is added.
        """

    def delete(self, model: str, label: str | None) -> None:
        """Forget one label, or all of them.

        Raises:
            UnknownLabel: There are no pictures of this label.
        """


class FileSupportStore:
    """See `SupportStore`; one file, for one machine."""

    def __init__(self, path: Path) -> None:
        self._path = path

    def version(self, model: str) -> int:
        """See `SupportStore.version`."""
        with self._transaction("DEFERRED") as database:
            return _version(database, model)

    def read(self, model: str) -> SupportSet:
        """See `SupportStore.read`."""
        with self._transaction("DEFERRED") as database:
            rows = database.execute(
                "SELECT label, image FROM picture WHERE model = ? ORDER BY id", (model,)
            ).fetchall()
            version = _version(database, model)
        labels, images = zip(*rows, strict=True) if rows else ((), ())
        return SupportSet(version, labels, images)

    def counts(self, model: str) -> tuple[int, Mapping[str, int]]:
        """See `SupportStore.counts`."""
        with self._transaction("DEFERRED") as database:
            rows = database.execute(
                "SELECT label, COUNT(*) FROM picture WHERE model = ? GROUP BY label ORDER BY MIN(id)",
                (model,),
            )
            return _version(database, model), dict(rows.fetchall())

    def add(self, model: str, label: str, images: Sequence[str], *, most: int) -> None:
        """See `SupportStore.add`."""
        with self._transaction("IMMEDIATE") as database:
            (held,) = database.execute(
                "SELECT COUNT(*) FROM picture WHERE model = ?", (model,)
            ).fetchone()
            if held + len(images) > most:
                raise TooLarge(f"The model would have more than {most} pictures; delete some.")
            database.executemany(
                "INSERT INTO picture (model, label, image) VALUES (?, ?, ?)",
                [(model, label, image) for image in images],
            )
            _count_change(database, model)

    def delete(self, model: str, label: str | None) -> None:
        """See `SupportStore.delete`."""
        with self._transaction("IMMEDIATE") as database:
            deleted = database.execute(
                "DELETE FROM picture WHERE model = :model AND (:label IS NULL OR label = :label)",
                {"model": model, "label": label},
            ).rowcount
            if label is not None and not deleted:
                raise UnknownLabel(
                    "The model has not been taught this label; GET lists those it has."
                )
            _count_change(database, model)

    @contextlib.contextmanager
    def _transaction(self, kind: str) -> Iterator[sqlite3.Connection]:
        """A connection for one transaction: cheap, and safe across threads and forks; closing it undoes what is open."""
        try:
            self._path.parent.mkdir(parents=True, exist_ok=True)
            connection = sqlite3.connect(self._path, timeout=_WAIT_SECONDS, isolation_level=None)
            with contextlib.closing(connection) as database:
                if not _has_tables(database):
                    database.execute("PRAGMA journal_mode = WAL")
                    database.executescript(_SCHEMA)
                database.execute(f"BEGIN {kind}")
                yield database
                database.execute("COMMIT")
        except (sqlite3.Error, OSError) as error:
            _log.error("%s cannot be used: %s", self._path, error)
            raise SupportUnavailable(
                "What the model was taught cannot be reached now; the router's log says why."
            ) from None


def _has_tables(database: sqlite3.Connection) -> bool:
    (count,) = database.execute(
        "SELECT COUNT(*) FROM sqlite_master WHERE name IN ('picture', 'version')"
    ).fetchone()
    return bool(count == 2)


def _version(database: sqlite3.Connection, model: str) -> int:
    row = database.execute("SELECT number FROM version WHERE model = ?", (model,)).fetchone()
    return int(row[0]) if row else 0


def _count_change(database: sqlite3.Connection, model: str) -> None:
    """Give the support set a version that no model server can have seen: later than all, by the clock if need be."""
    number = max(_version(database, model) + 1, time.time_ns() // 1000)
    database.execute("INSERT OR REPLACE INTO version VALUES (?, ?)", (model, number))
