"""Files that one program writes and another one reads."""

from __future__ import annotations

import contextlib
import hashlib
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from pathlib import Path


def write_whole(path: Path, text: str) -> None:
    """Replace a file in one step, so that no reader ever sees half of it.

    Raises:
        OSError: It cannot be written; then it is as it was.
    """
    beside = path.with_name(path.name + ".new")
    try:
        beside.write_text(text, encoding="utf-8")
        beside.replace(path)
    finally:
        beside.unlink(missing_ok=True)


def digest_of(*paths: Path | None) -> str:
    """What these files say, as 16 hexadecimal digits; a file that cannot be read says nothing."""
    digest = hashlib.blake2b(digest_size=8)
    for path in paths:
        with contextlib.suppress(OSError):
            digest.update(path.read_bytes() if path else b"")
        digest.update(b"\0")
    return digest.hexdigest()
