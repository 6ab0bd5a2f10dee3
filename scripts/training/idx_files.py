"""The file format of MNIST and Fashion-MNIST (IDX, yann.lecun.com/exdb/mnist)."""

from __future__ import annotations

import gzip
import math
import zlib
from typing import TYPE_CHECKING

import numpy as np

from scripts.command_line import UserError

if TYPE_CHECKING:
    from pathlib import Path

UNSIGNED_BYTES = 8


def read_idx(folder: Path, name: str) -> np.ndarray:
    """Read `NAME` or `NAME.gz`: uint8 of as many dimensions as the file says.

    Raises:
        UserError: There is no such file, or it is damaged.
    """
    for path in (folder / name, folder / f"{name}.gz"):
        if path.is_file():
            return _array(_content(path), path)
    raise UserError(f"{folder} holds no {name} and no {name}.gz.")


def _content(path: Path) -> bytes:
    try:
        content = path.read_bytes()
        return gzip.decompress(content) if path.suffix == ".gz" else content
    except (OSError, EOFError, zlib.error) as error:
        raise UserError(f"{path} cannot be read: {error}.") from None


def _array(content: bytes, path: Path) -> np.ndarray:
    """Two zeros, the type, the number of dimensions, each as a big-endian 32-bit number, then the values."""
    dimensions = content[3] if len(content) > 3 else 0
    head, values = content[4 : 4 + 4 * dimensions], content[4 + 4 * dimensions :]
    if content[:3] == bytes((0, 0, UNSIGNED_BYTES)) and len(head) == 4 * dimensions:
        sizes = np.frombuffer(head, ">u4").tolist()
        if len(values) == math.prod(sizes):
            return np.frombuffer(values, np.uint8).reshape(sizes)
    raise UserError(f"{path} is no IDX file of bytes, or not whole.")
