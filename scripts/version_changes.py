"""Move labels between versions, and delete versions that nobody needs."""

from __future__ import annotations

import shutil
import time
import uuid
from typing import TYPE_CHECKING

from model_config import changed_version_labels, read_version_labels, version_folders
from model_config.versions import VERSION_LABEL, recent_versions
from scripts.command_line import UserError
from scripts.served_versions import label_version, model_servers, states

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Mapping
    from pathlib import Path

    from model_config import ModelConfig
    from scripts.served_versions import VersionState

_POLL_SECONDS = 0.3
_RETRY_SECONDS = 5.0
"""Within these a model server tries a version again that a label asks for; after them an error is no old one."""
_PRUNED = ".pruned-"


def promote(config: ModelConfig, version: int, version_label: str, *, seconds: float) -> None:
    """Give a version a label, and wait until every model server has followed.

    Raises:
        UserError: There is no such version, or it cannot be loaded; then the label is where it was.
    """
    if version not in version_folders(config.base_path):
        raise UserError(
            f"{config.base_path} holds no version {version}; list them with: versions.py list"
        )
    if not VERSION_LABEL.fullmatch(version_label):
        raise UserError(f"'{version_label}' is no label; use letters, digits, '_', '-' and '.'.")

    def promoted(history: list[int]) -> list[int]:
        return [*(v for v in history if v != version), version]

    _move(config, version_label, promoted, seconds)
    _hint_at_traffic(config, version_label)


def roll_back(config: ModelConfig, version_label: str, *, seconds: float) -> None:
    """Give a label back to the version that had it before.

    Raises:
        UserError: Nobody had it before, that version is gone, or it cannot be loaded; then the label is where it was.
    """

    def rolled_back(history: list[int]) -> list[int]:
        on_disk = version_folders(config.base_path)
        earlier = [version for version in history[:-1] if version in on_disk]
        if not earlier:
            raise UserError(
                f"No version that is still there had the label '{version_label}' before."
            )
        return earlier

    _move(config, version_label, rolled_back, seconds)


def remove_label(config: ModelConfig, version_label: str) -> None:
    """Take a label away.

    Raises:
        UserError: The model has none of that name.
    """
    if version_label not in read_version_labels(config.base_path):
        raise UserError(f"'{config.name}' has no label '{version_label}'.")
    _restore(config.base_path, version_label, [])
    print(f"{config.name}: '{version_label}' is removed")


def prune(config: ModelConfig, *, keep: int, dry_run: bool) -> None:
    """Delete all but the newest versions, those that bear a label, and those that a rollback would return to.

    Raises:
        UserError: There are no versions.
    """
    if not config.base_path.is_dir():
        raise UserError(f"There is no folder {config.base_path}.")
    with changed_version_labels(config.base_path) as labels:
        folders = version_folders(config.base_path)
        kept = recent_versions(labels) | set([*folders][-keep:])
        doomed = [folder for version, folder in folders.items() if version not in kept]
        if not dry_run:
            _delete(doomed, config.base_path)
    verb = "would delete" if dry_run else "deleted"
    print(f"{config.name}: {verb} {', '.join(folder.name for folder in doomed) or 'nothing'}")


def _delete(versions: Iterable[Path], base_path: Path) -> None:
    """Renamed first, a version is seen whole or not at all; what a run that was killed has left goes, too."""
    for folder in versions:
        folder.rename(folder.with_name(f"{_PRUNED}{uuid.uuid4().hex}"))
    for hidden in base_path.glob(f"{_PRUNED}*"):
        shutil.rmtree(hidden)


def _restore(base_path: Path, version_label: str, history: list[int]) -> None:
    with changed_version_labels(base_path) as labels:
        if history:
            labels[version_label] = history
        else:
            labels.pop(version_label, None)


def _move(
    config: ModelConfig, version_label: str, moved: Callable[[list[int]], list[int]], seconds: float
) -> None:
    """Give a label another history, and wait until every model server has followed; if one cannot, restore it."""
    told = {url: states(url, config.servable) for url in model_servers(config)}
    servers = {url: versions for url, versions in told.items() if versions is not None}
    with changed_version_labels(config.base_path) as labels:
        before = labels.get(version_label, [])
        labels[version_label] = after = moved(before)
    try:
        _wait_until_served(config, version_label, after[-1], seconds, servers)
    except UserError:
        _restore(config.base_path, version_label, before)
        raise


def _wait_until_served(
    config: ModelConfig,
    version_label: str,
    version: int,
    seconds: float,
    servers: Mapping[str, Mapping[int, VersionState]],
) -> None:
    """Wait for model servers, given with what they said of the versions before the label was moved."""
    if not servers:
        print(
            f"{config.name}: no model server runs; '{version_label}' is version {version} when one does"
        )
        return
    begun = time.monotonic()
    while not all(label_version(url, config.servable, version_label) == version for url in servers):
        waited = time.monotonic() - begun
        for url, before in servers.items():
            error = _load_error(states(url, config.servable), version)
            if error and (error != _load_error(before, version) or waited > _RETRY_SECONDS):
                raise UserError(
                    f"Version {version} cannot be loaded, so the label stays where it was: {error}"
                )
        if waited > seconds:
            raise UserError(
                f"The model server has not given '{version_label}' to version {version} within {seconds:g} s; is it started"
                " by auto_cmd.py, or follows its model_config_file these labels by other means?"
            )
        time.sleep(_POLL_SECONDS)
    print(f"{config.name}: '{version_label}' is version {version}")


def _load_error(versions: Mapping[int, VersionState] | None, version: int) -> str:
    """Why a model server could not load a version; also of an attempt before this one."""
    state = (versions or {}).get(version)
    return state.error if state is not None else ""


def _hint_at_traffic(config: ModelConfig, version_label: str) -> None:
    """With one label there is nothing to share out."""
    histories = read_version_labels(config.base_path)
    if version_label in config.traffic or len(histories) < 2:
        return
    *settled, newest = sorted(histories, key=lambda name: histories[name][-1])
    shares = [*(f"{name} = {90 // len(settled)}" for name in settled), f"{newest} = 10"]
    print(
        f"requests reach it with ?version_label={version_label}; for a share of all others write into [{config.name}]:"
        f" traffic = {{ {', '.join(shares)} }}"
    )
