"""What is told in headers: ids, traces, timing, CORS, proxies, security."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

import pytest
from flask import request

from flask_server.cors import EXPOSED_HEADERS
from tests.flask_server.conftest import encoded

if TYPE_CHECKING:
    from collections.abc import Callable

    from flask.testing import FlaskClient
    from werkzeug.test import TestResponse

    from tests.flask_server.toy_model_server import ToyModelServer

PATH = "/colours/predict/"
RED = encoded((255, 51, 0))
ORIGIN = "http://localhost:4200"
TRACE = "4bf92f3577b34da6a3ce929d0e0e4736"


def predict(client: FlaskClient, **headers: str) -> TestResponse:
    """A prediction asked for with these headers."""
    return client.post(PATH, data=RED, headers={k.replace("_", "-"): v for k, v in headers.items()})


def test_request_id_is_kept_and_passed_on(client: FlaskClient, toy: ToyModelServer) -> None:
    """A request id is answered and forwarded as it came."""
    response = predict(client, X_Request_Id="order-66/a")
    assert response.headers["X-Request-Id"] == "order-66/a"
    assert toy.model.requests[0]["headers"]["X-Request-Id"] == "order-66/a"


@pytest.mark.parametrize("given", ["", "a b", "x" * 129, "é", "<script>"])
def test_request_id_is_made(client: FlaskClient, given: str) -> None:
    """Without a usable id one is made, another for each request."""
    made = {predict(client, X_Request_Id=given).headers["X-Request-Id"] for _ in range(3)}
    assert len(made) == 3
    assert all(re.fullmatch("[0-9a-f]{32}", one) for one in made)


def test_trace_is_continued(client: FlaskClient, toy: ToyModelServer) -> None:
    """A trace goes on under its id with a span of ours, and its state is passed on."""
    parent = f"00-{TRACE}-00f067aa0ba902b7-01"
    response = predict(client, traceparent=parent, tracestate="vendor=1")
    answered = response.headers["traceparent"]
    assert re.fullmatch(f"00-{TRACE}-[0-9a-f]{{16}}-01", answered)
    assert answered != parent
    sent = toy.model.requests[0]["headers"]
    assert (sent["traceparent"], sent["tracestate"]) == (answered, "vendor=1")


@pytest.mark.parametrize(
    "given",
    [
        "",
        "nonsense",
        f"00-{'0' * 32}-00f067aa0ba902b7-01",
        f"00-{TRACE}-{'0' * 16}-01",
        f"ff-{TRACE}-00f067aa0ba902b7-01",
        f"00-{TRACE.upper()}-00f067aa0ba902b7-01",
    ],
)
def test_trace_is_begun(client: FlaskClient, toy: ToyModelServer, given: str) -> None:
    """Without a valid trace a new one begins, and a state without a trace is dropped."""
    answered = predict(client, traceparent=given, tracestate="vendor=1").headers["traceparent"]
    assert re.fullmatch("00-[0-9a-f]{32}-[0-9a-f]{16}-00", answered)
    assert TRACE not in answered.lower()
    assert "tracestate" not in toy.model.requests[0]["headers"]


def test_server_timing(client: FlaskClient) -> None:
    """Every stage of a prediction is told in milliseconds, and the total of every answer."""
    timing = predict(client).headers["Server-Timing"]
    stages = dict(re.findall(r"(\w+);dur=([\d.]+)", timing))
    assert list(stages) == ["receive", "queue", "decode", "preprocess", "upstream", "total"]
    total = float(stages.pop("total"))
    assert sum(map(float, stages.values())) <= total + 0.1
    assert client.get("/nothing").headers["Server-Timing"].startswith("total;dur=")


def test_preflight(client: FlaskClient) -> None:
    """A preflight of an allowed origin is answered, and may be kept for two hours."""
    asked = {
        "Origin": ORIGIN,
        "Access-Control-Request-Method": "POST",
        "Access-Control-Request-Headers": "content-type,x-api-key,x-request-id",
    }
    response = client.options(PATH, headers=asked)
    assert response.status_code == 200
    assert response.headers["Access-Control-Allow-Origin"] == ORIGIN
    assert "POST" in response.headers["Access-Control-Allow-Methods"]
    allowed = response.headers["Access-Control-Allow-Headers"].lower()
    assert all(name in allowed for name in ("content-type", "x-api-key", "x-request-id"))
    assert response.headers["Access-Control-Max-Age"] == "7200"


def test_a_page_may_say_who_it_asks_for(client_of: Callable[..., FlaskClient]) -> None:
    """The header by which a model's users stay with their version is one that pages may send."""
    client = client_of('sticky_header = "X-User"\ntraffic = { stable = 1 }')
    asked = {
        "Origin": ORIGIN,
        "Access-Control-Request-Method": "POST",
        "Access-Control-Request-Headers": "x-user",
    }
    allowed = client.options(PATH, headers=asked).headers["Access-Control-Allow-Headers"]
    assert allowed.lower() == "x-user"


def test_an_origin_with_an_ipv6_address_is_that_one_alone(
    client_of: Callable[..., FlaskClient],
) -> None:
    """Its brackets are no pattern, and nothing may follow it."""
    client = client_of(cors_origins=("http://[::1]:4200",))
    for origin, allowed in {
        "http://[::1]:4200": True,
        "http://[::1]:42001": False,
        "http://::4200": False,
        "http://:4200": False,
    }.items():
        headers = client.get("/livez", headers={"Origin": origin}).headers
        assert ("Access-Control-Allow-Origin" in headers) == allowed, origin


@pytest.mark.parametrize("path", [PATH, "/models/", "/nothing", "/readyz"])
def test_allowed_origin_may_read_everything(client: FlaskClient, path: str) -> None:
    """Answers, failures too, show an allowed origin all headers that matter, timing included."""
    response = client.get(path, headers={"Origin": ORIGIN})
    assert response.headers["Access-Control-Allow-Origin"] == ORIGIN
    assert response.headers["Timing-Allow-Origin"] == ORIGIN
    exposed = response.headers["Access-Control-Expose-Headers"].split(", ")
    assert set(exposed) == set(EXPOSED_HEADERS)


def test_other_origins_may_read_nothing(client: FlaskClient) -> None:
    """An origin that is not on the list gets no permission, nor does a request without one."""
    for headers in ({"Origin": "http://evil.example"}, {"Origin": "null"}, {}):
        response = client.post(PATH, data=RED, headers=headers)
        assert "Access-Control-Allow-Origin" not in response.headers


def test_every_origin(client_of: Callable[..., FlaskClient]) -> None:
    """`*` allows every origin."""
    response = client_of(cors_origins=("*",)).get("/livez", headers={"Origin": "http://a.example"})
    assert response.headers["Access-Control-Allow-Origin"] in ("*", "http://a.example")


@pytest.mark.parametrize(
    ("peer", "believed"),
    [("10.1.2.3", True), ("::ffff:10.1.2.3", True), ("192.0.2.1", False)],
)
def test_forwarded_headers(
    client_of: Callable[..., FlaskClient], peer: str, believed: bool
) -> None:
    """What a proxy says is believed of trusted addresses only."""
    client = client_of(trusted_proxies=("10.0.0.0/8", "::1"))
    seen: list[tuple[str | None, str, str]] = []
    app = client.application
    app.before_request(lambda: seen.append(_whereabouts()))
    claims = {"X-Forwarded-For": "6.6.6.6, 203.0.113.9", "X-Forwarded-Proto": "https"}
    claims["X-Forwarded-Host"] = "photos.example"
    client.get("/livez", headers=claims, environ_base={"REMOTE_ADDR": peer})
    expected = (
        ("203.0.113.9", "https", "photos.example") if believed else (peer, "http", "localhost")
    )
    assert seen == [expected]


def _whereabouts() -> tuple[str | None, str, str]:

    return request.remote_addr, request.scheme, request.host


def test_security_headers(client: FlaskClient) -> None:
    """No answer may be sniffed, framed, cached or run."""
    for path in ("/models/", "/nothing"):
        headers = client.get(path).headers
        assert headers["X-Content-Type-Options"] == "nosniff"
        assert "default-src 'none'" in headers["Content-Security-Policy"]
        assert headers["Cache-Control"] == "no-store"
