"""scikit-learn's bundled handwritten digits (UCI "Optical Recognition of Handwritten Digits", 8x8 pixels)."""

from __future__ import annotations

import numpy as np
from PIL import Image
from sklearn.datasets import load_digits
from sklearn.model_selection import train_test_split

from scripts.training.labelled_images import LabelledImages

HELD_OUT_SHARE = 0.2
PHOTO_SIZE = 128


def load() -> tuple[LabelledImages, LabelledImages]:
    """The digits to learn from and those held out, always the same ones; 0 to 16 become 0 to 255."""
    digits = load_digits()
    images = np.rint(digits.images * (255 / 16)).astype(np.uint8)[..., np.newaxis]
    learn, held_out, learn_classes, held_out_classes = train_test_split(
        images, digits.target, test_size=HELD_OUT_SHARE, random_state=0, stratify=digits.target
    )
    return LabelledImages(learn, learn_classes), LabelledImages(held_out, held_out_classes)


def with_blurred_copies(data: LabelledImages) -> LabelledImages:
    """Add what becomes of each picture when it was a photo of another size, which the router makes small again."""
    pairs = [(image, through_photo(image)) for image in data.images]
    return LabelledImages(np.concatenate(pairs), np.repeat(data.classes, 2))


def through_photo(image: np.ndarray) -> np.ndarray:
    """Enlarge a digit [8, 8, 1] as an image viewer does and shrink it as the router does."""
    return np.asarray(photo(image).resize((8, 8), Image.Resampling.BILINEAR))[..., np.newaxis]


def photo(image: np.ndarray) -> Image.Image:
    """A picture of a digit [8, 8, 1] in a size that people can see."""
    return Image.fromarray(image[..., 0]).resize((PHOTO_SIZE, PHOTO_SIZE), Image.Resampling.BICUBIC)
