from __future__ import annotations

import re
import shutil
from contextlib import ExitStack
from typing import TYPE_CHECKING

import pytest

from tests.end_to_end.pages import Checkout, commands
from tests.scripts.photo_folders_made import CLASSES, make_folders, make_photo
from tests.zoo import ZOO, needs_zoo

if TYPE_CHECKING:
    from pathlib import Path

pytestmark = [pytest.mark.tensorflow, pytest.mark.zoo, needs_zoo]


def test_the_page_makes_a_model_of_photos_while_the_router_runs(tmp_path: Path) -> None:
    """The page's commands, on generated photos and the zoo's MobileNetV2 for a backbone, end in a route that is right."""
    checkout = Checkout(tmp_path)
    weights = tmp_path / "weights"
    weights.mkdir()
    shutil.copy(ZOO / "weights" / "mobilenet_v2.weights.h5", weights)
    models = (tmp_path / "models.toml").read_text()
    mobilenet = models[models.index("[mobilenet_v2]") : models.index("[digits]")]
    (tmp_path / "models.toml").write_text(mobilenet)
    make_folders(tmp_path / "my_photos", per_class=6)
    make_photo("stripes", 99).save(tmp_path / "new.png")
    asked = ""
    with ExitStack() as stack:
        for command in commands("from-your-own-photos.md"):
            if command == "make run":
                stack.enter_context(checkout.started(model="mobilenet_v2"))
            elif "flask_sample_request" in command:
                checkout.wait_for("foodvision")
                checkout.run(command)
                asked = checkout.run(re.sub(r"-i \S+", "-i new.png", command))
            else:
                assert "held-out accuracy: 100.0% of 3 photos" in checkout.run(command)
    assert asked.splitlines()[0].split()[1] == "stripes"
    assert len(asked.splitlines()) == len(CLASSES)
