from __future__ import annotations

import threading
from typing import TYPE_CHECKING

import pytest

from serving.export.versions import ExportError, check_can_be_written, write_version

if TYPE_CHECKING:
    from pathlib import Path


def fill(folder: Path) -> None:
    """Write what a version holds."""
    (folder / "saved_model.pb").write_text("whole")


def names(base_path: Path) -> list[str]:
    """What lies under a base path, besides the writers' lock."""
    return sorted(entry.name for entry in base_path.iterdir() if entry.name != ".export.lock")


def test_the_next_version_follows_the_highest(tmp_path: Path) -> None:
    """Versions count up from the highest number there, read as a number."""
    (tmp_path / "9").mkdir()
    (tmp_path / "00000010").mkdir()
    (tmp_path / "notes").mkdir()
    assert write_version(tmp_path, fill) == tmp_path / "11"


def test_the_first_version_is_1(tmp_path: Path) -> None:
    """The base path is made where it is not there."""
    assert write_version(tmp_path / "new" / "model", fill).name == "1"


def test_a_version_keeps_its_zeros(tmp_path: Path) -> None:
    """A name such as 00000123 is what TensorFlow Serving's own examples write."""
    assert write_version(tmp_path, fill, version="00000123") == tmp_path / "00000123"
    assert names(tmp_path) == ["00000123"]


def test_a_version_is_whole_when_it_appears(tmp_path: Path) -> None:
    """While it is written, nothing under the base path is named by a number."""
    seen: list[str] = []

    def write(folder: Path) -> None:
        fill(folder)
        seen.extend(name for name in names(tmp_path) if name.isdigit())

    version = write_version(tmp_path, write)
    assert seen == []
    assert (version / "saved_model.pb").read_text() == "whole"


def test_a_failed_export_leaves_nothing(tmp_path: Path) -> None:
    """Neither a version nor the draft stays behind when writing fails."""

    def write(folder: Path) -> None:
        fill(folder)
        raise OSError("disk full")

    with pytest.raises(OSError, match="disk full"):
        write_version(tmp_path, write)
    assert names(tmp_path) == []


def test_what_a_killed_export_has_left_goes_with_the_next_one(tmp_path: Path) -> None:
    """A draft that nobody writes any more is removed, one that somebody is writing is not."""
    abandoned = tmp_path / ".export-0123"
    abandoned.mkdir(parents=True)
    fill(abandoned)

    def write_two(folder: Path) -> None:
        assert not abandoned.exists()
        write_version(tmp_path, fill)
        fill(folder)

    write_version(tmp_path, write_two)
    assert names(tmp_path) == ["1", "2"]


@pytest.mark.parametrize("version", ["0", "-1", "1.5", "one", "", "\u0661", str(2**63), "9" * 5000])
def test_a_version_must_be_a_number(tmp_path: Path, version: str) -> None:
    """Whatever a model server would not take for a version is refused."""
    with pytest.raises(ExportError, match="whole number"):
        write_version(tmp_path, fill, version=version)


def test_a_file_in_the_next_versions_place_is_told(tmp_path: Path) -> None:
    """A file cannot be a version, and is not written over."""
    (tmp_path / "1").mkdir()
    (tmp_path / "2").write_text("notes")
    with pytest.raises(ExportError, match="cannot be written"):
        write_version(tmp_path, fill)
    assert (tmp_path / "2").read_text() == "notes"


def test_a_version_is_never_overwritten(tmp_path: Path) -> None:
    """A number that is taken is refused, however it is spelt."""
    (tmp_path / "007").mkdir()
    with pytest.raises(ExportError, match="holds version 7 already"):
        write_version(tmp_path, fill, version="7")


def test_exports_at_the_same_time_get_numbers_of_their_own(tmp_path: Path) -> None:
    """Of exports that end together each becomes a version."""
    barrier = threading.Barrier(4)

    def write(folder: Path) -> None:
        fill(folder)
        barrier.wait(timeout=20)

    threads = [threading.Thread(target=write_version, args=(tmp_path, write)) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert names(tmp_path) == ["1", "2", "3", "4"]


@pytest.mark.parametrize("base_path", ["/proc/x", "file/below"])
def test_a_base_path_that_cannot_be_written_is_one_sentence(tmp_path: Path, base_path: str) -> None:
    """It is told when writing, and before the work of training when asked for."""
    (tmp_path / "file").touch()
    for attempt in (check_can_be_written, lambda path: write_version(path, fill)):
        with pytest.raises(ExportError, match=f"{base_path} cannot be written"):
            attempt(tmp_path / base_path)


def test_a_look_beforehand_leaves_nothing(tmp_path: Path) -> None:
    """A version that could be written leaves no trace; one that is there already is refused."""
    check_can_be_written(tmp_path / "new" / "model", "1")
    assert names(tmp_path) == []
    (tmp_path / "7").mkdir()
    with pytest.raises(ExportError, match="holds version 7 already"):
        check_can_be_written(tmp_path, "7")
