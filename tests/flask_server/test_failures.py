"""Every failure of the error tree, provoked; all have one shape."""

from __future__ import annotations

import base64
import random
import threading
import time
from typing import TYPE_CHECKING, Any

import pytest

from flask_server import errors
from flask_server.errors import RouterError
from tests.flask_server.conftest import encoded
from tests.processes import free_port

if TYPE_CHECKING:
    from collections.abc import Callable

    from flask.testing import FlaskClient
    from werkzeug.test import TestResponse

    from tests.flask_server.toy_model_server import ToyModelServer

PATH = "/colours/predict/"
RED = encoded((255, 51, 0))


def check_problem(response: TestResponse, status: int, title: str) -> None:
    """The one shape that every failure has."""
    assert response.status_code == status, response.text
    assert response.content_type == "application/problem+json"
    problem = response.get_json(force=True)
    assert problem["status"] == status
    assert problem["title"] == title
    assert problem["type"] == "urn:keras-front-door:" + title.lower().replace(" ", "-")
    assert problem["detail"].endswith(".")
    assert problem["request_id"] == response.headers["X-Request-Id"]
    assert "Traceback" not in response.text
    assert "Server-Timing" in response.headers


def test_every_error_has_a_test() -> None:
    """The tree holds exactly the errors that this file provokes."""
    named = {kind for kind in vars(errors).values() if isinstance(kind, type)}
    tree = {kind.__name__ for kind in named if issubclass(kind, RouterError)}
    provoked = {"InvalidRequest", "InvalidImage", "UnknownVersion", "TooLarge", "TooBusy"}
    provoked |= {"UpstreamError", "UpstreamUnavailable", "UpstreamTimeout"}
    elsewhere = {"RouterError", "RequestTimeout", "ClientGone"}  # test_wsgi_server, test_admission
    elsewhere |= {"AccessDenied", "KeyRequired"}  # test_access
    elsewhere |= {"TooManyRequests", "LimitsUnavailable"}  # test_limits
    elsewhere |= {"SupportUnavailable"}  # test_support_store
    elsewhere |= {"NothingTaught", "UnknownLabel"}  # test_support
    elsewhere |= {"FetchRefused", "UnusableUrl"}  # test_fetching
    elsewhere |= {"UnknownModel", "NotReady", "Draining"}  # test_health, test_wsgi_server
    elsewhere |= {"DeadlinePassed"}  # test_predict
    assert tree == provoked | elsewhere


def test_invalid_request(client: FlaskClient) -> None:
    """A body without an image is an invalid request."""
    check_problem(client.post(PATH, data=b""), 400, "Invalid request")


def test_invalid_image(client: FlaskClient) -> None:
    """Bytes that are no image are an invalid image."""
    check_problem(client.post(PATH, data=b"GIF89a nonsense"), 400, "Invalid image")


def test_unknown_version(client: FlaskClient) -> None:
    """A version or label that the model server does not know is a 404."""
    check_problem(client.post(f"{PATH}?version=7", data=RED), 404, "Unknown version")
    check_problem(client.post(f"{PATH}?version_label=no", data=RED), 404, "Unknown version")


def test_too_large_by_pixels(client_of: Callable[..., FlaskClient]) -> None:
    """An image of more pixels than allowed is refused before it is decoded."""
    check_problem(client_of(max_pixels=95).post(PATH, data=RED), 413, "Too large")
    assert client_of(max_pixels=96).post(PATH, data=RED).status_code == 200


def test_too_large_by_number(client_of: Callable[..., FlaskClient]) -> None:
    """More instances than allowed are refused."""
    instances = [{"b64": ""}] * 3
    response = client_of(max_instances=2).post(PATH, json={"instances": instances})
    check_problem(response, 413, "Too large")


def test_too_large_by_bytes(client_of: Callable[..., FlaskClient]) -> None:
    """A body over the limit is refused, in every form of body."""
    client = client_of(max_body_bytes=1000)
    for way in (
        {"data": b"x" * 1001},
        {"data": {"b64": "x" * 1001}},
        {"json": {"b64": "x" * 1001}},
    ):
        check_problem(client.post(PATH, **way), 413, "Too large")  # type: ignore[arg-type]


def test_unreachable_model_server(client_of: Callable[..., FlaskClient]) -> None:
    """A stopped model server is a 503 at once, with Retry-After."""
    client = client_of(upstream=[f"http://127.0.0.1:{free_port()}"])
    begun = time.monotonic()
    response = client.post(PATH, data=RED)
    assert time.monotonic() - begun < 1
    check_problem(response, 503, "Model unavailable")
    assert int(response.headers["Retry-After"]) >= 1


def test_no_version_available(client: FlaskClient, toy: ToyModelServer) -> None:
    """A model server without a version of the model is a 503."""
    toy.model.versions = []
    check_problem(client.post(PATH, data=RED), 503, "Model unavailable")


def test_model_without_model_server(client_of: Callable[..., FlaskClient]) -> None:
    """A model that is placed nowhere answers 503 and says which key to set."""
    response = client_of(upstream=[]).post(PATH, data=RED)
    check_problem(response, 503, "Model unavailable")
    assert "'upstream'" in response.text


def test_upstream_timeout(client_of: Callable[..., FlaskClient], toy: ToyModelServer) -> None:
    """A model server that is too slow for the model's deadline is a 504 in time."""
    client = client_of(more="timeout_seconds = 0.2")
    client.post(PATH, data=RED)
    toy.model.delay_seconds = 1.5
    begun = time.monotonic()
    check_problem(client.post(PATH, data=RED), 504, "Upstream timeout")
    assert time.monotonic() - begun < 1


def test_deadline_of_the_client(client: FlaskClient, toy: ToyModelServer) -> None:
    """A client may shorten the deadline by a header, which is passed on."""
    toy.model.delay_seconds = 1.5
    response = client.post(PATH, data=RED, headers={"X-Request-Timeout": "0.3"})
    check_problem(response, 504, "Upstream timeout")
    assert 0 < float(toy.model.requests[0]["headers"]["X-Request-Timeout"]) <= 0.3


@pytest.mark.parametrize("seconds", ["0", "-1", "x", "nan", "1e3", ""])
def test_deadline_that_is_none(client: FlaskClient, seconds: str) -> None:
    """A deadline that is not a number of seconds above 0 is an invalid request."""
    response = client.post(PATH, data=RED, headers={"X-Request-Timeout": seconds})
    check_problem(response, 400, "Invalid request")


@pytest.mark.parametrize(
    "answer",
    [
        (200, b"<html>"),
        (200, b"{}"),
        (200, b"[]"),
        (200, b'{"predictions": []}'),
        (200, b'{"predictions": [[1, 2]]}'),
        (200, b'{"predictions": [[1, 2, NaN]]}'),
        (200, b'{"predictions": [[1, [2], 3]]}'),
        (200, b'{"predictions": [["a", "b", "c"]]}'),
        (200, b'{"predictions": [{"one": [1, 2, 3], "two": [1]}]}'),
        (200, b'{"predictions": ' + b"[" * 100_000),
        (400, b'{"error": "secret shape of a tensor"}'),
        (500, b"secret"),
    ],
)
def test_answers_that_are_no_predictions(
    client: FlaskClient, toy: ToyModelServer, answer: tuple[int, bytes]
) -> None:
    """Whatever else a model server answers is a 502 that shows nothing of its inside."""
    toy.model.answer = answer
    response = client.post(PATH, data=RED)
    check_problem(response, 502, "Bad upstream answer")
    assert "secret" not in response.text


def test_metadata_that_is_none(client: FlaskClient, toy: ToyModelServer) -> None:
    """A model without a usable signature is a 502."""
    toy.model.signatures = {"one": {"inputs": {}}}
    check_problem(client.post(PATH, data=RED), 502, "Bad upstream answer")


def test_busy_model_server(client: FlaskClient, toy: ToyModelServer) -> None:
    """A model server without capacity is a 503 with Retry-After."""
    toy.model.answer = (503, b'{"error": "queue full"}')
    response = client.post(PATH, data=RED)
    check_problem(response, 503, "Model unavailable")
    assert "Retry-After" in response.headers


def test_too_busy(client_of: Callable[..., FlaskClient], toy: ToyModelServer) -> None:
    """Over a model's concurrency and queue the answer is 503 with Retry-After at once."""
    client = client_of(model_concurrency=1, model_queue=1)
    client.post(PATH, data=RED)
    toy.model.delay_seconds = 0.3
    app = client.application
    waiting = [
        threading.Thread(target=lambda: app.test_client().post(PATH, data=RED)) for _ in range(2)
    ]
    for thread in waiting:
        thread.start()
    places = app.extensions["router"].models["colours"].places
    while places._inside < 2:
        time.sleep(0.01)
    begun = time.monotonic()
    response = client.post(PATH, data=RED)
    assert time.monotonic() - begun < 0.25
    check_problem(response, 503, "Too busy")
    assert response.headers["Retry-After"] == "1"
    for thread in waiting:
        thread.join()
    assert client.post(PATH, data=RED).status_code == 200


def test_unexpected_failure(client: FlaskClient, monkeypatch: pytest.MonkeyPatch) -> None:
    """A mistake of our own is a 500 without any detail."""
    client.application.config["PROPAGATE_EXCEPTIONS"] = False
    router = client.application.extensions["router"]
    monkeypatch.setattr(type(router.health), "states", lambda _: 1 / 0)
    response = client.get("/models/")
    check_problem(response, 500, "Internal Server Error")
    assert "division" not in response.text


@pytest.mark.parametrize("method", ["GET", "PUT", "DELETE", "PATCH", "TRACE", "HEAD"])
def test_other_methods(client: FlaskClient, method: str) -> None:
    """Another method than POST is a 405 that names the allowed ones."""
    response = client.open(PATH, method=method)
    assert response.status_code == 405
    assert response.content_type == "application/problem+json"
    assert "POST" in response.headers["Allow"]


@pytest.mark.parametrize(
    "path", ["/nothing", "/colours", "/colours/predict/x", "/..%2f", "/%00", "/models/x"]
)
def test_other_paths(client: FlaskClient, path: str) -> None:
    """A path that is no route is a 404 in the same shape."""
    check_problem(client.get(path), 404, "Not Found")


def malformed_requests(count: int) -> list[dict[str, Any]]:
    """Requests of all kinds that no client should send; the same ones each time."""
    chance = random.Random(7)
    noise = [chance.randbytes(chance.randrange(200)) for _ in range(60)]
    texts = [
        "",
        "?",
        "AAAA",
        "data:",
        "data:,x",
        "data:image/png;base64,",
        "=" * 9,
        "é",
        "\x00",
        " ",
    ]
    texts += [base64.b64encode(RED[:end]).decode() for end in range(0, len(RED) - 24, 5)]
    values: list[Any] = [None, 1, True, [], {}, {"b64": None}, {"b64": []}, [[]], "x", *texts]
    kinds = ["image/png", "application/json", "text/html", "multipart/form-data", "a/b", "", "\xff"]
    kinds += ["application/x-www-form-urlencoded", "multipart/form-data; boundary=x", "image/*; q"]
    queries = [
        "",
        "top=%00",
        "top[]=1",
        "version=x",
        "version_label=" + "a" * 500,
        "%FF=%FE",
        "&&;=",
    ]
    made: list[dict[str, Any]] = [{"json": {"b64": value}} for value in values]
    made += [{"json": {"instances": value}} for value in [*values, [1], [None], [{"b64": 1}]]]
    made += [{"json": value} for value in values]
    made += [{"data": {"b64": text}} for text in texts]
    while len(made) < count:
        body, kind = chance.choice(noise), chance.choice(kinds)
        made.append({"data": body, "content_type": kind, "query_string": chance.choice(queries)})
    return made


def test_malformed_requests(client: FlaskClient) -> None:
    """Of 300 malformed requests none is answered by a 5xx, and every answer is a problem document."""
    requests = malformed_requests(300)
    assert len(requests) >= 300
    for request in requests:
        response = client.post(PATH, **request)
        assert 400 <= response.status_code < 500, (request, response.text)
        assert response.content_type == "application/problem+json", request
