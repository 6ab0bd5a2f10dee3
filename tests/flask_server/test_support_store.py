"""The store of named pictures: transactional, shared by processes, with versions that only grow."""

from __future__ import annotations

import multiprocessing
import os
import signal
import time
from typing import TYPE_CHECKING

import pytest

from flask_server.errors import SupportUnavailable, TooLarge, UnknownLabel
from flask_server.redis_support_store import RedisSupportStore
from flask_server.support_store import FileSupportStore
from tests.flask_server.conftest import encoded
from tests.processes import free_port

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from flask.testing import FlaskClient

    from flask_server.support_store import SupportStore


@pytest.fixture(params=["file", "redis"])
def store(request: pytest.FixtureRequest, tmp_path: Path) -> SupportStore:
    """An empty store of each kind."""
    if request.param == "file":
        return FileSupportStore(tmp_path / "state" / "support.sqlite3")
    return RedisSupportStore(request.getfixturevalue("redis_url"))


@pytest.fixture
def model(tmp_path: Path) -> str:
    """A model that no other test teaches."""
    return tmp_path.name


def lose_all(store: SupportStore, tmp_path: Path) -> None:
    """Remove what the store wrote."""
    if isinstance(store, RedisSupportStore):
        store._server.client.flushdb()
    else:
        for file in (tmp_path / "state").iterdir():
            file.unlink()


def test_what_is_added_is_read(store: SupportStore, model: str) -> None:
    """Pictures come back with their labels in the order they were taught; models are apart."""
    store.add(model, "b", ["1", "2"], most=9)
    store.add(model, "a", ["3"], most=9)
    store.add(f"{model}2", "x", ["4"], most=9)
    held = store.read(model)
    assert (held.labels, held.images) == (("b", "b", "a"), ("1", "2", "3"))
    assert store.counts(model) == (held.version, {"b": 2, "a": 1})


def test_versions_only_grow(store: SupportStore, model: str, tmp_path: Path) -> None:
    """Every change gives a larger version, even after all was lost; before the first it is 0."""
    assert store.version(model) == 0
    seen = []
    for _ in range(3):
        store.add(model, "a", ["1"], most=9)
        seen.append(store.version(model))
    lose_all(store, tmp_path)
    store.add(model, "b", ["1"], most=9)
    seen.append(store.version(model))
    assert seen == sorted(set(seen))


def test_deleting(store: SupportStore, model: str) -> None:
    """One label or all can be forgotten; a label that was never taught is an error that changes nothing."""
    store.add(model, "a", ["1"], most=9)
    store.add(model, "b", ["2"], most=9)
    store.delete(model, "a")
    version, counts = store.counts(model)
    assert counts == {"b": 1}
    with pytest.raises(UnknownLabel):
        store.delete(model, "a")
    assert store.version(model) == version
    store.delete(model, None)
    assert store.read(model).labels == ()
    assert store.version(model) > version


def test_too_many_are_refused_whole(store: SupportStore, model: str) -> None:
    """A batch that would pass the limit adds nothing."""
    store.add(model, "a", ["1", "2"], most=3)
    with pytest.raises(TooLarge):
        store.add(model, "a", ["3", "4"], most=3)
    assert store.counts(model)[1] == {"a": 2}


def test_another_machine_sees_what_was_taught(redis_url: str, model: str) -> None:
    """What one router adds to Redis, another router reads."""
    RedisSupportStore(redis_url).add(model, "größe", ["1"], most=9)
    assert RedisSupportStore(redis_url).read(model).labels == ("größe",)


def test_redis_that_is_down_is_told() -> None:
    """Without its Redis the store says that it cannot be reached, with a status that means: try again."""
    store = RedisSupportStore(f"redis://127.0.0.1:{free_port()}/0")
    with pytest.raises(SupportUnavailable):
        store.version("m")
    with pytest.raises(SupportUnavailable):
        store.add("m", "a", ["1"], most=9)


def test_one_setting_moves_it_to_redis(
    redis_url: str, client_of: Callable[..., FlaskClient]
) -> None:
    """A router with REDIS_URL keeps what it is taught there: a second router knows it at once."""
    more = "support_set = true"
    teacher = client_of(more, redis_url=redis_url)
    other = client_of(more, redis_url=redis_url)
    lesson = teacher.post("/colours/support/?label=red", data=encoded(), content_type="image/png")
    assert lesson.json["labels"] == {"red": 1}
    assert other.get("/colours/support/").json == lesson.json


def add_for_ever(path: Path, label: str) -> None:
    """Teach pairs of pictures until killed."""
    store = FileSupportStore(path)
    while True:
        store.add("m", label, [label, label], most=10**9)


@pytest.mark.slow
def test_killed_writers_leave_whole_changes(tmp_path: Path) -> None:
    """Four processes that write are killed with -9 in the middle: nothing half-written, and the store goes on."""
    path = tmp_path / "support.sqlite3"
    context = multiprocessing.get_context("spawn")
    workers = [context.Process(target=add_for_ever, args=(path, str(n))) for n in range(4)]
    for worker in workers:
        worker.start()
    store = FileSupportStore(path)
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


@pytest.mark.parametrize("damage", ["no folder", "no database"])
def test_a_file_that_cannot_be_used_is_said(tmp_path: Path, damage: str) -> None:
    """Where the file cannot be, or is no database, every use is a 503 in the router's shape."""
    path = tmp_path / "state" / "support.sqlite3"
    if damage == "no folder":
        path.parent.write_text("in the way")
    else:
        path.parent.mkdir()
        path.write_text("no database" * 1000)
    store = FileSupportStore(path)
    with pytest.raises(SupportUnavailable, match="log says why"):
        store.version("m")
    with pytest.raises(SupportUnavailable, match="log says why"):
        store.add("m", "a", ["1"], most=9)
