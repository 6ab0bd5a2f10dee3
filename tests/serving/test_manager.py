"""The life of a version."""

from __future__ import annotations

import math
import shutil
import threading
from typing import TYPE_CHECKING

import pytest

from serving.errors import FailedPrecondition, InvalidArgument, NotFound, ServingError
from serving.lifecycle import LoadOptions, ServedModel
from serving.manager import Manager
from serving.paths import Target
from serving.servable import State
from serving.version_policy import All, Specific
from tests.processes import wait_until
from tests.serving.toy import Toy, add_version, times

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path


class Loader:
    """Loads toys, slowly or not at all where it is told to."""

    def __init__(self) -> None:
        self.loaded: dict[tuple[str, int], Toy] = {}
        self.broken: set[int] = set()
        self.mended_after = math.inf
        self.attempts = 0
        self.may_load = threading.Event()
        self.may_load.set()

    def __call__(self, model: str, number: int, path: Path) -> Toy:
        """Load one version."""
        self.attempts += 1
        self.may_load.wait(10)
        if number in self.broken and self.attempts <= self.mended_after:
            raise NotFound(f"nothing to load in {path.name}")
        self.loaded[model, number] = times(number)
        return self.loaded[model, number]


@pytest.fixture
def loader() -> Loader:
    """What loads."""
    return Loader()


@pytest.fixture
def manager(loader: Loader) -> Iterator[Manager]:
    """A manager that tries nothing twice."""
    manager = Manager(loader, LoadOptions(max_num_load_retries=0))
    yield manager
    loader.may_load.set()
    manager.close()


def states(manager: Manager, name: str = "m") -> dict[int, State]:
    """Version -> state."""
    return {status.version: status.state for status in manager.statuses(name)}


def settle(manager: Manager, wanted: dict[int, State], name: str = "m") -> None:
    """Wait until the versions are in these states."""
    wait_until(lambda: states(manager, name) == wanted, seconds=10, what=f"{name} is {wanted}")


def test_the_newest_version_is_handed_out(manager: Manager, tmp_path: Path) -> None:
    """Without a version, the highest number is used; folders that are no numbers are not seen."""
    for name in ("2", "0010", "9", "tmp", "12.bak"):
        (tmp_path / name).mkdir()
    manager.configure([ServedModel("m", tmp_path, All())])
    assert manager.wait_until_available(10)
    settle(manager, {10: State.AVAILABLE, 9: State.AVAILABLE, 2: State.AVAILABLE})
    with manager.use(Target("m")) as used:
        assert used.version == 10
    with manager.use(Target("m", 2)) as used:
        assert used.version == 2


def test_a_new_version_is_loaded_before_the_old_one_leaves(
    manager: Manager, loader: Loader, tmp_path: Path
) -> None:
    """While the new version loads the old one answers, and ends only afterwards."""
    add_version(tmp_path, 1)
    manager.configure([ServedModel("m", tmp_path)])
    assert manager.wait_until_available(10)
    loader.may_load.clear()
    add_version(tmp_path, 2)
    manager.poll()
    settle(manager, {1: State.AVAILABLE, 2: State.LOADING})
    with manager.use(Target("m")) as used:
        assert used.version == 1
    loader.may_load.set()
    settle(manager, {1: State.END, 2: State.AVAILABLE})
    assert loader.loaded["m", 1].is_closed.is_set()


def test_a_request_in_flight_finishes_on_its_version(
    manager: Manager, loader: Loader, tmp_path: Path
) -> None:
    """A version being unloaded is closed only when its last user is done."""
    add_version(tmp_path, 1)
    manager.configure([ServedModel("m", tmp_path)])
    assert manager.wait_until_available(10)
    with manager.use(Target("m")) as used:
        add_version(tmp_path, 2)
        manager.poll()
        settle(manager, {1: State.UNLOADING, 2: State.AVAILABLE})
        assert used.version == 1
        assert not loader.loaded["m", 1].is_closed.is_set()
        with pytest.raises(NotFound, match=r"Specific\(m, 1\)"), manager.use(Target("m", 1)):
            pass
    settle(manager, {1: State.END, 2: State.AVAILABLE})
    assert loader.loaded["m", 1].is_closed.is_set()


def test_a_version_that_does_not_load_leaves_the_old_one(
    manager: Manager, loader: Loader, tmp_path: Path
) -> None:
    """A broken version ends with its error; the old one serves on; it is not tried for ever."""
    add_version(tmp_path, 1)
    manager.configure([ServedModel("m", tmp_path)])
    assert manager.wait_until_available(10)
    loader.broken.add(2)
    broken = add_version(tmp_path, 2)
    manager.poll()
    settle(manager, {1: State.AVAILABLE, 2: State.END})
    assert manager.statuses("m", 2)[0].message == "nothing to load in 2"
    attempts = loader.attempts
    manager.poll()
    assert loader.attempts == attempts
    broken.rmdir()
    manager.poll()
    loader.broken.clear()
    broken.mkdir()
    manager.poll()
    settle(manager, {1: State.END, 2: State.AVAILABLE})


def test_loading_is_tried_again(loader: Loader, tmp_path: Path) -> None:
    """Once a model was available, a version that fails is tried again after the interval."""
    manager = Manager(loader, LoadOptions(max_num_load_retries=2, load_retry_interval_seconds=0.01))
    add_version(tmp_path, 1)
    manager.configure([ServedModel("m", tmp_path)])
    assert manager.wait_until_available(10)
    loader.broken.add(2)
    add_version(tmp_path, 2)
    manager.poll()
    settle(manager, {1: State.AVAILABLE, 2: State.END})
    assert loader.attempts == 1 + 3
    manager.close()


def test_what_was_loaded_at_the_second_attempt_ends_without_an_error(
    loader: Loader, tmp_path: Path
) -> None:
    """The state of a version that has served says nothing of an attempt before."""
    manager = Manager(loader, LoadOptions(max_num_load_retries=1, load_retry_interval_seconds=0.01))
    add_version(tmp_path, 1)
    manager.configure([ServedModel("m", tmp_path)])
    assert manager.wait_until_available(10)
    loader.broken.add(2)
    loader.mended_after = 2
    add_version(tmp_path, 2)
    manager.poll()
    settle(manager, {1: State.END, 2: State.AVAILABLE})
    add_version(tmp_path, 3)
    manager.poll()
    settle(manager, {1: State.END, 2: State.END, 3: State.AVAILABLE})
    assert manager.statuses("m", 2)[0].message == ""
    manager.close()


def test_the_highest_version_is_loaded_first(
    manager: Manager, loader: Loader, tmp_path: Path
) -> None:
    """Of several that are new (availability_preserving_policy.cc)."""
    for number in (5, 7, 6):
        add_version(tmp_path, number)
    manager.configure([ServedModel("m", tmp_path, All())])
    settle(manager, dict.fromkeys((5, 6, 7), State.AVAILABLE))
    assert [number for _, number in loader.loaded] == [7, 6, 5]


def test_one_version_serves_on_until_a_wanted_one_can(
    manager: Manager, loader: Loader, tmp_path: Path
) -> None:
    """Of several that are wanted no more the highest stays, the others end (availability_preserving_policy.cc)."""
    for number in (1, 2):
        add_version(tmp_path, number)
    manager.configure([ServedModel("m", tmp_path, All())])
    settle(manager, {1: State.AVAILABLE, 2: State.AVAILABLE})
    loader.broken.add(3)
    add_version(tmp_path, 3)
    manager.configure([ServedModel("m", tmp_path, Specific(frozenset({3})))])
    settle(manager, {1: State.END, 2: State.AVAILABLE, 3: State.END})


def test_removed_versions_are_unloaded(manager: Manager, tmp_path: Path) -> None:
    """Removing the newest falls back; an empty base path unloads all, a missing one nothing."""
    first, second = add_version(tmp_path / "m", 1), add_version(tmp_path / "m", 2)
    manager.configure([ServedModel("m", tmp_path / "m")])
    assert manager.wait_until_available(10)
    second.rmdir()
    manager.poll()
    settle(manager, {1: State.AVAILABLE, 2: State.END})
    shutil.rmtree(tmp_path / "m")
    manager.poll()
    assert states(manager) == {1: State.AVAILABLE, 2: State.END}
    (tmp_path / "m").mkdir()
    manager.poll()
    settle(manager, {1: State.END, 2: State.END})
    first.mkdir()
    manager.poll()
    settle(manager, {1: State.AVAILABLE, 2: State.END})


def test_models_that_stay_in_the_configuration_are_left_alone(
    manager: Manager, loader: Loader, tmp_path: Path
) -> None:
    """Reconfiguring adds and removes models; one that stays is not loaded again."""
    add_version(tmp_path / "a", 1)
    add_version(tmp_path / "b", 1)
    stays, goes = ServedModel("a", tmp_path / "a"), ServedModel("b", tmp_path / "b")
    manager.configure([stays, goes])
    assert manager.wait_until_available(10)
    settle(manager, {1: State.AVAILABLE}, "b")
    manager.configure([stays])
    settle(manager, {1: State.END}, "b")
    assert states(manager, "a") == {1: State.AVAILABLE}
    assert loader.attempts == 2


def test_labels(loader: Loader, tmp_path: Path) -> None:
    """A label names a version; moved to one that is not there, the configuration is refused."""
    manager = Manager(loader, LoadOptions(allow_labels_for_unavailable=True))
    add_version(tmp_path, 1)
    policy = Specific(frozenset({1, 7}))
    manager.configure([ServedModel("m", tmp_path, policy, {"stable": 1, "ghost": 7})])
    assert manager.wait_until_available(10)
    with manager.use(Target("m", version_label="stable")) as used:
        assert used.version == 1
    with pytest.raises(NotFound), manager.use(Target("m", version_label="ghost")):
        pass
    with pytest.raises(InvalidArgument, match="Unrecognized servable version label: nope"):
        manager.use(Target("m", version_label="nope")).__enter__()
    with pytest.raises(FailedPrecondition):
        manager.configure([ServedModel("m", tmp_path, policy, {"stable": 7})])
    with manager.use(Target("m", version_label="stable")) as used:
        assert used.version == 1
    manager.close()


def test_labels_at_start_need_the_flag(manager: Manager, tmp_path: Path) -> None:
    """Without the flag no label may name a version that is not available."""
    add_version(tmp_path, 1)
    with pytest.raises(FailedPrecondition, match="not currently available"):
        manager.configure([ServedModel("m", tmp_path, version_labels={"stable": 1})])


def test_a_model_that_cannot_start_says_why(
    manager: Manager, loader: Loader, tmp_path: Path
) -> None:
    """Waiting for a model that does not load ends with its error; for an empty one, it goes on."""
    manager.configure([ServedModel("m", tmp_path)])
    assert not manager.wait_until_available(0.05)
    loader.broken.add(1)
    add_version(tmp_path, 1)
    manager.poll()
    with pytest.raises(
        ServingError,
        match=r"{{{name: m version: 1} due to error: NOT_FOUND: nothing to load in 1}, }",
    ):
        manager.wait_until_available(10)


def test_where_nothing_is_to_serve_it_is_told(
    manager: Manager, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    """A base path that is not there, or holds no version, is told once, with the model's name; then it is waited for."""
    base_path = tmp_path / "typo"
    manager.configure([ServedModel("m", base_path)])
    manager.poll()
    assert [r.getMessage() for r in caplog.records] == [
        f"model m: Could not find base path {base_path} (No such file or directory)"
    ]
    caplog.clear()
    base_path.mkdir()
    manager.poll()
    manager.poll()
    (told,) = [record.getMessage() for record in caplog.records]
    assert told.startswith(f"model m: No versions found under base path {base_path}; ")
    add_version(base_path, 1)
    manager.poll()
    assert manager.wait_until_available(10)


def test_unknown_models_have_no_status(manager: Manager) -> None:
    """What was never served is not found, as the real server says it."""
    with pytest.raises(NotFound, match="Could not find any versions of model m"):
        manager.statuses("m")
    with pytest.raises(NotFound, match="Could not find version 3 of model m"):
        manager.statuses("m", 3)
