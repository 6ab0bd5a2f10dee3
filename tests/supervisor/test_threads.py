from __future__ import annotations

from typing import TYPE_CHECKING

from model_config import ModelConfig
from supervisor import threads
from supervisor.threads import thread_flags

if TYPE_CHECKING:
    from pathlib import Path

    import pytest

ONE = ("--tensorflow_intra_op_parallelism=1",)


def model(base_path: Path, size: int) -> ModelConfig:
    """A model whose newest version has so many bytes, beside an older one of none."""
    for version, content in (("9", b""), ("10", bytes(size))):
        (base_path / version / "variables").mkdir(parents=True)
        (base_path / version / "saved_model.pb").touch()
        (base_path / version / "variables" / "data").write_bytes(content)
    return ModelConfig(name=base_path.name, servable=base_path.name, base_path=base_path)


def test_small_models_get_one_thread_an_operation(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The newest version's size decides; one small model in a server is enough."""
    monkeypatch.setattr(threads, "LARGE_BYTES", 1000)
    small, large = model(tmp_path / "small", 999), model(tmp_path / "large", 1000)
    assert thread_flags([small], ()) == ONE
    assert thread_flags([large], ()) == ()
    assert thread_flags([large, small], ()) == ONE


def test_who_says_something_about_threads_decides(tmp_path: Path) -> None:
    """Flags about parallelism replace the choice; others do not."""
    small = model(tmp_path / "small", 1)
    assert thread_flags([small], ["--tensorflow_session_parallelism=2"]) == ()
    assert thread_flags([small], ["--enable_batching"]) == ONE


def test_files_that_vanish_are_no_failure(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A version that is removed while its size is asked counts as small."""
    going = model(tmp_path / "going", 1)

    def is_there_no_more(path: Path) -> bool:
        return path.name == "data" and path.unlink() is None

    monkeypatch.setattr(threads, "version_folders", lambda _: {10: going.base_path / "10"})
    monkeypatch.setattr("pathlib.Path.is_file", is_there_no_more)
    assert thread_flags([going], ()) == ONE


def test_a_model_without_a_version_counts_as_small(tmp_path: Path) -> None:
    """What is not there cannot be large."""
    absent = ModelConfig(name="absent", servable="absent", base_path=tmp_path / "absent")
    assert thread_flags([absent], ()) == ONE
