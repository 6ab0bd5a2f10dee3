"""The store of named pictures: transactional, shared by processes, with versions that only grow."""

from __future__ import annotations

import multiprocessing
import os
import signal
import time
from typing import TYPE_CHECKING

import pytest

from flask_server.errors import TooLarge, UnknownLabel
from flask_server.support_store import SupportStore

if TYPE_CHECKING:
    from pathlib import Path


@pytest.fixture
def store(tmp_path: Path) -> SupportStore:
    """An empty store."""
    return SupportStore(tmp_path / "state" / "support.sqlite3")


def test_what_is_added_is_read(store: SupportStore) -> None:
    """Pictures come back with their labels in the order they were taught; models are apart."""
    store.add("m", "b", ["1", "2"], most=9)
    store.add("m", "a", ["3"], most=9)
    store.add("other", "x", ["4"], most=9)
    held = store.read("m")
    assert (held.labels, held.images) == (("b", "b", "a"), ("1", "2", "3"))
    assert store.counts("m") == (held.version, {"b": 2, "a": 1})


def test_versions_only_grow(store: SupportStore, tmp_path: Path) -> None:
    """Every change gives a larger version, even after the file was lost; before the first it is 0."""
    assert store.version("m") == 0
    seen = []
    for _ in range(3):
        store.add("m", "a", ["1"], most=9)
        seen.append(store.version("m"))
    for file in (tmp_path / "state").iterdir():
        file.unlink()
    store.add("m", "b", ["1"], most=9)
    seen.append(store.version("m"))
    assert seen == sorted(set(seen))


def test_deleting(store: SupportStore) -> None:
    """One label or all can be forgotten; a label that was never taught is an error that changes nothing."""
    store.add("m", "a", ["1"], most=9)
    store.add("m", "b", ["2"], most=9)
    store.delete("m", "a")
    version, counts = store.counts("m")
    assert counts == {"b": 1}
    with pytest.raises(UnknownLabel):
        store.delete("m", "a")
    assert store.version("m") == version
    store.delete("m", None)
    assert store.read("m").labels == ()
    assert store.version("m") > version


def test_too_many_are_refused_whole(store: SupportStore) -> None:
    """A batch that would pass the limit adds nothing."""
    store.add("m", "a", ["1", "2"], most=3)
    with pytest.raises(TooLarge):
        store.add("m", "a", ["3", "4"], most=3)
    assert store.counts("m")[1] == {"a": 2}


def add_for_ever(path: Path, label: str) -> None:
    """Teach pairs of pictures until killed."""
    store = SupportStore(path)
    while True:
        store.add("m", label, [label, label], most=10**9)


def test_killed_writers_leave_whole_changes(tmp_path: Path) -> None:
    """Four processes that write are killed with -9 in the middle: nothing half-written, and the store goes on."""
    path = tmp_path / "support.sqlite3"
    context = multiprocessing.get_context("spawn")
    workers = [context.Process(target=add_for_ever, args=(path, str(n))) for n in range(4)]
    for worker in workers:
        worker.start()
    store = SupportStore(path)
    deadline = time.monotonic() + 60
    while len(store.counts("m")[1]) < 4:
        assert time.monotonic() < deadline
        time.sleep(0.05)
    for worker in workers:
        os.kill(worker.pid or 0, signal.SIGKILL)
        worker.join()
    version, counts = store.counts("m")
    assert all(count % 2 == 0 for count in counts.values())
    store.add("m", "after", ["x"], most=10**9)
    assert store.version("m") > version
