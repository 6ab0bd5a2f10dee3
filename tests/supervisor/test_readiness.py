"""How the supervisor learns what the router has, also where the router asks for API keys."""

from __future__ import annotations

import contextlib
import json
import socket
import threading
from typing import TYPE_CHECKING

import pytest

from flask_server.api_keys import new_key, save_keys
from model_config import digest_of
from supervisor.readiness import available_versions, router_configuration
from tests.processes import free_port, running

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

STATUS = json.dumps({"model_version_status": [{"version": "3", "state": "AVAILABLE"}]})


@contextlib.contextmanager
def saying(answer: str) -> Iterator[str]:
    """The URL of somebody who says this to whoever asks, and hangs up."""
    with socket.create_server(("127.0.0.1", 0)) as listener:

        def answer_once() -> None:
            connection, _ = listener.accept()
            with connection:
                connection.recv(65536)
                connection.sendall(answer.encode())

        thread = threading.Thread(target=answer_once)
        thread.start()
        yield f"http://127.0.0.1:{listener.getsockname()[1]}"
        thread.join()


def http(body: str, *, status: str = "200 OK", length: int | None = None) -> str:
    """An HTTP answer; `length` is what its head promises."""
    promised = len(body) if length is None else length
    return f"HTTP/1.1 {status}\r\nContent-Length: {promised}\r\n\r\n{body}"


@pytest.mark.parametrize("status", ["200 OK", "503 Service Unavailable"])
def test_versions_are_read_whatever_the_status(status: str) -> None:
    """The versions that a server has ready are read from its answer."""
    with saying(http(STATUS, status=status)) as url:
        assert available_versions(url, "m") == (3,)


def test_no_proxy_is_asked(monkeypatch: pytest.MonkeyPatch) -> None:
    """An environment that names a proxy for the world outside changes nothing between the programs here."""
    monkeypatch.setenv("http_proxy", "http://127.0.0.1:9")
    with saying(http(STATUS)) as url:
        assert available_versions(url, "m") == (3,)


@pytest.mark.parametrize(
    "answer",
    [
        pytest.param(http(STATUS, length=len(STATUS) + 9), id="killed while it answers"),
        pytest.param(http("{}", status="500 Oh", length=9), id="killed while it fails"),
        pytest.param("SSH-2.0-OpenSSH_9.2\r\n", id="another protocol"),
        pytest.param("", id="nothing"),
        pytest.param(http("<html>"), id="no JSON"),
        pytest.param(http("[]"), id="another server"),
        pytest.param(http('{"model_version_status": null}'), id="no rows"),
        pytest.param(http('{"model_version_status": [7, {"state": "AVAILABLE"}]}'), id="odd rows"),
    ],
)
def test_an_odd_answer_is_none(answer: str) -> None:
    """Whatever a status request is answered with, there is a version or there is none."""
    with saying(answer) as url:
        assert available_versions(url, "m") == ()


@pytest.mark.slow
def test_the_configuration_of_a_router_with_keys(tmp_path: Path) -> None:
    """It is told without a key, even while no model is available; who does not answer has told nothing."""
    save_keys(tmp_path / "keys.json", [new_key("web")[1]])
    (tmp_path / "models.toml").write_text("[a]\ninput_size = [4, 4]\n\n[b]\ninput_size = [4, 4]\n")
    port = free_port()
    url = f"http://127.0.0.1:{port}"
    assert router_configuration(url) is None
    env = {
        "MODELS_FILE": str(tmp_path / "models.toml"),
        "API_KEYS_FILE": str(tmp_path / "keys.json"),
        "STATE_DIR": str(tmp_path / "state"),
        "PORT": str(port),
        "WORKERS": "1",
    }
    with running("-m", "flask_server", log=tmp_path / "log", env=env) as program:
        program.wait_for(f"{url}/livez")
        assert router_configuration(url) == digest_of(tmp_path / "models.toml", None)
