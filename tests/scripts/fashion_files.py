"""Small files in the format of Fashion-MNIST, whose "clothes" are scikit-learn's digits enlarged."""

from __future__ import annotations

import gzip
import struct
from typing import TYPE_CHECKING

import numpy as np
from PIL import Image
from sklearn.datasets import load_digits

if TYPE_CHECKING:
    from pathlib import Path


def idx(values: np.ndarray) -> bytes:
    """An array of bytes as an IDX file."""
    head = struct.pack(">HBB", 0, 8, values.ndim) + struct.pack(f">{values.ndim}I", *values.shape)
    return head + values.astype(np.uint8).tobytes()


def write_fashion_files(folder: Path, *, learn: int = 1200, test: int = 300) -> None:
    """The four files, compressed."""
    folder.mkdir(parents=True, exist_ok=True)
    digits = load_digits()
    images = np.stack(
        [
            np.asarray(Image.fromarray((image * 15).astype(np.uint8)).resize((28, 28)))
            for image in digits.images[: learn + test]
        ]
    )
    for part, span in (("train", slice(learn)), ("t10k", slice(learn, learn + test))):
        for name, values in (
            ("images-idx3", images[span]),
            ("labels-idx1", digits.target[span]),
        ):
            (folder / f"{part}-{name}-ubyte.gz").write_bytes(gzip.compress(idx(values)))
