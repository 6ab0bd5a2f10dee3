"""A router with the real digits model behind it, for a browser to call."""

from __future__ import annotations

import shutil
import subprocess
import sys
from contextlib import contextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING

import pytest

from tests.browser import chromium, faultless
from tests.end_to_end.pages import Checkout
from tests.flask_server.toy_model_server import ToyModelServer
from tests.processes import ROOT, free_port, running

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from playwright.sync_api import Browser, Page

MODELS = """
[colours]
input_size = [4, 6]
labels     = ["red", "green", "blue"]
upstream   = ["{toy}"]

[digits]
preprocess = "none"
color_mode = "grayscale"
input_size = [8, 8]
labels     = ["zero", "one", "two", "three", "four", "five", "six", "seven", "eight", "nine"]
base_path  = "digits"
upstream   = ["http://127.0.0.1:{port}"]
"""


@dataclass(frozen=True)
class Deployment:
    """A running router, the toy behind its model `colours`, the port of the origin that it allows."""

    url: str
    toy: ToyModelServer
    allowed_port: int
    folder: Path


@pytest.fixture(scope="session")
def trained_digits(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A base path with version 1 of the digits."""
    folder = tmp_path_factory.mktemp("trained")
    Checkout(folder).run(".venv/bin/python scripts/train_digits.py --epochs 6")
    return folder / "saved_models" / "digits"


@pytest.fixture(scope="session")
def deployment(
    trained_digits: Path, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Deployment]:
    """The router in front of `digits`, trained and served for real, and of `colours`, a toy."""
    folder = tmp_path_factory.mktemp("deployment")
    with ToyModelServer() as toy:
        port, models = free_port(), folder / "models.toml"
        models.write_text(MODELS.format(toy=toy.url, port=port))
        shutil.copytree(trained_digits, folder / "digits")
        with _model_server(folder, port), _router(folder, toy) as deployed:
            yield deployed


@contextmanager
def _model_server(folder: Path, port: int) -> Iterator[None]:
    flags = ("--port=0", f"--rest_api_port={port}", "--model_name=digits")
    base = f"--model_base_path={folder / 'digits'}"
    with running("-m", "serving", *flags, base, log=folder / "serving.log") as server:
        server.wait_for(f"http://127.0.0.1:{port}/v1/models/digits", seconds=120)
        yield


@contextmanager
def _router(folder: Path, toy: ToyModelServer, **more: str) -> Iterator[Deployment]:
    port, allowed = free_port(), free_port()
    env = {
        **more,
        "MODELS_FILE": str(folder / "models.toml"),
        "PORT": str(port),
        "WORKERS": "1",
        "STATE_DIR": str(folder / f"state_{port}"),
        "CORS_ORIGINS": f"http://127.0.0.1:{allowed}",
    }
    url = f"http://127.0.0.1:{port}"
    with running("-m", "flask_server", log=folder / "router.log", env=env) as router:
        router.wait_for(f"{url}/readyz?model=digits")
        yield Deployment(url, toy, allowed, folder)


@dataclass(frozen=True)
class Guarded:
    """A router that asks for an API key, and one that it takes."""

    url: str
    key: str


@pytest.fixture
def guarded(deployment: Deployment) -> Iterator[Guarded]:
    """Another router in front of the same models, which asks for a key."""
    keys = deployment.folder / "keys.json"
    program = [sys.executable, "scripts/api_keys.py", "create", "page", "--file", str(keys)]
    made = subprocess.run(program, cwd=ROOT, check=True, timeout=60, capture_output=True, text=True)
    with _router(deployment.folder, deployment.toy, API_KEYS_FILE=str(keys)) as router:
        yield Guarded(router.url, made.stdout.split()[-1])


@pytest.fixture(scope="module")
def browser() -> Iterator[Browser]:
    """One Chromium for the tests of a module."""
    with chromium() as started:
        yield started


@pytest.fixture
def page(browser: Browser) -> Iterator[Page]:
    """A tab with a profile of its own, in which nothing may go wrong."""
    with faultless(browser.new_page()) as tab:
        yield tab
        tab.context.close()
