"""A toy model server, a models file that points at it, and a router in front."""

from __future__ import annotations

import io
from typing import TYPE_CHECKING, Any

import pytest
import redis
from PIL import Image

from flask_server import create_app
from flask_server.redis_server import RedisServer
from flask_server.settings import Settings
from tests.debian import program
from tests.flask_server.toy_model_server import ToyModelServer
from tests.processes import free_port, running_command, wait_until

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

    from flask import Flask
    from flask.testing import FlaskClient

TABLE = """
[{name}]
input_size = [4, 6]
labels = ["red", "green", "blue"]
upstream = {upstream}
{more}
"""


def encoded(color: tuple[int, int, int] = (250, 40, 10), kind: str = "PNG", **how: Any) -> bytes:
    """The file of a small image of one colour."""
    file = io.BytesIO()
    Image.new("RGB", (12, 8), color).save(file, kind, **how)
    return file.getvalue()


@pytest.fixture
def toy() -> Iterator[ToyModelServer]:
    """A running model server whose model tells the colour of an image."""
    with ToyModelServer() as server:
        yield server


@pytest.fixture(scope="module")
def module_toy() -> Iterator[ToyModelServer]:
    """The same, shared by the tests of a module."""
    with ToyModelServer() as server:
        yield server


@pytest.fixture
def models_file(tmp_path: Path) -> Callable[..., Path]:
    """Write a models file of toy tables: `models_file(colours=dict(upstream=[...], more="top = 1"))`."""

    def write(**tables: Any) -> Path:
        texts = [
            TABLE.format(name=name, upstream=table.get("upstream", []), more=table.get("more", ""))
            for name, table in tables.items()
        ]
        path = tmp_path / "models.toml"
        path.write_text("\n".join(texts))
        return path

    return write


@pytest.fixture
def client_of(
    models_file: Callable[..., Path], toy: ToyModelServer
) -> Iterator[Callable[..., FlaskClient]]:
    """Make a client of a router with the model `colours`: keys of its table as `more`, settings by name."""

    def make(more: str = "", upstream: list[str] | None = None, **settings: Any) -> FlaskClient:
        urls = [toy.url] if upstream is None else upstream
        path = models_file(colours={"upstream": urls, "more": more})
        apps.append(create_app(Settings(models_file=path, **settings)))
        return apps[-1].test_client()

    apps: list[Flask] = []
    yield make
    for app in apps:
        app.extensions["router"].close()


@pytest.fixture
def client(client_of: Callable[..., FlaskClient]) -> FlaskClient:
    """A client of a router with the model `colours`."""
    return client_of()


@pytest.fixture(scope="session")
def redis_url(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """The address of a real Redis server."""
    redis_server = program("redis-server", "redis-server")
    port, folder = free_port(), tmp_path_factory.mktemp("redis")
    arguments = ["--port", str(port), "--bind", "127.0.0.1", "--dir", str(folder), "--save", ""]
    with running_command(redis_server, *arguments, log=folder / "log"):
        url = f"redis://127.0.0.1:{port}/0"
        client = RedisServer(url).client
        wait_until(lambda: _answers(client), seconds=20, what="Redis answers")
        yield url


def _answers(client: redis.Redis) -> bool:
    try:
        return bool(client.ping())
    except redis.RedisError:
        return False
