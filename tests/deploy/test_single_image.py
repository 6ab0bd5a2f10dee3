from __future__ import annotations

import base64
import json
import shlex
import shutil
import urllib.request
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest
import yaml

from tests.deploy.container import (
    DOCKERFILES,
    Container,
    built,
    compiled_when_run,
    needs_namespaces,
)
from tests.processes import ROOT, free_port

if TYPE_CHECKING:
    from collections.abc import Iterator

    from tests.processes import Program

# Installing TensorFlow takes minutes where the machine is busy.
slow = pytest.mark.timeout(900)
pytestmark = [pytest.mark.tensorflow, pytest.mark.deployment, needs_namespaces(), slow]

HEROKU_MEMORY_MB = 512
TABLE = """
[digits]
color_mode = "grayscale"
input_size = [8, 8]
labels     = ["zero", "one", "two", "three", "four", "five", "six", "seven", "eight", "nine"]
base_path  = "/app/saved_models/digits"
upstream   = "http://127.0.0.1:{}"
"""
PROCFILE = (ROOT / "Procfile").read_text().partition("web: ")[2]
HEROKU_YML = yaml.safe_load((ROOT / "heroku.yml").read_text())


@pytest.fixture(scope="module")
def image() -> Iterator[Container]:
    """The image of everything, built as its Dockerfile says: packages, and digits trained."""
    with built("single.Dockerfile") as container:
        yield container


def predict(port: int) -> list[Any]:
    """The labels of a seven."""
    photo = base64.b64encode((ROOT / "test_images" / "digit_7.png").read_bytes()).decode()
    request = urllib.request.Request(
        f"http://127.0.0.1:{port}/digits/predict/",
        json.dumps({"b64": photo}).encode(),
        {"Content-Type": "application/json"},
    )
    with urllib.request.urlopen(request, timeout=30) as response:
        return list(json.load(response))


def memory_megabytes(program: Program) -> float:
    """What all processes of the container hold and the kernel cannot drop: not the pages of files, such as libraries."""
    group = program.process.pid
    pids = {group}
    for status in Path("/proc").glob("[0-9]*/stat"):
        try:
            parent = int(status.read_text().rpartition(")")[2].split()[1])
            if parent in pids:
                pids.add(int(status.parent.name))
        except OSError:
            continue
    rollups = (Path(f"/proc/{pid}/smaps_rollup").read_text() for pid in pids)
    return sum(int(text.split("Pss_Anon:")[1].split()[0]) for text in rollups) / 1024


@pytest.mark.parametrize(
    "line", [PROCFILE, HEROKU_YML["run"]["web"], None], ids=["Procfile", "heroku.yml", "CMD"]
)
def test_a_dyno_answers_on_port_within_its_memory(
    image: Container, line: str | None, tmp_path: Path
) -> None:
    """Started by each of the lines that platforms use, it labels a digit on $PORT, in 512 MB, and stops at SIGTERM."""
    port = free_port()
    # The supervisor would take port 9000, which is not this test's alone.
    (image.root / "models/models.toml").write_text(TABLE.format(free_port()))
    folders = {"STATE_DIR": "/tmp/state", "LOGS_DIR": "/tmp/logs"}
    env = {"PORT": str(port), "MODELS_FILE": "/models/models.toml", "WORKERS": "1", **folders}
    command = shlex.split(line) if line else image.arguments
    with image.running(*command, log=tmp_path / "log", env=env) as dyno:
        dyno.wait_for(f"http://127.0.0.1:{port}/readyz?model=digits", seconds=60)
        assert predict(port)[0][1] == "seven"
        image.run(image.health, env)
        used = memory_megabytes(dyno)
        print(f"{used:.0f} MB")
        assert used < HEROKU_MEMORY_MB
        assert dyno.stop(seconds=60) == 143


def test_it_starts_without_compiling(image: Container, tmp_path: Path) -> None:
    """All modules that are imported until it has labelled a digit were compiled when the image was built."""
    port = free_port()
    (image.root / "models/models.toml").write_text(TABLE.format(free_port()))
    env = {"PORT": str(port), "MODELS_FILE": "/models/models.toml", "PYTHONVERBOSE": "1"}
    with image.running(log=tmp_path / "log", env=env) as dyno:
        dyno.wait_for(f"http://127.0.0.1:{port}/readyz?model=digits", seconds=60)
        assert predict(port)[0][1] == "seven"
    assert "# code object from '/opt/venv" in (tmp_path / "log").read_text()
    assert not compiled_when_run(tmp_path / "log")


def test_heroku_builds_this_image() -> None:
    """heroku.yml names the Dockerfile that is tested here."""
    assert HEROKU_YML["build"]["docker"]["web"] == "deploy/docker/single.Dockerfile"


def test_our_model_server_image_serves_the_same_version(image: Container, tmp_path: Path) -> None:
    """The model server's own image takes TensorFlow Serving's flags, serves on $PORT, and stops at SIGTERM.

    Its packages are a part of the other image's (test_locks.py), so that they need not be installed twice.
    """
    server = Container(DOCKERFILES / "model-server.Dockerfile", image.root).build(install=False)
    versions = image.root / "app/saved_models/digits"
    shutil.copytree(versions, server.root / "models/digits", dirs_exist_ok=True)
    port = free_port()
    flags = ["--model_name=digits", "--model_base_path=/models/digits", "--port=0"]
    env = {"PORT": str(port)}
    with server.running(*flags, log=tmp_path / "log", env=env) as program:
        program.wait_for(f"http://127.0.0.1:{port}/v1/models/digits/metadata", seconds=60)
        server.run(server.health, env)
        assert program.stop(seconds=40) == 0


def test_tensorflow_serving_alone_is_started_on_port(image: Container, tmp_path: Path) -> None:
    """The tutorial's variant runs `tensorflow_model_server` with $PORT and its one model; ours takes its place here."""
    alone = Container(DOCKERFILES / "serving-alone.Dockerfile", image.root)
    binary = image.root / "opt/venv/bin/tensorflow_model_server"
    binary.write_text('#!/bin/sh\ncd /app && exec python -m serving "$@"\n')
    binary.chmod(0o755)
    versions = image.root / "app/saved_models/digits"
    shutil.copytree(versions, alone.root / "models/digits", dirs_exist_ok=True)
    port = free_port()
    env = {**image.env, "PORT": str(port), "SERVABLE": "digits"}
    with alone.running("sh", "-c", alone.shell_command, log=tmp_path / "log", env=env) as server:
        server.wait_for(f"http://127.0.0.1:{port}/v1/models/digits/metadata", seconds=60)
        assert server.stop(seconds=40) == 0
