from __future__ import annotations

import importlib
import os
import sys
from types import ModuleType
from typing import TYPE_CHECKING

import pytest

from scripts.tensorflow_import import importing_tensorflow

if TYPE_CHECKING:
    from collections.abc import Iterator


@pytest.fixture(autouse=True)
def without_scikit_learn(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """As if nothing had imported it yet; the environment as it was."""
    monkeypatch.setenv("TF_CPP_MIN_LOG_LEVEL", "3")
    monkeypatch.setenv("KERAS_BACKEND", "tensorflow")
    monkeypatch.delitem(sys.modules, "sklearn", raising=False)
    yield
    sys.modules.pop("sklearn", None)


def test_keras_finds_no_scikit_learn() -> None:
    """Within the block it counts as not installed, afterwards it can be imported as ever."""
    with importing_tensorflow(), pytest.raises(ImportError):
        importlib.import_module("sklearn")
    assert "sklearn" not in sys.modules


def test_scikit_learn_that_is_there_stays() -> None:
    """Whoever has imported it keeps it."""
    here = sys.modules["sklearn"] = ModuleType("sklearn")
    with importing_tensorflow():
        assert importlib.import_module("sklearn") is here
    assert sys.modules["sklearn"] is here


def test_chatter_is_shown_only_when_the_import_fails(capfd: pytest.CaptureFixture[str]) -> None:
    """What is written to standard error within the block is lost if all goes well, and shown if not."""
    with importing_tensorflow():
        os.write(2, b"chatter\n")
    assert capfd.readouterr().err == ""
    with pytest.raises(ImportError):
        _fail_to_import()
    assert capfd.readouterr().err == "a reason\n"


def _fail_to_import() -> None:
    with importing_tensorflow():
        os.write(2, b"a reason\n")
        raise ImportError
