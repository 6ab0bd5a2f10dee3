from __future__ import annotations

import gzip
from typing import TYPE_CHECKING

import numpy as np
import pytest

from scripts.command_line import UserError
from scripts.training.idx_files import read_idx
from tests.scripts.fashion_files import idx

if TYPE_CHECKING:
    from pathlib import Path

VALUES = np.arange(24, dtype=np.uint8).reshape(2, 3, 4)


@pytest.mark.parametrize("suffix", ["", ".gz"])
def test_a_file_is_read_compressed_or_not(tmp_path: Path, suffix: str) -> None:
    """The numbers and their shape come back."""
    content = idx(VALUES)
    (tmp_path / f"some{suffix}").write_bytes(gzip.compress(content) if suffix else content)
    np.testing.assert_array_equal(read_idx(tmp_path, "some"), VALUES)


@pytest.mark.parametrize(
    "content",
    [b"", b"\0\0\x08", b"\0\0\x0d\1\0\0\0\1\0\0\0\0", idx(VALUES)[:-1], idx(VALUES) + b"\0", b"\0\0\x08\3\0\0"],
    ids=["empty", "cut head", "floats", "cut", "too long", "cut sizes"],
)  # fmt: skip
def test_a_damaged_file_is_named(tmp_path: Path, content: bytes) -> None:
    """What is not whole is refused."""
    (tmp_path / "some").write_bytes(content)
    with pytest.raises(UserError, match="some is no IDX file"):
        read_idx(tmp_path, "some")


def test_a_damaged_compression_is_named(tmp_path: Path) -> None:
    """A cut .gz file is refused."""
    (tmp_path / "some.gz").write_bytes(gzip.compress(idx(VALUES))[:-9])
    with pytest.raises(UserError, match=r"some\.gz cannot be read"):
        read_idx(tmp_path, "some")


def test_a_missing_file_is_named(tmp_path: Path) -> None:
    """Both spellings are told."""
    with pytest.raises(UserError, match=r"no some and no some\.gz"):
        read_idx(tmp_path, "some")
