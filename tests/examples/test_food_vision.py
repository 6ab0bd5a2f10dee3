from __future__ import annotations

import json
import re
import socket
import subprocess
import sys
import threading
from http.server import BaseHTTPRequestHandler, HTTPServer
from typing import TYPE_CHECKING

import pytest
import requests
from PIL import Image

from tests.processes import ROOT, free_port, running
from tests.scripts.running import assert_one_sentence, run_script

if TYPE_CHECKING:
    from pathlib import Path

pytestmark = pytest.mark.slow

FOOD_VISION = ROOT / "examples" / "food_vision" / "food_vision.py"


def start(port: int) -> subprocess.CompletedProcess[str]:
    """Run the program where it cannot begin."""
    command = [sys.executable, FOOD_VISION, "--port", str(port)]
    return subprocess.run(command, capture_output=True, text=True, timeout=60, check=False)


def test_a_port_that_is_taken_is_one_sentence() -> None:
    """No address is printed that somebody else answers at."""
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        process = start(port)
    assert_one_sentence(process, f"127.0.0.1:{port}", "Address already in use;", "--port")
    assert process.stdout == ""


def test_a_port_that_is_none_is_one_sentence() -> None:
    """There are 65535."""
    assert_one_sentence(start(70000), "port must be 0-65535;")


def test_it_answers_at_its_port(tmp_path: Path) -> None:
    """The server inherits the port that was taken for it."""
    port = free_port()
    with running(FOOD_VISION, "--port", str(port), log=tmp_path / "log") as program:
        program.wait_for(f"http://127.0.0.1:{port}/")


class Router(BaseHTTPRequestHandler):
    """Names the food after the API key that it was asked with."""

    def do_POST(self) -> None:
        """The route `/food/predict/`."""
        self.send_response(200)
        self.end_headers()
        self.wfile.write(json.dumps([["0", self.headers["X-API-Key"], 0.5]]).encode())

    def log_message(self, *_: object) -> None:
        """Keep the test's output clean."""


def test_the_router_is_asked_straight_with_the_clients_key(tmp_path: Path) -> None:
    """Neither does http_proxy stand between the two, nor does a router that wants keys refuse all of them."""
    port = free_port()
    with HTTPServer(("127.0.0.1", 0), Router) as router:
        threading.Thread(target=router.handle_request, daemon=True).start()
        arguments = ("--port", str(port), "--router", f"http://127.0.0.1:{router.server_port}")
        env = {"http_proxy": "http://127.0.0.1:9", "no_proxy": ""}
        with running(FOOD_VISION, *arguments, log=tmp_path / "log", env=env) as program:
            program.wait_for(f"http://127.0.0.1:{port}/")
            answer = requests.post(
                f"http://127.0.0.1:{port}/net/image/prediction/?image_link=http://any/a.png",
                headers={"X-API-Key": "kfd_mine"},
                timeout=10,
            )
    assert answer.json()["model-prediction"] == "kfd_mine"


@pytest.mark.tensorflow
def test_the_pages_training_takes_the_examples_table(tmp_path: Path) -> None:
    """Folders named as Food-101's fit the example's labels and preprocessing; only weights are still asked for."""
    page = (ROOT / "docs" / "image-by-url.md").read_text()
    found = re.search(r"train_classifier\.py food-101/images (.*)", page)
    assert found is not None
    labels = json.loads((ROOT / "examples" / "food_vision" / "food_101.json").read_text())
    for name in labels:
        (tmp_path / "food-101" / "images" / name).mkdir(parents=True)
        for number in (1, 2):
            file = tmp_path / "food-101" / "images" / name / f"{number}.png"
            Image.new("RGB", (8, 8)).save(file)
    arguments = found[1].replace("examples/", f"{ROOT}/examples/").split()
    folders = {name: str(tmp_path / name) for name in ("SAVED_MODELS_DIR", "STATE_DIR")}
    weights = {"WEIGHTS_DIR": str(tmp_path), "KERAS_HOME": str(tmp_path)}
    env = {**folders, **weights, "https_proxy": "http://127.0.0.1:9"}
    process = run_script("train_classifier", "food-101/images", *arguments, cwd=tmp_path, env=env)
    assert "food: 202 photos of 101 classes" in process.stdout, process.stderr
    assert "MobileNetV2.weights.h5" in process.stderr.strip().splitlines()[-1]
