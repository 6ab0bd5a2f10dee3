"""Pack a version of a model into one file, and unpack it as a version elsewhere."""

from __future__ import annotations

import argparse
import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))

from model_config import version_folders
from scripts.command_line import UserError, run
from scripts.model_choice import add_models_argument, pick_model, read_models
from scripts.version_archive import pack, unpack


def main() -> None:
    """Do what the command line says."""
    arguments = _arguments()
    if arguments.command == "pack":
        version = arguments.version_folder or _newest(_base_path(arguments))
        pack(version, arguments.out)
        print(f"{version} is packed in {arguments.out} ({arguments.out.stat().st_size:,} bytes)")
    else:
        version = unpack(arguments.archive, _base_path(arguments), version=arguments.version)
        print(f"{arguments.archive} is unpacked as {version}")


def _arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__)
    commands = parser.add_subparsers(dest="command", required=True)
    packing = commands.add_parser("pack", help="a version -> a .tar.gz file")
    packing.add_argument(
        "version_folder",
        nargs="?",
        type=Path,
        metavar="VERSION",
        help="a version's folder, or use --model",
    )
    packing.add_argument(
        "--out", type=Path, default=Path("model.tar.gz"), help="default: %(default)s"
    )
    unpacking = commands.add_parser("unpack", help="a .tar.gz file -> a version")
    unpacking.add_argument("archive", type=Path, metavar="ARCHIVE", help="the .tar.gz file")
    unpacking.add_argument(
        "--base-path",
        type=Path,
        metavar="DIR",
        help="where the model's versions lie, or use --model",
    )
    unpacking.add_argument(
        "--version", metavar="N", help="its number there (default: as in the archive)"
    )
    packing.set_defaults(base_path=None)
    for command in (packing, unpacking):
        command.add_argument(
            "--model", metavar="NAME", help="a table of the models file: its base path"
        )
        add_models_argument(command)
    return parser.parse_args()


def _base_path(arguments: argparse.Namespace) -> Path:
    if arguments.base_path:
        return Path(arguments.base_path)
    if arguments.model is None:
        raise UserError("Name a folder, or a table of the models file with --model.")
    return pick_model(read_models(arguments.models), arguments.model).base_path


def _newest(base_path: Path) -> Path:
    versions = [*version_folders(base_path).values()]
    if not versions:
        raise UserError(f"{base_path} holds no version to pack.")
    return versions[-1]


if __name__ == "__main__":
    run(main)
