"""Fashion-MNIST: 70,000 pictures of clothes, 28x28 pixels (github.com/zalandoresearch/fashion-mnist)."""

from __future__ import annotations

from typing import TYPE_CHECKING

from scripts.command_line import UserError
from scripts.reachability import NotReachableError, fail_fast_downloads
from scripts.tensorflow_import import importing_tensorflow
from scripts.training.idx_files import read_idx
from scripts.training.labelled_images import LabelledImages

if TYPE_CHECKING:
    from pathlib import Path

    import numpy as np


class DataMissingError(UserError):
    """The pictures are neither in a folder nor on the network."""

    status = 3


def load(folder: Path | None) -> tuple[LabelledImages, LabelledImages]:
    """The pictures to learn from and those to test with.

    Args:
        folder: Holds the four files of the data set, compressed or not; None: Keras downloads them.

    Raises:
        DataMissingError: The network cannot be reached.
        UserError: A file is missing or damaged.
    """
    if folder is not None:
        return _from_folder(folder, "train"), _from_folder(folder, "t10k")
    with importing_tensorflow():
        import keras  # noqa: PLC0415 - which a wrong folder need not wait for
    try:
        with fail_fast_downloads():
            learn, test = keras.datasets.fashion_mnist.load_data()
    except NotReachableError as error:
        raise DataMissingError(
            f"Fashion-MNIST cannot be downloaded ({error}); name a folder with its four files"
            " (train-images-idx3-ubyte.gz and so on) with --data."
        ) from None
    return _labelled(*learn), _labelled(*test)


def _from_folder(folder: Path, part: str) -> LabelledImages:
    images = read_idx(folder, f"{part}-images-idx3-ubyte")
    classes = read_idx(folder, f"{part}-labels-idx1-ubyte")
    if images.shape[1:] != (28, 28) or len(images) != len(classes) or not len(images):
        raise UserError(
            f"{folder}: the {part} files do not hold as many labels as pictures of 28x28."
        )
    return _labelled(images, classes)


def _labelled(images: np.ndarray, classes: np.ndarray) -> LabelledImages:
    return LabelledImages(images[..., None], classes)
