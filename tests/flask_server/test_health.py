from __future__ import annotations

import threading
import time
from typing import TYPE_CHECKING

import orjson
import pytest

from flask_server import create_app
from flask_server.settings import Settings
from tests.flask_server.conftest import encoded
from tests.flask_server.test_access import write_keys
from tests.processes import free_port

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

    from flask.testing import FlaskClient

    from tests.flask_server.toy_model_server import ToyModelServer

RED = encoded((255, 51, 0))


@pytest.fixture
def mixed(
    models_file: Callable[..., Path], toy: ToyModelServer, tmp_path: Path
) -> Iterator[FlaskClient]:
    """A router with models in every condition."""
    placement = tmp_path / "placement.json"
    placement.write_bytes(
        orjson.dumps(
            {
                "weightless": {"problem": "Its weights are missing; put them into weights/."},
                "placed": {"upstream": [toy.url + "/"]},
                "unknown": {"upstream": ["http://127.0.0.1:1"]},
            }
        )
    )
    path = models_file(
        good={"upstream": [toy.url]},
        down={"upstream": [f"http://127.0.0.1:{free_port()}"]},
        weightless={},
        nowhere={},
        placed={},
    )
    app = create_app(Settings(models_file=path, placement_file=placement))
    yield app.test_client()
    app.extensions["router"].close()


def states(client: FlaskClient) -> dict[str, str]:
    """The state of each model."""
    answer = client.get("/readyz").get_json(force=True)
    return {name: model["state"] for name, model in answer["models"].items()}


def test_readiness_tells_every_model(mixed: FlaskClient) -> None:
    """The router is ready with one model available; each model's state is told."""
    assert mixed.get("/readyz").status_code == 200
    assert states(mixed) == {
        "good": "AVAILABLE",
        "down": "UNREACHABLE",
        "weightless": "UNAVAILABLE",
        "nowhere": "UNAVAILABLE",
        "placed": "AVAILABLE",
    }


def test_the_router_is_not_ready_while_a_version_is_being_made(
    models_file: Callable[..., Path], toy: ToyModelServer, tmp_path: Path
) -> None:
    """The start is not over then, though other models answer; each of those is ready by itself."""
    placement = tmp_path / "placement.json"
    slow = {"problem": "Its version is being made.", "being_made": True}
    placement.write_bytes(orjson.dumps({"slow": slow}))
    path = models_file(good={"upstream": [toy.url]}, slow={})
    app = create_app(Settings(models_file=path, placement_file=placement))
    client = app.test_client()
    answer = client.get("/readyz")
    assert answer.status_code == 503
    assert "'slow' is being made" in answer.get_json(force=True)["detail"]
    assert states(client) == {"good": "AVAILABLE", "slow": "PREPARING"}
    assert client.get("/readyz?model=good").status_code == 200
    assert client.get("/readyz?model=slow").status_code == 503
    app.extensions["router"].close()


@pytest.mark.parametrize(
    ("model", "status"),
    [("good", 200), ("placed", 200), ("down", 503), ("weightless", 503), ("no-such", 404)],
)
def test_readiness_of_one_model(mixed: FlaskClient, model: str, status: int) -> None:
    """`?model=` asks for one model alone."""
    response = mixed.get(f"/readyz?model={model}")
    assert response.status_code == status
    if status != 200:
        assert response.content_type == "application/problem+json"
        problem = response.get_json(force=True)
        assert problem["request_id"] == response.headers["X-Request-Id"]
        title = "Unknown model" if status == 404 else "Not ready"
        assert f'problem="{title}"' in mixed.get("/metrics").text


def test_what_the_supervisor_says_is_told(mixed: FlaskClient) -> None:
    """A model that could not be placed answers 503 with the supervisor's sentence."""
    response = mixed.post("/weightless/predict/", data=RED)
    assert response.status_code == 503
    problem = response.get_json(force=True)
    assert problem["detail"] == "Its weights are missing; put them into weights/."
    assert mixed.get("/readyz?model=weightless").get_json(force=True)["detail"] == problem["detail"]
    listed = {model["name"]: model for model in mixed.get("/models/").json or []}
    assert listed["weightless"]["problem"] == problem["detail"]
    assert "'upstream'" in listed["nowhere"]["problem"]


def test_what_needs_no_key_tells_no_internals(
    client_of: Callable[..., FlaskClient], tmp_path: Path
) -> None:
    """Where API keys are in use, what is wrong with a model is only told to whoever has one."""
    keys = write_keys(tmp_path / "keys.json", web={})
    client = client_of(upstream=[], api_keys_file=tmp_path / "keys.json")
    for query in ("", "?model=colours"):
        assert "upstream" not in client.get(f"/readyz{query}").text
    [listed] = client.get("/models/", headers={"X-API-Key": keys["web"]}).json or []
    assert "'upstream'" in listed["problem"]


def test_placed_models_predict(mixed: FlaskClient) -> None:
    """A model predicts where the placement file says it is served."""
    assert mixed.post("/placed/predict/", data=RED).status_code == 200


def test_nothing_available(client: FlaskClient, toy: ToyModelServer) -> None:
    """Without any model available the router is not ready, but alive; later it is again."""
    toy.model.versions = []
    response = client.get("/readyz")
    assert response.status_code == 503
    assert response.content_type == "application/problem+json"
    assert client.get("/livez").status_code == 200
    toy.model.versions = [2]
    time.sleep(1.05)
    assert client.get("/readyz").status_code == 200


def test_draining(client: FlaskClient) -> None:
    """A router that is stopping is not ready."""
    assert client.get("/readyz").status_code == 200
    client.application.extensions["router"].health.draining.set()
    assert client.get("/readyz").status_code == 503


def test_model_servers_are_not_asked_too_often(client: FlaskClient, toy: ToyModelServer) -> None:
    """However often readiness is asked for, a model server is asked once a second at most."""
    client.get("/readyz")
    before = len(toy.connections)
    threads = [
        threading.Thread(target=lambda: client.application.test_client().get("/readyz"))
        for _ in range(8)
    ]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(toy.connections) - before <= 1
