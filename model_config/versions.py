"""What lies under a model's base path: its versions, and which of them bear a version label such as `stable`.

The labels stand in a small file beside the versions, so that they stay with them wherever these are served. For each
label it holds the versions that have borne it, the present one last: `{"stable": [1, 2], "canary": [3]}`.
"""

from __future__ import annotations

import contextlib
import fcntl
import json
import os
import re
from typing import TYPE_CHECKING

from model_config.checks import ConfigError
from model_config.whole_files import write_whole

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

VERSION_LABELS = "version_labels.json"
VERSION_LABEL = re.compile(r"[A-Za-z0-9][A-Za-z0-9_.-]*")
HISTORY = 10
"""How many versions of a label are remembered."""

SAVED_MODEL_FILES = ("saved_model.pb", "saved_model.pbtxt")
"""A version holds one of them; the first is taken where both are there."""

_VERSION_NAME = re.compile(r"[0-9]+")
_VERSIONS_END = 2**63
LabelHistory = dict[str, list[int]]


def version_folders(base_path: Path) -> dict[int, Path]:
    """The versions that can be served, oldest first: a number for a name, a SavedModel in the folder."""
    folders = numbered_folders(base_path)
    return {number: folder for number, folder in folders.items() if holds_saved_model(folder)}


def numbered_folders(base_path: Path) -> dict[int, Path]:
    """What a model server takes for a version, whatever is in it; oldest first."""
    try:
        entries = [entry for entry in base_path.iterdir() if _VERSION_NAME.fullmatch(entry.name)]
    except OSError:
        return {}
    # Not `Path.is_dir`, which fails for what cannot be looked at.
    found = {int(entry.name): entry for entry in entries if os.path.isdir(entry)}  # noqa: PTH112
    return {number: found[number] for number in sorted(found) if number < _VERSIONS_END}


def holds_saved_model(folder: Path) -> bool:
    """Whether a folder, such as a version's, holds a SavedModel."""
    try:
        return any((folder / name).is_file() for name in SAVED_MODEL_FILES)
    except OSError:  # it may not be looked into
        return False


def read_version_labels(base_path: Path) -> LabelHistory:
    """Each version label with the versions that have borne it, the present one last; empty where none was given.

    Raises:
        ConfigError: The file is there but cannot be read as such.
    """
    path = base_path / VERSION_LABELS
    try:
        content = json.loads(path.read_text(encoding="utf-8"))
    except FileNotFoundError:
        return {}
    except (OSError, ValueError, RecursionError) as error:
        raise ConfigError(f"{path} cannot be read as JSON ({error}); mend or remove it.") from None
    if not isinstance(content, dict) or not all(map(_is_entry, content.items())):
        raise ConfigError(f'{path} must map labels to versions, as in {{"stable": [1, 2]}}.')
    return content


def _is_entry(entry: tuple[str, object]) -> bool:
    label, versions = entry
    return (
        bool(VERSION_LABEL.fullmatch(label))
        and isinstance(versions, list)
        and bool(versions)
        and all(type(version) is int and version >= 0 for version in versions)
    )


def recent_versions(labels: LabelHistory) -> set[int]:
    """The versions that bear a label, and those that did before, to which a label may go back at once."""
    return {version for history in labels.values() for version in history[-2:]}


@contextlib.contextmanager
def changed_version_labels(base_path: Path) -> Iterator[LabelHistory]:
    """The labels, to be changed within the block by one program at a time; written in one step when it ends well."""
    with (base_path / ".version_labels.lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        labels = read_version_labels(base_path)
        yield labels
        shortened = {label: versions[-HISTORY:] for label, versions in labels.items()}
        write_whole(base_path / VERSION_LABELS, json.dumps(shortened, indent=2) + "\n")
