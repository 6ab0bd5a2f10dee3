from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
from PIL import Image

from benchmarks import photos

if TYPE_CHECKING:
    from pathlib import Path

    import pytest


def test_photos_are_made_once_and_look_like_photos(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A JPEG of the promised size that is neither flat nor noise, and is kept for the next run."""
    monkeypatch.setattr(photos, "SIZES", {0.3: (640, 480)})
    (photo,) = photos.make_photos(tmp_path, [0.3])
    with Image.open(photo.path) as image:
        assert (image.format, image.size) == ("JPEG", (640, 480))
        grey = np.asarray(image.convert("L"), np.float32)
    assert grey.std() > 20
    neighbours = np.corrcoef(grey[:, 1:].ravel(), grey[:, :-1].ravel())[0, 1]
    assert neighbours > 0.9
    before = photo.path.stat().st_mtime_ns
    assert photos.make_photos(tmp_path, [0.3])[0].path.stat().st_mtime_ns == before
