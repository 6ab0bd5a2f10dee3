"""Pictures to learn from, or to test with."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import numpy as np


@dataclass(frozen=True)
class LabelledImages:
    """Pictures and what they show."""

    images: np.ndarray
    """uint8 [N, H, W, 1], 0 to 255."""
    classes: np.ndarray
    """integers [N], from 0 up."""
