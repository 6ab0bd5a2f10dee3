"""Make, list and revoke the API keys of the router's API_KEYS_FILE."""

from __future__ import annotations

import argparse
import contextlib
import fcntl
import os
import sys
from pathlib import Path
from typing import TYPE_CHECKING

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))

from flask_server.api_keys import EVERY_MODEL, ApiKey, load_keys, new_key, save_keys
from model_config import command_to_type
from scripts.command_line import UserError, run
from scripts.model_choice import add_models_argument, pick_model, read_models

if TYPE_CHECKING:
    from collections.abc import Iterator


def main() -> None:
    """Do what the command line says."""
    options = _parser().parse_args()
    path = _path(options.file)
    with _alone(path):
        options.act(path, options)


def create(path: Path, options: argparse.Namespace) -> None:
    """Add a key to the file and print it; it is never shown again."""
    keys = load_keys(path) if path.exists() else ()
    if any(key.name == options.name for key in keys):
        raise UserError(f"{path} has a key '{options.name}'; revoke it first or choose another.")
    text, key = new_key(
        options.name,
        models=_models(options),
        rate=options.rate,
        daily_quota=options.daily_quota,
        metrics=options.metrics,
    )
    save_keys(path, [*keys, key])
    print(text)


def revoke(path: Path, options: argparse.Namespace) -> None:
    """Take a key out of the file; the router notices at its next request."""
    keys = load_keys(path)
    kept = [key for key in keys if key.name != options.name]
    if len(kept) == len(keys):
        raise UserError(f"{path} has no key '{options.name}'; see: {_listing(path)}")
    save_keys(path, kept)
    print(f"'{options.name}' is revoked.")


def _listing(path: Path) -> str:
    return command_to_type(Path(__file__), "list", "--file", path)


def show(path: Path, _: argparse.Namespace) -> None:
    """Print one line for each key; the keys themselves are not known any more."""
    for key in load_keys(path):
        limits = ", ".join(limit.sentence for limit in key.limits) or "no limits"
        print(f"{key.name:20} kfd_{key.id}_…  {key.created}  {_scope(key)}; {limits}")


def _scope(key: ApiKey) -> str:
    if key.metrics:
        return "metrics"
    return "all models" if EVERY_MODEL in key.models else ", ".join(key.models)


def _models(options: argparse.Namespace) -> list[str]:
    if options.metrics:
        return []
    if not options.only:
        return [EVERY_MODEL]
    deployment = read_models(options.models)
    return [pick_model(deployment, name).name for name in options.only]


def _path(given: Path | None) -> Path:
    path = given or os.environ.get("API_KEYS_FILE")
    if not path:
        raise UserError("Name the file of keys with --file or in API_KEYS_FILE.")
    path = Path(path).expanduser().resolve()
    if not path.parent.is_dir():
        raise UserError(f"There is no folder {path.parent}; make it first.")
    return path


@contextlib.contextmanager
def _alone(path: Path) -> Iterator[None]:
    """Let no second run of this program change the file meanwhile: one of the two changes would be lost."""
    folder = os.open(path.parent, os.O_RDONLY)
    try:
        fcntl.flock(folder, fcntl.LOCK_EX)
        yield
    finally:
        os.close(folder)


def _parser() -> argparse.ArgumentParser:
    file = argparse.ArgumentParser(add_help=False)
    file.add_argument("--file", type=Path, help="the file of keys (default: $API_KEYS_FILE)")
    parser = argparse.ArgumentParser(description=__doc__)
    actions = parser.add_subparsers(required=True, metavar="create|list|revoke")
    make = actions.add_parser("create", parents=[file], help="make a key and print it, once")
    _add_create_arguments(make)
    tell = actions.add_parser("list", parents=[file], help="one line for each key")
    tell.set_defaults(act=show)
    end = actions.add_parser("revoke", parents=[file], help="end a key")
    end.add_argument("name", help="whose key")
    end.set_defaults(act=revoke)
    return parser


def _add_create_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("name", help="who uses it; stands in logs and metrics")
    scope = parser.add_mutually_exclusive_group()
    scope.add_argument("--only", nargs="+", metavar="MODEL", help="these models (default: all)")
    scope.add_argument("--metrics", action="store_true", help="for /metrics, and for no model")
    parser.add_argument("--rate", metavar="N/s", help="at most so many: 10/s, 600/min or 1000/h")
    parser.add_argument("--daily-quota", type=int, metavar="N", help="at most so many a day (UTC)")
    add_models_argument(parser)
    parser.set_defaults(act=create)


if __name__ == "__main__":
    run(main)
