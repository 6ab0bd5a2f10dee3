from __future__ import annotations

import json
from dataclasses import replace
from typing import TYPE_CHECKING

import pytest

from model_config import load_deployment
from scripts.keras_models import build_model
from serving.export.keras_export import export_model
from tests.serving.bare_session import BareSession
from tests.zoo import ZOO, needs_zoo

if TYPE_CHECKING:
    from pathlib import Path

pytestmark = [pytest.mark.tensorflow, pytest.mark.zoo, needs_zoo]

# With `nearest` the pixels are the same; with `bilinear` one in a hundred is a level apart (see test_export_image_graph).
TOLERANCE = {"nearest": 1e-4, "bilinear": 5e-3}


@pytest.mark.parametrize("resize", ["bilinear", "nearest"])
@pytest.mark.parametrize("name", ["mobilenet_small", "birds"])
def test_photos_get_the_labels_that_keras_gives(name: str, resize: str, tmp_path: Path) -> None:
    """An export's `image_bytes` answers each photo as Keras and Pillow do: the same best, and its five best score the same."""
    model = load_deployment(ZOO / "models.toml").models[name]
    config = replace(model, resize=resize, base_path=tmp_path / name)
    session = BareSession(export_model(build_model(config), config))
    expected = json.loads((ZOO / "expected.json").read_text())[name]
    for photo, answers in expected.items():
        scores = session.run("image_bytes", [(ZOO / "photos" / photo).read_bytes()])[0]
        names = [label.name for label in config.labels]
        theirs = {label: score for _, label, score in answers[resize]}
        ours = {label: float(scores[names.index(label)]) for label in theirs}
        assert ours == pytest.approx(theirs, abs=TOLERANCE[resize]), photo
        assert float(scores.max()) == max(ours.values()), photo
