"""The REST API over real sockets, with toy models."""

from __future__ import annotations

import contextlib
import gzip
import http.client
import json
import socket
import threading
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
import pytest

from serving.errors import Code, Internal, ServingError, Unavailable
from serving.http_server import HttpServer
from serving.lifecycle import LoadOptions, ServedModel
from serving.manager import Manager
from serving.monitoring import Metrics
from serving.paths import Inference, Target
from serving.rest_api import RestApi
from serving.servable import Signature
from serving.wsgi import Application
from tests.processes import free_port
from tests.serving.toy import Toy, add_version, echoing, spec, times

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping
    from pathlib import Path

    from serving.servable import Array

METRICS = "/metrics"


@dataclass
class Answer:
    """What came back."""

    status: int
    headers: dict[str, str]
    body: bytes

    def json(self) -> object:
        """The body as JSON."""
        return json.loads(self.body)


@dataclass
class Api:
    """A running REST API."""

    port: int
    http: HttpServer

    def ask(
        self, method: str, path: str, body: bytes | None = None, headers: Mapping[str, str] = {}
    ) -> Answer:  # fmt: skip
        """Send one request, its path byte for byte."""
        connection = http.client.HTTPConnection("127.0.0.1", self.port, timeout=30)
        with contextlib.closing(connection):
            connection.request(method, path, body, dict(headers))
            answer = connection.getresponse()
            return Answer(answer.status, dict(answer.getheaders()), answer.read())


SLOW = threading.Event()
STARTED = threading.Event()


def toy(model: str, number: int, path: Path) -> Toy:
    """A model for each name."""
    del path
    if model == "bytes":
        return echoing("string")
    if model == "two":
        both = Signature({"a": spec("string"), "b": spec()}, {"y": spec()})
        return Toy({"serving_default": (both, lambda inputs: {"y": inputs["b"]})})
    if model == "errors":
        return Toy({"serving_default": (Signature({"x": spec()}, {"y": spec()}), failing)})
    if model == "slow":
        return Toy({"serving_default": (Signature({"x": spec()}, {"y": spec()}), waiting)})
    return times(number)


def failing(inputs: Mapping[str, Array]) -> dict[str, Array]:
    """Fail with the code that the input says; 99 is a mistake of the model's own."""
    code = int(inputs["x"][0])
    if code == 99:
        raise ZeroDivisionError
    raise ServingError("as asked", Code(code))


def waiting(inputs: Mapping[str, Array]) -> dict[str, Array]:
    """Answer when told to."""
    STARTED.set()
    SLOW.wait(30)
    return {"y": inputs["x"]}


@pytest.fixture
def api(tmp_path: Path) -> Iterator[Api]:
    """Toy models behind a real port, metrics and CORS on."""
    manager = Manager(toy, LoadOptions())
    for name in ("m", "bytes", "two", "errors", "slow"):
        add_version(tmp_path / name, 2)
    manager.configure([ServedModel(folder.name, folder) for folder in tmp_path.iterdir()])
    assert manager.wait_until_available(10)
    application = Application(RestApi(manager, 30.0, Metrics()), cors=True, metrics_path=METRICS)
    port = free_port()
    http_server = HttpServer(application, "127.0.0.1", port, 4)
    http_server.start()
    SLOW.clear()
    STARTED.clear()
    yield Api(port, http_server)
    SLOW.set()
    http_server.drain(5)
    manager.close()


def test_predict_status_and_metadata(api: Api) -> None:
    """The three things that are asked most."""
    answer = api.ask("POST", "/v1/models/m:predict", b'{"instances": [1.5, 2]}')
    assert (answer.status, answer.json()) == (200, {"predictions": [3.0, 4.0]})
    assert answer.headers["Content-Type"] == "application/json"
    (status,) = api.ask("GET", "/v1/models/m").json()["model_version_status"]
    assert (status["version"], status["state"]) == ("2", "AVAILABLE")
    metadata = api.ask("GET", "/v1/models/m/versions/2/metadata").json()
    assert metadata["model_spec"] == {"name": "m", "signature_name": "", "version": "2"}


@pytest.mark.parametrize(
    ("method", "path", "status", "kind"),
    [
        ("GET", "/", 404, "text/html"),
        ("GET", "/v1", 404, "text/html"),
        ("GET", "//v1/models/m", 404, "text/html"),
        ("GET", "/v1/models/%zz", 400, "text/html"),
        ("GET", "/v1/models/a[1]", 400, "text/html"),
        ("TRACE", "/v1/models/m", 501, "text/html"),
        ("DELETE", "/v1/models/m", 400, "application/json"),
        ("GET", "/v1/models/m?x=1", 404, "application/json"),
        ("HEAD", "/v1/models/m", 400, "application/json"),
        ("GET", f"/v1/models/m/versions/{2**63}", 400, "application/json"),
    ],
)
def test_who_answers_what(api: Api, method: str, path: str, status: int, kind: str) -> None:
    """Outside /v1/ it is the HTTP library's page, inside JSON; paths are not normalised."""
    answer = api.ask(method, path)
    assert answer.status == status
    assert answer.headers["Content-Type"] == kind
    assert method != "HEAD" or answer.body == b""


@pytest.mark.parametrize(
    ("code", "status"),
    [(3, 400), (4, 504), (5, 404), (8, 429), (1, 499), (12, 501), (13, 500), (14, 503), (99, 500)],
)
def test_errors_of_the_model_have_their_status(api: Api, code: int, status: int) -> None:
    """A failure's code becomes an HTTP status; an unexpected one tells no details."""
    answer = api.ask("POST", "/v1/models/errors:predict", b'{"instances": [%d]}' % code)
    assert answer.status == status
    assert answer.json() == {"error": "Internal error." if code == 99 else "as asked"}


def test_zipped_bodies(api: Api) -> None:
    """Gzip is undone; what only claims to be gzip, or grows too large, counts as empty."""
    body = b'{"instances": [1]}'
    zipped = {"Content-Encoding": "gzip"}
    path = "/v1/models/m:predict"
    assert api.ask("POST", path, gzip.compress(body), zipped).status == 200
    bomb = gzip.compress(b" " * 100_000_001 + body)
    for broken in (body, gzip.compress(body)[:-9], bomb):
        answer = api.ask("POST", path, broken, zipped)
        assert answer.json() == {"error": "JSON Parse error: The document is empty"}


@pytest.mark.slow
def test_chunked_and_large_bodies(api: Api) -> None:
    """A body may come in chunks, and may be large."""
    connection = http.client.HTTPConnection("127.0.0.1", api.port, timeout=60)
    with contextlib.closing(connection):
        rows = json.dumps({"instances": [0.5] * 2_000_000}).encode()
        pieces = (rows[start : start + 100_000] for start in range(0, len(rows), 100_000))
        connection.request("POST", "/v1/models/m:predict", pieces, encode_chunked=True)
        predictions = json.load(connection.getresponse())["predictions"]
    assert len(predictions) == 2_000_000
    assert set(predictions) == {1.0}


def test_strings_survive_byte_for_byte(api: Api) -> None:
    """Bytes that are no UTF-8 go in and come out as they are."""
    body = b'{"inputs": "a\xffb"}'
    assert b'"a\xffb"' in api.ask("POST", "/v1/models/bytes:predict", body).body


def test_cross_origin_requests(api: Api) -> None:
    """With CORS, every answer under /v1/ carries the headers; a preflight needs an origin."""
    origin = {"Origin": "https://example.com"}
    answer = api.ask("OPTIONS", "/v1/models/m:predict", headers=origin)
    assert (answer.status, answer.body) == (200, b"")
    assert answer.headers["Access-Control-Allow-Origin"] == "*"
    assert api.ask("OPTIONS", "/v1/models/m:predict").status == 400
    assert "Access-Control-Allow-Origin" not in api.ask("GET", "/other").headers


def test_metrics(api: Api) -> None:
    """Requests are counted by model and status, and by version where there was one."""
    api.ask("POST", "/v1/models/m:predict", b'{"instances": [1]}')
    api.ask("POST", "/v1/models/m:predict", b"{")
    answer = api.ask("GET", METRICS)
    assert answer.headers["Content-Type"] == "text/plain"
    lines = answer.body.decode().splitlines()
    name = ":tensorflow:serving:request_count"
    assert f'{name}{{model_name="m",status="OK"}} 1' in lines
    assert f'{name}{{model_name="m",status="INVALID_ARGUMENT"}} 1' in lines
    ours = ":tensorflow:serving:version_request_count"
    assert f'{ours}{{model_name="m",version="2",status="OK"}} 1' in lines
    labels = 'model_name="m",API="predict",entrypoint="REST"'
    assert f":tensorflow:serving:request_latency_count{{{labels}}} 2" in lines
    run = 'model_name="m",API="Predict",runtime="TF1"'
    assert f":tensorflow:serving:runtime_latency_count{{{run}}} 1" in lines
    assert api.ask("GET", f"{METRICS}?x=1").status == 400


def test_looks_at_a_model_are_counted(api: Api) -> None:
    """Status and metadata are requests of no API, as the real server has it."""
    api.ask("GET", "/v1/models/m")
    api.ask("GET", "/v1/models/m/metadata")
    lines = api.ask("GET", METRICS).body.decode().splitlines()
    assert ':tensorflow:serving:request_count{model_name="m",status="OK"} 2' in lines
    labels = 'model_name="m",API="",entrypoint="REST"'
    assert f":tensorflow:serving:request_latency_count{{{labels}}} 2" in lines


def test_metrics_of_a_name_that_is_no_text(api: Api) -> None:
    """A client may ask for a model whose name is no UTF-8; what counts it can be read all the same."""
    assert api.ask("POST", "/v1/models/%FF:predict", b"{}").status == 404
    answer = api.ask("GET", METRICS)
    assert answer.status == 200
    assert b'request_count{model_name="\xff",status="NOT_FOUND"} 1' in answer.body


def test_large_counts_keep_their_digits() -> None:
    """A counter past a million still shows each request."""
    metrics = Metrics()
    metrics.requests.add(1_234_567, "m", "OK")
    assert b'request_count{model_name="m",status="OK"} 1234567\n' in metrics.text()


def test_large_sums_keep_their_digits() -> None:
    """A sum of microseconds past a quarter of an hour still shows each request, so rates are right."""
    metrics = Metrics()
    labels = ("m", "predict", "REST")
    metrics.latency.observe(1_234_567_890.0, *labels)
    metrics.latency.observe(5_000.25, *labels)
    assert b'entrypoint="REST"} 1234572890.25\n' in metrics.text()


def test_values_are_echoed_as_they_were_written(api: Api) -> None:
    """A message shows integers as integers, however large the request was."""
    numbers = ", ".join(["1", "2.5"] * 1000)
    body = f'{{"signature_name": 5, "instances": [{numbers}]}}'.encode()
    told = api.ask("POST", "/v1/models/m:predict", body).json()["error"]
    assert '"instances": [1, 2.5, 1, 2.5' in told
    body = f'{{"inputs": [1], "instances": [{numbers}]}}'.encode()
    told = api.ask("POST", "/v1/models/m:predict", body).json()["error"]
    assert '"instances": [1, 2.5, 1, 2.5' in told


def test_inputs_that_are_missing_are_named(api: Api) -> None:
    """A base64 value for a model of several inputs fills but the first, which is told."""
    answer = api.ask("POST", "/v1/models/two:predict", b'{"instances": [{"b64": "YQ=="}]}')
    assert answer.status == 400
    assert "Missing but required: {b}." in answer.json()["error"]


def test_the_method_name_is_checked_where_asked_for(tmp_path: Path) -> None:
    """With its flag, a signature made for nothing that is known is 500, as the real server has it."""
    odd = Signature({"x": spec()}, {"y": spec()}, "my/method")
    manager = Manager(lambda *_: Toy({"serving_default": (odd, lambda inputs: {"y": inputs["x"]})}))
    add_version(tmp_path, 1)
    manager.configure([ServedModel("m", tmp_path)])
    assert manager.wait_until_available(10)
    body = b'{"instances": [1]}'
    predict = Inference(Target("m"), "predict")
    assert RestApi(manager, None, Metrics()).answer(predict, lambda: body)
    checking = RestApi(manager, None, Metrics(), check_method_names=True)
    with pytest.raises(Internal, match=r"tensorflow/serving/regress}\. Was: my/method"):
        checking.answer(predict, lambda: body)
    manager.close()


def test_draining(api: Api) -> None:
    """What runs is finished; new connections are refused, new requests on old ones told 503."""
    kept = http.client.HTTPConnection("127.0.0.1", api.port, timeout=30)
    kept.request("GET", "/v1/models/m")
    kept.getresponse().read()
    answers: list[Answer] = []
    body = b'{"instances": [1]}'
    running = threading.Thread(
        target=lambda: answers.append(api.ask("POST", "/v1/models/slow:predict", body))
    )
    running.start()
    assert STARTED.wait(10)
    assert not api.http.drain(0.05)
    kept.request("GET", "/v1/models/m")
    assert kept.getresponse().status == 503
    kept.close()
    with pytest.raises(OSError, match="refused"):
        socket.create_connection(("127.0.0.1", api.port), timeout=5)
    SLOW.set()
    assert api.http.drain(10)
    running.join(10)
    assert answers[0].json() == {"predictions": [1.0]}


def test_a_port_in_use_is_named(api: Api) -> None:
    """Who cannot have the port is told which, and what to do."""
    with pytest.raises(Unavailable, match=f"127.0.0.1:{api.port}.*--rest_api_port"):
        HttpServer(Application(None), "127.0.0.1", api.port, 1)  # type: ignore[arg-type]


def test_numbers_beyond_float32_are_infinity(api: Api) -> None:
    """What a float cannot hold is infinite, without a warning."""
    answer = api.ask("POST", "/v1/models/m:predict", b'{"instances": [1e300, -1e300]}')
    assert b"[Infinity, -Infinity" in answer.body
    assert np.isinf(json.loads(answer.body)["predictions"][0])
