"""Train a small network on Fashion-MNIST, export it, and pack it with a request to try it."""

from __future__ import annotations

import argparse
import json
import sys
from pathlib import Path
from typing import TYPE_CHECKING

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))

from scripts.command_line import run
from scripts.model_choice import add_models_argument, read_models
from scripts.models_file import add_table, checked_table, path_in
from scripts.tensorflow_import import importing_tensorflow
from scripts.training import fashion_mnist_data
from scripts.training.small_pictures import add_training_arguments, check_before_training
from scripts.version_archive import pack
from serving.export.versions import check_can_be_written

if TYPE_CHECKING:
    from model_config import Deployment
    from scripts.training.labelled_images import LabelledImages

LABELS = (
    "T-shirt/top", "Trouser", "Pullover", "Dress", "Coat",
    "Sandal", "Shirt", "Sneaker", "Bag", "Ankle boot",
)  # fmt: skip


def main() -> None:
    """Train, say how good it is on the test pictures, export; with `--out`, pack."""
    arguments = _arguments()
    if arguments.out:
        check_can_be_written(arguments.out)
    deployment = read_models(arguments.models)
    table = _table(deployment)
    config = checked_table(deployment, arguments.model, table)
    check_before_training(config, 28, arguments.version)
    learn, test = fashion_mnist_data.load(arguments.data)
    with importing_tensorflow():
        # TensorFlow takes seconds to import, which nobody should wait for to read --help or a mistake.
        from scripts.training import small_cnn  # noqa: PLC0415
    print(f"{config.name}: training on {len(learn.images)} pictures of clothes", flush=True)
    folder = small_cnn.train_and_export(config, learn, test, arguments)
    comment = "clothes, 28x28, bright on dark (scripts/train_fashion_mnist.py)"
    add_table(deployment, config.name, table, comment=comment)
    if arguments.out:
        _write_package(folder, test, arguments.out)


def _arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        description=__doc__,
        epilog="Exit status: 1 for a mistake, 3 when the pictures cannot be had.",
    )
    add_models_argument(parser)
    parser.add_argument(
        "--model",
        metavar="NAME",
        default="fashion_mnist",
        help="its table, added if it is not there (default: fashion_mnist)",
    )
    parser.add_argument(
        "--data",
        type=Path,
        metavar="DIR",
        help="the four files of the data set (default: Keras downloads them)",
    )
    parser.add_argument(
        "--out", type=Path, metavar="DIR", help="write model.tar.gz and predict.json there"
    )
    add_training_arguments(parser, epochs=8)
    return parser.parse_args()


def _table(deployment: Deployment) -> dict[str, object]:
    """What the models file says of a model of these pictures."""
    return {
        "train": path_in(Path(__file__), deployment),
        "color_mode": "grayscale",
        "input_size": [28, 28],
        "labels": list(LABELS),
    }


def _write_package(version: Path, test: LabelledImages, folder: Path) -> None:
    """The version as one file, and three test pictures as a request to a model server."""
    folder.mkdir(parents=True, exist_ok=True)
    pack(version, folder / "model.tar.gz")
    instances = test.images[:3].astype(float).tolist()
    request = {"signature_name": "serving_default", "instances": instances}
    (folder / "predict.json").write_text(json.dumps(request), encoding="utf-8")
    shown = ", ".join(LABELS[number] for number in test.classes[:3])
    print(f"{folder / 'model.tar.gz'} and {folder / 'predict.json'} (three pictures: {shown})")


if __name__ == "__main__":
    run(main)
