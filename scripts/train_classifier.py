"""Make a classifier of your own photos: one folder of pictures per class becomes a model with a route."""

from __future__ import annotations

import argparse
import json
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))

from model_config import state_dir
from scripts.command_line import UserError, run
from scripts.model_choice import add_models_argument, pick_model_or_class, read_models
from scripts.models_file import add_table, checked_table, path_in, write_text
from scripts.photo_folders import find_classes, split
from scripts.running_supervisor import reload_models, supervisor_process
from scripts.tensorflow_import import importing_tensorflow
from scripts.training.training_arguments import add_epochs_and_seed
from serving.export.versions import check_can_be_written

if TYPE_CHECKING:
    from collections.abc import Mapping

    from model_config import Deployment, ModelConfig

PREPROCESSING = ("preprocess", "resize", "color_mode", "input_size")
DEFAULT_BACKBONE = ("mobilenet_v2", "MobileNetV2")
"""A table, and the class that stands for it in a models file without it."""
DESCRIPTION = f"""{__doc__}

A network that was trained on many photos (--backbone) looks at yours; only a last layer is trained, which takes
seconds. What the network saw is kept, so that an interrupted run is taken up where it ended.
"""


def main() -> None:
    """Train, say how good it is on photos held out, export, add the table."""
    arguments = _arguments()
    deployment = read_models(arguments.models)
    if arguments.reload:
        supervisor_process()
    names, photos = find_classes(arguments.folder)
    # What would else be found out when all photos have been looked at.
    split(photos, names, share=arguments.held_out, seed=arguments.seed)
    check_can_be_written(_work_folder(arguments.name))
    backbone = _backbone(deployment, arguments.backbone)
    table = {fact: getattr(backbone, fact) for fact in PREPROCESSING}
    config = checked_table(deployment, arguments.name, {**table, "labels": names})
    _check_same(config, backbone, names, deployment)
    check_can_be_written(config.base_path)
    if config.name not in deployment.models:
        check_can_be_written(_labels_file(deployment, config.name).parent)
    print(f"{config.name}: {len(photos)} photos of {len(names)} classes", flush=True)
    with importing_tensorflow():
        # TensorFlow takes seconds to import, which nobody should wait for to read --help or a mistake.
        from scripts.training.transfer_learning import Training, learn  # noqa: PLC0415
        from serving.export.keras_export import export_model  # noqa: PLC0415
    how = (arguments.held_out, arguments.epochs, arguments.seed, _work_folder(config.name))
    folder = export_model(learn(names, photos, backbone, Training(*how)), config)
    _add_table(deployment, config.name, table, names)
    print(f"{config.name}: version {folder.name} is in {folder}", flush=True)
    if arguments.reload:
        print(f"auto_cmd.py (process {reload_models(config.name)}) has taken it up")


def _arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        description=DESCRIPTION, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("folder", type=Path, metavar="DIR", help="one folder of pictures per class")
    parser.add_argument("--name", required=True, help="the model's name: its table and its route")
    add_models_argument(parser)
    parser.add_argument(
        "--backbone",
        metavar="MODEL",
        help="a table of the models file, or a class of keras.applications (default: the table"
        f" {DEFAULT_BACKBONE[0]}, or {DEFAULT_BACKBONE[1]} where there is none)",
    )
    parser.add_argument(
        "--held-out", type=_share, default=0.2, metavar="SHARE", help="of each class (default: 0.2)"
    )
    add_epochs_and_seed(parser, epochs=200)
    parser.add_argument("--reload", action="store_true", help="tell the running auto_cmd.py")
    return parser.parse_args()


def _backbone(deployment: Deployment, name: str | None) -> ModelConfig:
    table, architecture = DEFAULT_BACKBONE
    config = pick_model_or_class(
        deployment, name or (table if table in deployment.models else architecture)
    )
    if config.own_preprocess:
        raise UserError(
            f"'{config.name}' preprocesses with its own function; name another --backbone."
        )
    return config


def _check_same(
    config: ModelConfig, backbone: ModelConfig, names: list[str], deployment: Deployment
) -> None:
    """A table that was there before must mean the same."""
    same = all(getattr(config, fact) == getattr(backbone, fact) for fact in PREPROCESSING)
    if not same or [label.name for label in config.labels] != names:
        raise UserError(
            f"{deployment.path} has a table [{config.name}] with other labels or another preprocessing; delete it, or"
            " choose another --name."
        )


def _add_table(
    deployment: Deployment, name: str, table: Mapping[str, Any], names: list[str]
) -> None:
    """Write the labels and the table, unless the table is there."""
    if name in deployment.models:
        return
    labels = _labels_file(deployment, name)
    write_text(labels, json.dumps(names, indent=2, ensure_ascii=False) + "\n")
    table = {**table, "labels": path_in(labels, deployment)}
    add_table(deployment, name, table, comment="trained by scripts/train_classifier.py")
    print(f"{name}: its table is in {deployment.path}", flush=True)


def _labels_file(deployment: Deployment, name: str) -> Path:
    return deployment.path.parent / "labels" / f"{name}.json"


def _share(text: str) -> float:
    try:
        share = float(text)
    except ValueError:
        share = 0.0
    if not 0 < share < 1:
        raise argparse.ArgumentTypeError(f"'{text}' is not a share between 0 and 1")
    return share


def _work_folder(name: str) -> Path:
    return state_dir() / "training" / name


if __name__ == "__main__":
    run(main)
