"""Fixtures that several packages of tests share."""

from __future__ import annotations

import os
import re
from pathlib import Path

import pytest

from tests.certificates import self_signed
from tests.processes import ROOT

NEEDS_TENSORFLOW = re.compile(r"^pytestmark = (\[[^\]]*)?pytest\.mark\.tensorflow", re.MULTILINE)


def _folder_beside(variable: str, name: str) -> Path:
    folder = Path(os.environ.get(variable) or ROOT.parent / "shared" / name).resolve()
    if not folder.is_dir():
        pytest.skip(f"{folder} is not there; {variable} names another")
    return folder


@pytest.fixture(scope="session")
def zoo() -> Path:
    """Trained models, photos, and the reference answers; the test is skipped where they are not."""
    return _folder_beside("ZOO_DIR", "zoo")


@pytest.fixture(scope="session")
def conformance() -> Path:
    """What the real TensorFlow Serving answers, and a runner; the test is skipped where it is not."""
    return _folder_beside("CONFORMANCE_DIR", "conformance")


@pytest.fixture(scope="session")
def certificate(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Path]:
    """A self-signed certificate for 127.0.0.1 and its key."""
    return self_signed(tmp_path_factory.mktemp("tls"), "IP:127.0.0.1")


def pytest_ignore_collect(collection_path: Path, config: pytest.Config) -> bool | None:
    """A run that leaves out the tests which need TensorFlow does not import their modules either: that takes seconds."""
    leaves_out = "not (tensorflow" in config.option.markexpr
    if (
        leaves_out
        and collection_path.suffix == ".py"
        and NEEDS_TENSORFLOW.search(collection_path.read_text())
    ):
        return True
    return None
