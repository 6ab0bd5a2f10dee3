"""Which versions lie under a base path: its sub-folders whose names are integers."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

from serving.errors import NotFound
from serving.paths import INT64_MAX

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path

_VERSION_NAME = re.compile(r"[0-9]+")


def versions_on_disk(base_path: Path) -> Mapping[int, Path]:
    """Version number -> its folder; of two spellings of a number (`1`, `001`) one is taken.

    Raises:
        NotFound: the base path is not a folder that can be listed.
    """
    try:
        folders = sorted(entry for entry in base_path.iterdir() if entry.is_dir())
    except OSError as error:
        raise NotFound(f"Could not find base path {base_path} ({error.strerror})") from None
    numbered = ((int(f.name), f) for f in folders if _VERSION_NAME.fullmatch(f.name))
    return {number: folder for number, folder in numbered if number <= INT64_MAX}
