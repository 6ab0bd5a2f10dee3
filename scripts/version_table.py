"""The versions of a model as a table for people."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING

from model_config import read_version_labels, version_folders
from scripts.inspect_model import print_signatures as print_folder_signatures
from scripts.inspect_model import saved_signatures
from scripts.served_versions import model_servers, states

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence
    from pathlib import Path

    from model_config import ModelConfig
    from scripts.served_versions import VersionState

_HEAD = ("VERSION", "STATE", "LABELS", "SIZE", "AGE")


def table(config: ModelConfig) -> str:
    """Every version on disk, newest first: its state on the model servers, labels, size, age."""
    servers = [states(url, config.servable) for url in model_servers(config)]
    answering = [server for server in servers if server is not None]
    histories = read_version_labels(config.base_path)
    rows = [
        (
            folder.name,
            _state(version, answering),
            " ".join(label for label, history in histories.items() if history[-1] == version),
            _size(folder),
            _age(folder),
        )
        for version, folder in reversed(version_folders(config.base_path).items())
    ]
    title = f"{config.name}: {config.base_path}"
    if not rows:
        return f"{title}\n  no version yet\n"
    return f"{title}\n{_aligned([_HEAD, *rows])}\n"


def print_signatures(config: ModelConfig) -> None:
    """Print what each version takes and gives, with dtypes and shapes."""
    for folder in version_folders(config.base_path).values():
        print_folder_signatures(str(folder), saved_signatures(folder))


def _state(version: int, servers: Sequence[Mapping[int, VersionState]]) -> str:
    """One word if all servers agree, else how many are in which state."""
    if not servers:
        return "not served"
    told = [server.get(version) for server in servers]
    names = [
        "not loaded" if state is None or (state.state == "END" and not state.error)
        else f"{state.state}: {state.error[:60]}" if state.error
        else state.state
        for state in told
    ]  # fmt: skip
    counts = {name: names.count(name) for name in names}
    if len(counts) == 1:
        return names[0]
    return ", ".join(f"{name} on {count}" for name, count in counts.items())


def _size(folder: Path) -> str:
    total = sum(file.stat().st_size for file in folder.rglob("*") if file.is_file())
    return f"{total / 1e6:.1f} MB"


def _age(folder: Path) -> str:
    seconds = time.time() - folder.stat().st_mtime
    for unit, length in (("day", 86400), ("hour", 3600), ("minute", 60)):
        if seconds >= length:
            count = int(seconds // length)
            return f"{count} {unit}{'s' if count > 1 else ''}"
    return "now"


def _aligned(rows: Iterable[tuple[str, ...]]) -> str:
    rows = list(rows)
    widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
    return "\n".join(
        "  "
        + "  ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)).rstrip()
        for row in rows
    )
