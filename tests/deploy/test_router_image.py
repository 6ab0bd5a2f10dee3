from __future__ import annotations

import json
import signal
import urllib.request
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from tests.deploy.container import Container, built, compiled_when_run, needs_namespaces
from tests.processes import answers, free_port, wait_until

if TYPE_CHECKING:
    from collections.abc import Iterator

pytestmark = [pytest.mark.deployment, needs_namespaces()]


@pytest.fixture(scope="module")
def image() -> Iterator[Container]:
    """The router's image, built as its Dockerfile says."""
    with built("router.Dockerfile") as container:
        yield container


def test_it_is_small_and_without_tensorflow(image: Container) -> None:
    """What we put on top of the base image is under 200 MB, and neither TensorFlow nor Keras nor pip is in it."""
    assert 20 < image.megabytes < 200
    packages = image.root / "opt/venv/lib/python3.11/site-packages"
    names = {path.name.lower() for path in packages.iterdir()}
    assert "flask" in names
    assert not names & {"tensorflow", "keras", "pip", "h5py"}


def test_it_serves_on_port_without_root_and_without_writing(
    image: Container, tmp_path: Path
) -> None:
    """As nobody, on a read-only root, it answers on $PORT, its health check passes, and SIGTERM ends it in order."""
    port = free_port()
    env = {"PORT": str(port), "HOST": "127.0.0.1"}
    with image.running(log=tmp_path / "log", env=env) as router:
        router.wait_for(f"http://127.0.0.1:{port}/livez")
        uid = Path(f"/proc/{router.process.pid}/status").read_text().split("Uid:")[1].split()[0]
        assert uid == "65534"
        with pytest.raises(AssertionError, match="Read-only file system"):
            image.run(["touch", "/app/file"])
        image.run(image.health, env)
        with urllib.request.urlopen(f"http://127.0.0.1:{port}/models/", timeout=5) as response:
            names = {model["name"] for model in json.load(response)}
        assert names == {"imageclassifier", "mobilenet_v2", "digits"}
        for page in ("/", "/docs/", "/openapi.json", "/samples/digit_7.png"):
            assert answers(f"http://127.0.0.1:{port}{page}"), page
        assert router.stop(seconds=40) in (0, -signal.SIGTERM)


def test_it_starts_without_compiling(image: Container, tmp_path: Path) -> None:
    """All modules that are imported until it is ready to answer were compiled when the image was built."""
    port = free_port()
    env = {"PORT": str(port), "HOST": "127.0.0.1", "PYTHONVERBOSE": "1"}
    with image.running(log=tmp_path / "log", env=env) as router:
        router.wait_for(f"http://127.0.0.1:{port}/openapi.json")
        router.wait_for(f"http://127.0.0.1:{port}/metrics")
    assert "# code object from '/opt/venv" in (tmp_path / "log").read_text()
    assert not compiled_when_run(tmp_path / "log")


def test_the_health_check_fails_when_nobody_listens(image: Container) -> None:
    """A container whose program does not answer is unhealthy."""
    with pytest.raises(AssertionError, match="refused"):
        image.run(image.health, {"PORT": str(free_port())})


def test_its_models_file_can_be_replaced(image: Container, tmp_path: Path) -> None:
    """A models file mounted over the default one, and a placement file, decide what it serves."""
    port = free_port()
    (image.root / "models" / "models.toml").write_text("[mine]\ninput_size = [4, 4]\n")
    placement = {"mine": {"upstream": [f"http://127.0.0.1:{free_port()}"]}}
    (image.root / "models" / "placement.json").write_text(json.dumps(placement))
    env = {
        "PORT": str(port),
        "HOST": "127.0.0.1",
        "MODELS_FILE": "/models/models.toml",
        "PLACEMENT_FILE": "/models/placement.json",
    }
    with image.running(log=tmp_path / "log", env=env):
        url = f"http://127.0.0.1:{port}/readyz?model=mine"
        wait_until(lambda: answers(url, 503), seconds=30, what="the mounted model is known")
