"""The few-shot SavedModel over a trained MobileNetV2, with real photos."""

from __future__ import annotations

import base64
import io
from typing import TYPE_CHECKING

import numpy as np
import pytest
from PIL import Image

from model_config import ModelConfig

if TYPE_CHECKING:
    from pathlib import Path

pytestmark = [pytest.mark.tensorflow, pytest.mark.zoo]

SHOWN = ("bird.bmp", "cat.bmp", "sunflower.bmp")


def text(photo: Image.Image) -> str:
    """A photo as web-safe base64."""
    file = io.BytesIO()
    photo.save(file, "PNG")
    return base64.urlsafe_b64encode(file.getvalue()).decode()


def test_two_crops_of_a_photo_name_it(zoo: Path, tmp_path: Path) -> None:
    """Taught two windows of each of three photos, the classifier names all three mirrored and turned."""
    import keras  # noqa: PLC0415 - takes seconds
    import tensorflow as tf  # noqa: PLC0415

    from examples.few_shot.support_set import FewShotClassifier  # noqa: PLC0415
    from tests.serving.bare_session import BareSession  # noqa: PLC0415

    model = keras.applications.MobileNetV2(weights=zoo / "weights" / "mobilenet_v2.weights.h5")
    features = keras.Model(model.inputs, model.layers[-2].output)
    config = ModelConfig(
        name="p", servable="p", base_path=tmp_path, preprocess="tf", input_size=(224, 224)
    )
    classifier = FewShotClassifier(features, config)
    tf.saved_model.save(classifier, str(tmp_path / "1"), signatures=classifier.signatures())
    served = BareSession(tmp_path / "1")
    photos = [Image.open(zoo / "photos" / name).convert("RGB") for name in SHOWN]
    windows = [
        [top, left, photo.height * 3 // 4, photo.width * 3 // 4]
        for photo in photos
        for top, left in ((0, 0), (photo.height // 4, photo.width // 4))
    ]
    served.run_named(
        "set_support_set",
        images=[text(photo) for photo in photos for _ in range(2)],
        crop_windows=np.array(windows),
        labels=[name for name in SHOWN for _ in range(2)],
        overwrite=True,
        support_version=1,
    )
    turned = [text(p.transpose(Image.Transpose.FLIP_LEFT_RIGHT).rotate(8)) for p in photos]
    classes = served.run_named("decode_and_serve", images=turned)["classes"]
    assert [row[0].decode() for row in classes] == list(SHOWN)
