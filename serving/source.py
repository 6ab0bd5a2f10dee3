"""Which versions lie under a base path: its sub-folders whose names are integers."""

from __future__ import annotations

import logging
import re
from typing import TYPE_CHECKING

from serving.errors import NotFound
from serving.paths import INT64_MAX

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path

    from serving.lifecycle import ServedModel

logger = logging.getLogger(__name__)

_VERSION_NAME = re.compile(r"[0-9]+")


class Source:
    """The versions of models on disk; of one that has none, that is told once."""

    def __init__(self) -> None:
        self._told: dict[str, str] = {}  # of each model without versions, why

    def versions(self, model: ServedModel) -> Mapping[int, Path] | None:
        """What lies under the model's base path; None if that is not there."""
        try:
            there = versions_on_disk(model.base_path)
        except NotFound as error:
            self._tell(model.name, error.message)
            return None
        if there:
            self._told.pop(model.name, None)
        else:
            self._tell(
                model.name,
                f"No versions found under base path {model.base_path}; "
                "a version is a folder there whose name is a number",
            )
        return there

    def _tell(self, name: str, what: str) -> None:
        if self._told.get(name) != what:
            self._told[name] = what
            logger.warning("model %s: %s", name, what)


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
