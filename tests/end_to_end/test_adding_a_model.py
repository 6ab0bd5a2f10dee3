from __future__ import annotations

import re
from contextlib import ExitStack
from typing import TYPE_CHECKING

import pytest
import requests

from tests.processes import ROOT, free_port, running
from tests.scripts.running import run_script

if TYPE_CHECKING:
    from pathlib import Path

pytestmark = pytest.mark.tensorflow

BUILD = """
import keras
layers = [keras.Input((512, 512, 1)), keras.layers.AveragePooling2D(128), keras.layers.Flatten()]
model = keras.Sequential([*layers, keras.layers.Dense(3, activation="softmax")])
model.export("saved_models/retina/1", verbose=False)
"""


def page_block(language: str, containing: str) -> str:
    """The block of the page that holds some words."""
    text = (ROOT / "docs" / "adding-a-model.md").read_text()
    blocks = re.findall(rf"^```{language}\n(.*?)^```", text, flags=re.MULTILINE | re.DOTALL)
    return next(block for block in blocks if containing in block)


def test_functions_of_ones_own_serve_a_model_that_somebody_else_exported(tmp_path: Path) -> None:
    """The page's two functions and its table work with a SavedModel of Keras' own export."""
    port, router = free_port(), f"http://127.0.0.1:{free_port()}"
    table = page_block("toml", "[retina]") + f'upstream = "http://127.0.0.1:{port}"\n'
    (tmp_path / "models.toml").write_text(table)
    (tmp_path / "retina.py").write_text(page_block("python", "def preprocess"))
    env = {"MODELS_FILE": str(tmp_path / "models.toml"), "PORT": router.rsplit(":", 1)[1]}
    with running("-c", BUILD, log=tmp_path / "build.log", cwd=tmp_path) as build:
        assert build.process.wait(timeout=180) == 0, build.output()
    serve = ("-m", "serving", "--port=0", f"--rest_api_port={port}", "--model_name=retina")
    with ExitStack() as stack:
        base_path = f"--model_base_path={tmp_path / 'saved_models' / 'retina'}"
        server = stack.enter_context(running(*serve, base_path, log=tmp_path / "serving.log"))
        front = stack.enter_context(
            running("-m", "flask_server", log=tmp_path / "router.log", env=env)
        )
        server.wait_for(f"http://127.0.0.1:{port}/v1/models/retina", seconds=120)
        front.wait_for(f"{router}/readyz")
        photo = (ROOT / "test_images" / "wall_clock.jpg").read_bytes()
        answer = requests.post(f"{router}/retina/predict/", data=photo, timeout=60).json()
        shown = run_script("inspect_model", f"http://127.0.0.1:{port}/v1/models/retina", cwd=tmp_path)  # fmt: skip
    assert answer.keys() == {"grade", "certainty"}
    assert answer["grade"] in (0, 1, 2)
    assert 0 < answer["certainty"] <= 1
    assert "float32 [?, 512, 512, 1]" in shown.stdout
