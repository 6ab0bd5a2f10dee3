"""How the supervisor learns what the router has, also where the router asks for API keys."""

from __future__ import annotations

from typing import TYPE_CHECKING

from flask_server.api_keys import new_key, save_keys
from supervisor.readiness import router_models
from tests.processes import free_port, running

if TYPE_CHECKING:
    from pathlib import Path


def test_models_of_a_router_with_keys(tmp_path: Path) -> None:
    """The names are told without a key, even while no model is available; who does not answer has told nothing."""
    save_keys(tmp_path / "keys.json", [new_key("web")[1]])
    (tmp_path / "models.toml").write_text("[a]\ninput_size = [4, 4]\n\n[b]\ninput_size = [4, 4]\n")
    port = free_port()
    url = f"http://127.0.0.1:{port}"
    assert router_models(url) is None
    env = {
        "MODELS_FILE": str(tmp_path / "models.toml"),
        "API_KEYS_FILE": str(tmp_path / "keys.json"),
        "STATE_DIR": str(tmp_path / "state"),
        "PORT": str(port),
        "WORKERS": "1",
    }
    with running("-m", "flask_server", log=tmp_path / "log", env=env) as program:
        program.wait_for(f"{url}/livez")
        assert router_models(url) == {"a", "b"}
