"""A models file with one of each kind of table, and its manifests as the script renders them."""

from __future__ import annotations

import functools
import subprocess
import sys
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import pytest
import yaml

from tests.processes import ROOT

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

MODELS = """\
[imageclassifier]
architecture = "InceptionV3"
servable = "ImageClassifier"
upstream = "http://127.0.0.1:9000"

[again]                                  # the same servable under another route
architecture = "InceptionV3"
servable = "ImageClassifier"
top = 3
timeout_seconds = 44.5

[digits]
preprocess = "none"
color_mode = "grayscale"
input_size = [8, 8]
labels = ["zero", "one", "two", "three", "four", "five", "six", "seven", "eight", "nine"]

[elsewhere]
architecture = "MobileNetV2"
resize = "nearest"
upstream = ["https://models.example.net/tf", "http://192.0.2.7:9100"]
"""
RENDER = ROOT / "scripts" / "render_kubernetes.py"


def render(*arguments: str | Path) -> subprocess.CompletedProcess[str]:
    """Run the script."""
    command = [sys.executable, RENDER, *arguments]
    return subprocess.run(command, capture_output=True, text=True, timeout=60, check=False)


@dataclass(frozen=True, slots=True)
class Manifests:
    """A rendered folder."""

    folder: Path
    store: str

    def all(self, part: str = "base") -> Iterator[dict[str, Any]]:
        """Every manifest of `base` or `kserve`, except the kustomization itself."""
        for file in sorted((self.folder / part).glob("*.yaml")):
            if file.name != "kustomization.yaml":
                yield from documents(file)

    def one(self, kind: str, name: str, part: str = "base") -> dict[str, Any]:
        """The manifest of that kind and name."""
        (found,) = (
            item
            for item in self.all(part)
            if (item["kind"], item["metadata"]["name"]) == (kind, name)
        )
        return found


def pod_templates(manifests: Manifests) -> Iterator[dict[str, Any]]:
    """The pods of every Deployment."""
    return (item["spec"]["template"] for item in manifests.all() if item["kind"] == "Deployment")


@functools.cache
def documents(file: Path) -> tuple[dict[str, Any], ...]:
    """What a YAML file holds."""
    return tuple(yaml.load_all(file.read_text(encoding="utf-8"), yaml.CSafeLoader))


@pytest.fixture(scope="session")
def models_toml(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The models file."""
    path = tmp_path_factory.mktemp("models") / "models.toml"
    path.write_text(MODELS, encoding="utf-8")
    return path


@pytest.fixture(scope="session", params=["pvc://models", "gs://bucket/path", "s3://bucket/path"])
def stored(
    request: pytest.FixtureRequest, models_toml: Path, tmp_path_factory: pytest.TempPathFactory
) -> Manifests:
    """The manifests with a model store of each kind."""
    folder = tmp_path_factory.mktemp("manifests")
    result = render("--models", models_toml, "--out", folder, "--model-store", request.param)
    assert result.returncode == 0, result.stderr
    return Manifests(folder, request.param)


@pytest.fixture(scope="session")
def manifests(models_toml: Path, tmp_path_factory: pytest.TempPathFactory) -> Manifests:
    """The manifests with the default store, with API keys, and with prometheus-adapter."""
    folder = tmp_path_factory.mktemp("manifests")
    keys = folder / "keys.json"
    keys.write_text('{"keys": []}\n', encoding="utf-8")
    options = ("--api-keys", keys, "--prometheus-adapter")
    result = render("--models", models_toml, "--out", folder, *options)
    assert result.returncode == 0, result.stderr
    return Manifests(folder, "pvc://model-store")
