"""Write floats as the real server does.

Six significant digits if that reads back equal, else as many as are always enough (9 for float,
17 for double); `.0` marks a whole number; `NaN` and `Infinity` are bare. Source: recorded answers.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    from serving.servable import Array

_DIGITS_ALWAYS_ENOUGH: dict[type[np.generic], int] = {np.float32: 9, np.float64: 17}

_FEW = 16  # so many are looked at one by one sooner than numpy finds out which to look at


def number_texts(numbers: Array) -> list[str]:
    """The text of each element of a float32 or float64 array, in order."""
    flat = numbers.reshape(-1)
    dtype = flat.dtype.type
    digits = _DIGITS_ALWAYS_ENOUGH[dtype]
    values = flat.tolist()
    texts = (f"%.{digits}g\n" * len(values) % tuple(values)).splitlines()
    everywhere = range(len(values)) if len(values) <= _FEW else None
    for index in everywhere or np.flatnonzero(_may_be_short(flat)).tolist():
        short = f"{values[index]:.6g}"
        if dtype(float(short)) == flat[index]:
            texts[index] = short
    for index in everywhere or np.flatnonzero(_may_lack_a_point(flat)).tolist():
        texts[index] = _marked(texts[index])
    return texts


def _may_be_short(flat: Array) -> Array:
    """Which numbers lie next to one of six digits: only those can be read back from six."""
    exact = flat.astype(np.float64)
    limits = np.finfo(flat.dtype)
    size = np.abs(exact)
    with np.errstate(all="ignore"):
        scale = 10.0 ** (5 - np.floor(np.log10(size)))
        away = np.abs(np.rint(exact * scale) / scale - exact)
        # Half a unit in the last place, and what the computation above itself is off.
        near = away <= size * (limits.eps / 2 + 4 * np.finfo(np.float64).eps)
        unsure = (size < limits.tiny) | ~np.isfinite(scale) | ~np.isfinite(away)
        found: Array = near | unsure
        return found


def _may_lack_a_point(flat: Array) -> Array:
    whole: Array = (flat == np.rint(flat)) | ~np.isfinite(flat)
    return whole


def _marked(text: str) -> str:
    match text:
        case "nan" | "-nan":
            return "NaN"
        case "inf":
            return "Infinity"
        case "-inf":
            return "-Infinity"
    return text if "." in text or "e" in text else text + ".0"
