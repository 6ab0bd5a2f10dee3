"""Parts of a large package are imported without the whole, and the whole is there for whoever asks."""

from __future__ import annotations

import subprocess
import sys
from typing import TYPE_CHECKING

import pytest

from serving.lazy_package import make_lazy
from tests.processes import ROOT

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path


@pytest.fixture
def package(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[str]:
    """A package whose `__init__.py` imports a part and defines an attribute; a second part stands by itself."""
    folder = tmp_path / "a_large_package"
    folder.mkdir()
    (folder / "__init__.py").write_text("from a_large_package import slow\nWHOLE = slow.ANSWER\n")
    (folder / "slow.py").write_text("ANSWER = 42\n")
    (folder / "part.py").write_text("ANSWER = 7\n")
    monkeypatch.syspath_prepend(tmp_path)
    yield folder.name
    for name in [one for one in sys.modules if one.startswith(folder.name)]:
        del sys.modules[name]


def test_a_part_is_imported_without_the_whole(package: str) -> None:
    """Importing a part runs that part alone; asking for what only the whole has runs the rest, once."""
    make_lazy(package)
    from a_large_package.part import ANSWER  # type: ignore[import-not-found]  # noqa: PLC0415

    assert ANSWER == 7
    assert "a_large_package.slow" not in sys.modules
    import a_large_package as whole  # type: ignore[import-not-found]  # noqa: PLC0415

    assert whole.part.ANSWER == 7
    assert whole.WHOLE == 42
    with pytest.raises(AttributeError, match="nothing"):
        _ = whole.nothing


def test_what_is_there_already_or_not_at_all_stays_as_it_is(package: str) -> None:
    """A package that has been imported is not exchanged; one that is not installed is missing as ever."""
    whole = __import__(package)
    make_lazy(package)
    assert sys.modules[package] is whole
    make_lazy("no_such_package")
    with pytest.raises(ModuleNotFoundError, match="no_such_package"):
        __import__("no_such_package")


@pytest.mark.tensorflow
def test_the_model_server_imports_a_part_of_tensorflow() -> None:
    """What a model server imports holds nothing that trains models; the whole is there for whoever asks afterwards."""
    program = (
        "import sys, serving.server, serving.grpc_server\n"
        "print(*(name in sys.modules for name in ('tensorflow.python.client', 'tensorflow._api', 'keras')))\n"
        "import tensorflow as tf\n"
        "print(tf.Module.__name__, tf.Graph is sys.modules['serving.tensorflow_core'].Graph)\n"
    )
    answer = subprocess.run(
        [sys.executable, "-c", program],
        cwd=ROOT,
        capture_output=True,
        text=True,
        check=True,
        timeout=120,
    )
    assert answer.stdout.splitlines() == ["True False False", "Module True"]
