"""One version of a model as an archive to carry elsewhere."""

from __future__ import annotations

import os
import shutil
import tarfile
import zlib
from functools import partial
from pathlib import Path, PurePosixPath
from typing import TYPE_CHECKING

from model_config.versions import SAVED_MODEL_FILES, holds_saved_model
from scripts.command_line import UserError
from serving.export.versions import write_version

if TYPE_CHECKING:
    from collections.abc import Iterator


def pack(version: Path, archive: Path) -> None:
    """Write a version's folder, by its number, into a `.tar.gz` file.

    Raises:
        UserError: It is no version, or the file cannot be written.
    """
    if not holds_saved_model(version) or not version.name.isdecimal():
        raise UserError(f"{version} is no version: a folder named by a number, with a SavedModel.")
    beside = archive.with_name(f".{archive.name}.{os.getpid()}")
    try:
        # What a link names is packed, not the link: elsewhere it would lead nowhere.
        with tarfile.open(beside, "w:gz", dereference=True) as file:
            file.add(version, arcname=version.name, filter=_of_nobody)
        beside.replace(archive)
    except OSError as error:
        if error.filename in (None, str(beside)):
            raise UserError(f"{archive} cannot be written: {error.strerror}.") from None
        raise UserError(f"{error.filename} cannot be packed: {error.strerror}.") from None
    finally:
        beside.unlink(missing_ok=True)


def unpack(archive: Path, base_path: Path, *, version: str | None = None) -> Path:
    """Make the version in an archive a version under a base path; it appears there whole or not at all.

    Args:
        archive: A `.tar` file, compressed or not, as `pack` or `tar` write it.
        base_path: Where the model's versions lie.
        version: Its number there; None: the one that it has in the archive.

    Returns:
        The version's folder.

    Raises:
        UserError: The archive is damaged, holds no version, or would write anywhere else than into the version.
        ExportError: The version is there already.
    """
    try:
        with tarfile.open(archive) as file:
            top, members = _version_in(file, archive)
            _check_room(file, archive, base_path)
            write = partial(_extract, file, members)
            return write_version(base_path, write, version=version or top)
    except (tarfile.TarError, EOFError, zlib.error):
        raise UserError(
            f"{archive} is no tar archive, or not whole; pack or copy it again."
        ) from None
    except OSError as error:
        raise UserError(f"{archive} cannot be unpacked: {error.strerror or error}.") from None


def _of_nobody(member: tarfile.TarInfo) -> tarfile.TarInfo:
    """Who made the archive is nobody's business."""
    member.uid = member.gid = 0
    member.uname = member.gname = ""
    return member


Member = tuple[PurePosixPath, tarfile.TarInfo]


def _version_in(file: tarfile.TarFile, archive: Path) -> tuple[str, list[Member]]:
    """The version's number and its files, by their paths inside it."""
    files = [(path, member) for path, member in _safe_members(file, archive) if member.isfile()]
    tops = {path.parts[0] for path, _ in files}
    members = [(PurePosixPath(*path.parts[1:]), member) for path, member in files]
    if len(tops) != 1 or dict(members).keys().isdisjoint(map(PurePosixPath, SAVED_MODEL_FILES)):
        raise UserError(
            f"{archive} holds no version: one folder named by a number, with a SavedModel."
        )
    return tops.pop(), members


def _safe_members(file: tarfile.TarFile, archive: Path) -> Iterator[Member]:
    """Refuse whatever could write outside of the version, or would be more than a file there."""
    for member in file:
        path = PurePosixPath(member.name)
        if path.is_absolute() or ".." in path.parts or "\\" in member.name:
            raise UserError(f"{archive} is refused: {member.name!r} would be written elsewhere.")
        if not member.isfile() and not member.isdir():
            raise UserError(
                f"{archive} is refused: {member.name!r} is neither a file nor a folder."
            )
        if path.parts:
            yield path, member


def _check_room(file: tarfile.TarFile, archive: Path, base_path: Path) -> None:
    """A small archive may unpack to more than the disk holds."""
    needed = sum(member.size for member in file.getmembers())
    existing = next(folder for folder in (base_path, *base_path.parents) if folder.is_dir())
    if needed > shutil.disk_usage(existing).free:
        raise UserError(f"{archive} unpacks to {needed:,} bytes, more than there is room for.")


def _extract(file: tarfile.TarFile, members: list[Member], folder: Path) -> None:
    for path, member in members:
        target = folder / path
        target.parent.mkdir(parents=True, exist_ok=True)
        source = file.extractfile(member)
        if source is not None:
            with source, target.open("wb") as copy:
                shutil.copyfileobj(source, copy)
