"""Build the few-shot classifier of a table: its encoder, the signatures around it, as the next version.

The encoder is the table's model up to its last pooling layer: of a `keras.applications` class (MobileNetV2 …) with the weights
that the table or WEIGHTS_DIR gives. A table without an architecture gets one that is trained here, without any
download, on handwritten digits from 0 to 5: it has never seen the 6, 7, 8 and 9 that people then teach it.
"""

from __future__ import annotations

import argparse
import sys
from pathlib import Path
from typing import TYPE_CHECKING

sys.path.insert(0, str(Path(__file__).resolve().parent.parent.parent))

from model_config.made_from import write_record
from scripts.command_line import UserError, run
from scripts.model_choice import add_models_argument, pick_model, read_models
from scripts.tensorflow_import import importing_tensorflow
from scripts.training.labelled_images import LabelledImages
from serving.export.versions import check_can_be_written, write_version

if TYPE_CHECKING:
    import keras

    from model_config import ModelConfig

LEARNED_DIGITS = 6


def main() -> None:
    """Build or train the encoder, export the classifier around it."""
    arguments = _arguments()
    config = pick_model(read_models(arguments.models), arguments.model)
    check_can_be_written(config.base_path, arguments.version)
    with importing_tensorflow():
        # TensorFlow takes seconds to import, which nobody should wait for to read --help or a mistake.
        import tensorflow as tf  # noqa: PLC0415

        from examples.few_shot.support_set import (  # noqa: PLC0415
            FewShotClassifier,
            warmup_requests,
        )
        from serving.export.keras_export import check_input  # noqa: PLC0415
        from serving.export.warmup import write_requests  # noqa: PLC0415
    model = _application(config) if config.architecture else _digits_model(config)
    check_input(model, config)
    classifier = FewShotClassifier(_encoder(model, config), config)

    def write(folder: Path) -> None:
        tf.saved_model.save(classifier, str(folder), signatures=classifier.signatures())
        write_requests(folder, config.servable, warmup_requests(config))
        write_record(folder, config)

    folder = write_version(config.base_path, write, version=arguments.version)
    print(f"{config.name}: version {folder.name} is in {folder}", flush=True)


def _arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    add_models_argument(parser)
    parser.add_argument(
        "--model", metavar="NAME", default="fewshot", help="its table (default: fewshot)"
    )
    parser.add_argument("--version", metavar="N", help="the version to write (default: the next)")
    return parser.parse_args()


def _application(config: ModelConfig) -> keras.Model:
    from scripts.keras_models import build_model  # noqa: PLC0415 - imports Keras

    print(f"{config.name}: building {config.architecture}", flush=True)
    return build_model(config)


def _digits_model(config: ModelConfig) -> keras.Model:
    from scripts.training import digits_data, small_cnn  # noqa: PLC0415 - imports Keras

    if (config.input_size, config.color_mode) != ((8, 8), "grayscale"):
        raise UserError(
            f"The table [{config.name}] names no 'architecture'; the encoder that is trained on digits instead"
            ' needs input_size = [8, 8] and color_mode = "grayscale".'
        )
    print(f"{config.name}: training on digits below {LEARNED_DIGITS}", flush=True)
    learn, _ = digits_data.load()
    known = learn.classes < LEARNED_DIGITS
    data = LabelledImages(learn.images[known], learn.classes[known])
    return small_cnn.train(digits_data.with_blurred_copies(data), epochs=12, seed=0)


def _encoder(model: keras.Model, config: ModelConfig) -> keras.Model:
    """The model up to its last pooling layer: what comes after knows only the classes that it was trained on."""
    import keras  # noqa: PLC0415 - slow

    pooling = [layer for layer in model.layers if "Pooling" in type(layer).__name__]
    if not pooling:
        raise UserError(
            f"Model '{config.name}' has no pooling layer, whose output would be its features."
        )
    return keras.Model(model.inputs, pooling[-1].output)


if __name__ == "__main__":
    run(main)
