"""The versions of a model in production: list them, move labels such as stable and canary, go back, prune, compare.

All of it is safe while the model is served. Labels stand beside the versions, in version_labels.json; the running
supervisor has its model servers follow them. docs/versions.md tells the whole story.
"""

from __future__ import annotations

import argparse
import sys
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))

from scripts import version_changes, version_comparison, version_table
from scripts.command_line import run, share, whole_number
from scripts.model_choice import add_models_argument, pick_model, read_models

if TYPE_CHECKING:
    from collections.abc import Callable

    from model_config import ModelConfig

    Action = Callable[[ModelConfig, argparse.Namespace], None]


def main() -> None:
    """Do what the command line says."""
    arguments = _parser().parse_args()
    deployment = read_models(arguments.models)
    if arguments.command == "list" and arguments.model is None:
        for config in deployment.models.values():
            _list(config, arguments)
        return
    _ACTIONS[arguments.command](pick_model(deployment, arguments.model), arguments)


def _list(config: ModelConfig, arguments: argparse.Namespace) -> None:
    print(version_table.table(config))
    if arguments.signatures:
        version_table.print_signatures(config)


def _promote(config: ModelConfig, arguments: argparse.Namespace) -> None:
    version_changes.promote(config, arguments.version, arguments.label, seconds=arguments.wait)


def _rollback(config: ModelConfig, arguments: argparse.Namespace) -> None:
    version_changes.roll_back(config, arguments.label, seconds=arguments.wait)


def _unlabel(config: ModelConfig, arguments: argparse.Namespace) -> None:
    version_changes.remove_label(config, arguments.label)


def _prune(config: ModelConfig, arguments: argparse.Namespace) -> None:
    version_changes.prune(config, keep=arguments.keep, dry_run=arguments.dry_run)


def _compare(config: ModelConfig, arguments: argparse.Namespace) -> None:
    version_comparison.compare(
        config, arguments.before, arguments.after, arguments.folder, least=arguments.least_agreement
    )


_ACTIONS: dict[str, Action] = {
    "list": _list,
    "promote": _promote,
    "rollback": _rollback,
    "unlabel": _unlabel,
    "prune": _prune,
    "compare": _compare,
}


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    add_models_argument(parser)
    commands = parser.add_subparsers(dest="command", required=True, metavar="COMMAND")
    listing = commands.add_parser("list", help="versions, states, labels, sizes, ages")
    listing.add_argument("model", nargs="?", help="one table (default: all)")
    listing.add_argument("--signatures", action="store_true", help="what each version takes")
    promote = _command(
        commands, "promote", "give a version a label, and wait until it is served so"
    )
    promote.add_argument("version", type=int, help="the version's number")
    rollback = _command(commands, "rollback", "give a label back to the version that had it before")
    unlabel = _command(commands, "unlabel", "take a label away")
    for labelled in (promote, rollback, unlabel):
        labelled.add_argument("label", help="such as stable or canary")
    for waiting in (promote, rollback):
        waiting.add_argument(
            "--wait",
            type=partial(whole_number, least=0),
            default=120,
            metavar="SECONDS",
            help="how long for the model servers to follow (120)",
        )
    _add_prune_and_compare(commands)
    return parser


def _add_prune_and_compare(commands: argparse._SubParsersAction[argparse.ArgumentParser]) -> None:
    prune = _command(commands, "prune", "delete old versions that bear no label")
    prune.add_argument(
        "--keep", type=whole_number, default=3, metavar="N", help="newest to keep (3)"
    )
    prune.add_argument("--dry-run", action="store_true", help="only say what would go")
    compare = _command(commands, "compare", "ask two served versions about a folder of images")
    compare.add_argument("before", help="a version or label")
    compare.add_argument("after", help="another version or label")
    compare.add_argument("folder", type=Path, help="images, also in folders below")
    compare.add_argument(
        "--least-agreement", type=share, default=0.0, metavar="SHARE", help="else exit with 1"
    )


def _command(
    commands: argparse._SubParsersAction[argparse.ArgumentParser], name: str, what: str
) -> argparse.ArgumentParser:
    parser = commands.add_parser(name, help=what, description=f"{what}.")
    parser.add_argument("model", help="the model's table")
    return parser


if __name__ == "__main__":
    run(main)
