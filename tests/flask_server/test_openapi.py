from __future__ import annotations

import base64
import os
import subprocess
import sys
from typing import TYPE_CHECKING, Any

import pytest
from openapi_spec_validator import OpenAPIV31SpecValidator, validate

from flask_server import create_app
from flask_server.errors import RouterError
from flask_server.openapi_schemas import EXAMPLE_B64
from flask_server.settings import Settings
from tests.processes import ROOT, free_port, running

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

    from flask.testing import FlaskClient

    from tests.flask_server.toy_model_server import ToyModelServer

PREDICT = "/colours/predict/"


@pytest.fixture
def document(client: FlaskClient) -> dict[str, Any]:
    """The document of a router with the model `colours`."""
    answer: dict[str, Any] = client.get("/openapi.json").get_json()
    return answer


def test_document_is_valid(document: dict[str, Any]) -> None:
    """The document is OpenAPI 3.1, by a validator of the specification."""
    assert document["openapi"] == "3.1.0"
    validate(document, cls=OpenAPIV31SpecValidator)


def test_every_route_is_described(client: FlaskClient, document: dict[str, Any]) -> None:
    """Each route that answers JSON has an operation with a summary, and no operation is without a route."""
    pages = {"/", "/docs", "/metrics", "/openapi.json"}
    routes = {
        rule.rule
        for rule in client.application.url_map.iter_rules()
        if rule.rule not in pages and not rule.rule.startswith(("/static", "/samples", "/docs/"))
    }
    assert set(document["paths"]) == routes
    for operations in document["paths"].values():
        for operation in operations.values():
            assert operation["summary"].endswith(".")


def test_operation_ids_are_unique(models_file: Callable[..., Path]) -> None:
    """Code generators name their functions by the operation's id, so none occurs twice."""
    path = models_file(**{name: {} for name in ("a-b", "a_b")})
    document = create_app(Settings(models_file=path)).test_client().get("/openapi.json").json
    assert document
    ids = [one["operationId"] for path in document["paths"].values() for one in path.values()]
    assert len(ids) == len(set(ids))


def test_every_failure_is_documented(document: dict[str, Any]) -> None:
    """A predict route documents each status of the error tree, as problem details."""
    responses = document["paths"][PREDICT]["post"]["responses"]
    for kind in (RouterError, *RouterError.__subclasses__()):
        if kind.status != 499:  # the client is gone: nobody reads it
            assert list(responses[str(kind.status)]["content"]) == ["application/problem+json"]


def test_example_answer_has_labels_of_the_model(document: dict[str, Any]) -> None:
    """The example of an answer is made of the model's own labels, best first."""
    answer = document["paths"][PREDICT]["post"]["responses"]["200"]["content"]["application/json"]
    assert [name for _, name, _ in answer["example"]] == ["red", "green", "blue"]
    scores = [score for *_, score in answer["example"]]
    assert scores == sorted(scores, reverse=True)


def test_example_requests_can_be_sent(client: FlaskClient, document: dict[str, Any]) -> None:
    """What the document shows as a request is answered with labels as it stands."""
    bodies = document["paths"][PREDICT]["post"]["requestBody"]["content"]
    for example in bodies["application/json"]["examples"].values():
        assert client.post(PREDICT, json=example["value"]).status_code == 200
    form = bodies["application/x-www-form-urlencoded"]["example"]
    assert client.post(PREDICT, data=form).status_code == 200


def test_own_decode_function_promises_nothing(
    client_of: Callable[..., FlaskClient], tmp_path: Path
) -> None:
    """What a deployment's own decode function answers is not described as labels."""
    (tmp_path / "my_decoding.py").write_text("def decode(scores, top): return {}\n")
    client = client_of('decode = "my_decoding:decode"')
    content = client.get("/openapi.json").get_json()["paths"][PREDICT]["post"]["responses"]["200"]
    assert "Labels" not in str(content)


def test_teaching_is_described(client_of: Callable[..., FlaskClient], tmp_path: Path) -> None:
    """A few-shot model has operations to teach, list and forget labels, whose example can be sent."""
    client = client_of("support_set = true", state_dir=tmp_path)
    paths = client.get("/openapi.json").get_json()["paths"]
    assert set(paths["/colours/support/"]) == {"get", "post", "delete"}
    body = paths["/colours/support/"]["post"]["requestBody"]["content"]["application/json"]
    answer = client.post("/colours/support/", json=body["examples"]["several"]["value"])
    assert answer.get_json()["labels"] == {"seven": 2}


def test_a_prefix_of_a_proxy_is_named(client: FlaskClient) -> None:
    """Behind a proxy that gives it a prefix, the document sends clients there."""
    answer = client.get("/openapi.json", environ_overrides={"SCRIPT_NAME": "/models-api"})
    assert answer.get_json()["servers"] == [{"url": "/models-api"}]


def test_docs_are_served_locally(client: FlaskClient) -> None:
    """Swagger UI comes from the router itself under a policy that allows no other host and no inline script."""
    page = client.get("/docs")
    assert "http" not in page.text
    assert "script-src 'self';" in page.headers["Content-Security-Policy"]
    for asset in ("swagger-ui.css", "swagger-ui-bundle.js"):
        assert f"/docs/{asset}" in page.text
        assert client.get(f"/docs/{asset}", buffered=True).status_code == 200


@pytest.mark.parametrize(
    "path", ["/docs/nothing.js", "/docs/../app.py", "/docs/%2e%2e/__init__.py"]
)
def test_docs_serve_nothing_else(client: FlaskClient, path: str) -> None:
    """What is not a file of Swagger UI is a 404 in the router's shape."""
    answer = client.get(path, buffered=True)
    assert (answer.status_code, answer.mimetype) == (404, "application/problem+json")


@pytest.fixture
def router_url(
    toy: ToyModelServer, models_file: Callable[..., Path], tmp_path: Path
) -> Iterator[str]:
    """A router process in front of models with each key that changes what their routes take."""
    upstream = [toy.url]
    path = models_file(
        colours={"upstream": upstream},
        best={"upstream": upstream, "more": 'top = 1\nsticky_header = "X-User"'},
        taught={"upstream": upstream, "more": "support_set = true"},
    )
    url = f"http://127.0.0.1:{(port := free_port())}"
    env = {"MODELS_FILE": str(path), "PORT": str(port), "WORKERS": "1"}
    env |= {"STATE_DIR": str(tmp_path / "state"), "MAX_SUPPORT_PICTURES": "10000"}
    with running("-m", "flask_server", log=tmp_path / "router.log", env=env) as router:
        router.wait_for(f"{url}/readyz")
        yield url


@pytest.mark.slow
def test_schemathesis_finds_nothing(router_url: str, tmp_path: Path) -> None:
    """Schemathesis, given the document, finds no answer that it does not describe and no server error."""
    arguments = ("run", f"{router_url}/openapi.json", "--max-examples", "15", "--no-color")
    # The toy has no support set to answer from.
    arguments += ("--exclude-path", "/taught/predict/")
    env = os.environ | {
        "PYTHONPATH": str(ROOT),
        "SCHEMATHESIS_HOOKS": "tests.flask_server.schemathesis_hooks",
    }
    run = subprocess.run(
        [sys.executable, "-m", "schemathesis.cli", *arguments],
        cwd=tmp_path,
        env=env,
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
    )
    assert run.returncode == 0, (run.stdout + run.stderr)[-5000:]


def test_example_image_is_small() -> None:
    """The example picture does not bloat a document that repeats it for each model."""
    assert len(base64.b64decode(EXAMPLE_B64)) < 200
