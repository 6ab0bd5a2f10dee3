"""The log: what stands in it, and what never does."""

from __future__ import annotations

import base64
import io
import json
import logging
from typing import TYPE_CHECKING, Any

import pytest
import urllib3

from flask_server.logs import JsonFormatter, TextFormatter
from tests.flask_server.conftest import encoded
from tests.flask_server.test_access import write_keys
from tests.processes import free_port, running, wait_until

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

    from flask.testing import FlaskClient

    from tests.flask_server.toy_model_server import ToyModelServer

PATH = "/colours/predict/"
RED = encoded((255, 51, 0))
ESCAPE = "\x1b[31m"


class Log:
    """What a formatter made of the router's lines."""

    def __init__(self, formatter: logging.Formatter) -> None:
        self.handler = logging.StreamHandler(io.StringIO())
        self.handler.setFormatter(formatter)

    @property
    def lines(self) -> list[str]:
        """The lines written since they were asked for last."""
        text = self.handler.stream.getvalue()
        self.handler.setStream(io.StringIO())
        return text.splitlines()  # type: ignore[no-any-return]


def attached(formatter: logging.Formatter) -> Iterator[Log]:
    """A log of the router at level info."""
    log, logger = Log(formatter), logging.getLogger("flask_server")
    logger.addHandler(log.handler)
    logger.setLevel(logging.INFO)
    yield log
    logger.removeHandler(log.handler)
    logger.setLevel(logging.NOTSET)


@pytest.fixture
def text_log() -> Iterator[Log]:
    """The log as people read it."""
    yield from attached(TextFormatter())


@pytest.fixture
def json_log() -> Iterator[Log]:
    """The log as programs read it."""
    yield from attached(JsonFormatter())


@pytest.fixture
def guarded(client_of: Callable[..., FlaskClient], tmp_path: Path) -> tuple[FlaskClient, str]:
    """A client of a router that asks for keys, and the key `web`."""
    key = write_keys(tmp_path / "keys.json", web={})["web"]
    return client_of(api_keys_file=tmp_path / "keys.json", state_dir=tmp_path), key


def test_a_request_in_json(guarded: tuple[FlaskClient, str], json_log: Log) -> None:
    """A request is one object with id, key name, model, version, status and stage times."""
    client, key = guarded
    response = client.post(PATH, data=RED, headers={"X-API-Key": key, "X-Request-Id": "r-1"})
    (line,) = map(json.loads, json_log.lines)
    assert response.status_code == 200
    told = ("message", "method", "path", "status", "model", "version", "key", "id", "level")
    expected = ["request", "POST", PATH, 200, "colours", 1, "web", "r-1", "info"]
    assert [line[name] for name in told] == expected
    for stage in ("receive", "queue", "decode", "preprocess", "upstream", "total"):
        assert 0 <= line[f"{stage}_ms"] < 60_000
    assert line["time"].endswith("Z")
    assert "problem" not in line


def test_a_request_in_text(client: FlaskClient, text_log: Log) -> None:
    """The same as one line of words."""
    client.post(PATH, data=b"no image", headers={"X-Request-Id": "r-2"})
    line = [one for one in text_log.lines if "request method=" in one]
    assert len(line) == 1
    for words in ("INFO", f"path={PATH}", "status=400", 'problem="Invalid image"', "id=r-2"):
        assert words in line[0]


def test_probes_are_quiet(client: FlaskClient, text_log: Log) -> None:
    """Probes that are answered well leave no line, others do."""
    for path in ("/livez", "/metrics"):
        client.get(path)
    assert not text_log.lines
    client.get("/readyz?model=none")
    client.get("/models/")
    assert len(text_log.lines) == 2


def test_no_forged_lines(client: FlaskClient, text_log: Log, json_log: Log) -> None:
    """Line breaks and terminal codes in what a client sends stay within their line, escaped."""
    client.get("/%0A2026-01-31T12:00:00.000Z INFO forged%1b[31m%e2%80%a8")
    (text,), (line,) = text_log.lines, json_log.lines
    assert "forged" in text
    assert ESCAPE not in text
    assert json.loads(line)["path"].startswith("/\n2026")


def test_messages_and_tracebacks_are_escaped_too() -> None:
    """An exception's text cannot begin a line; a message is cut where it fills the log."""
    try:
        raise ValueError(f"one\nERROR forged{ESCAPE}")
    except ValueError as error:
        trace = (type(error), error, error.__traceback__)
    message = f"a\nb{'x' * 5000}\ud800"
    record = logging.LogRecord("n", logging.ERROR, "p", 1, message, None, trace)
    text = TextFormatter().format(record)
    first, *others = text.split("\n")
    assert "a\\u000ab" in first
    assert len(first) < 1200
    assert all(line.startswith("    | ") for line in others)
    assert ESCAPE not in text
    assert "\n" not in JsonFormatter().format(record)
    assert "forged" in json.loads(JsonFormatter().format(record))["traceback"]


@pytest.mark.parametrize("formatter", [TextFormatter(), JsonFormatter()])
def test_keys_are_hidden_wherever_they_stand(formatter: logging.Formatter, tmp_path: Path) -> None:
    """A key in a message, a field or a traceback is cut to its id."""
    key = write_keys(tmp_path / "keys.json", web={})["web"]
    record = logging.LogRecord("n", logging.INFO, "p", 1, "bad line %s", (key,), None)
    record.fields = {"path": f"/x/{key}", "id": key}
    line = formatter.format(record)
    assert key not in line
    assert key[13:] not in line
    assert line.count(key[:13]) == 3


@pytest.fixture
def logged_run(tmp_path: Path, toy: ToyModelServer) -> Callable[[str], tuple[str, str]]:
    """Run the real router with keys in a log format, ask it in many ways; return its output and the key."""

    def run(log_format: str) -> tuple[str, str]:
        key = write_keys(tmp_path / "keys.json", web={})["web"]
        table = (
            f'[colours]\ninput_size = [4, 6]\nlabels = ["r", "g", "b"]\nupstream = ["{toy.url}"]\n'
        )
        (tmp_path / "models.toml").write_text(table)
        port = free_port()
        names = {"MODELS_FILE": "models.toml", "API_KEYS_FILE": "keys.json", "STATE_DIR": "state"}
        env = {name: str(tmp_path / value) for name, value in names.items()}
        env |= {"PORT": str(port), "LOG_FORMAT": log_format, "LOG_LEVEL": "debug", "WORKERS": "1"}
        with running("-m", "flask_server", log=tmp_path / "log", env=env) as program:
            program.wait_for(f"http://127.0.0.1:{port}/livez")
            provoke(port, key)
            wait_until(
                lambda: "request_sent_last" in program.output(), seconds=20, what="the last line"
            )
            return program.output(), key

    return run


def provoke(port: int, key: str) -> None:
    """Send a key and an image in every place where they might be logged."""
    address = f"http://127.0.0.1:{port}"
    ask: Any = urllib3.PoolManager(retries=False).request
    ask("POST", address + PATH, body=RED, headers={"X-API-Key": key})
    ask("POST", f"{address}{PATH}?key={key}", body=RED)
    ask("GET", f"{address}/{key}/")
    ask("GET", f"{address}/livez", headers={"X-Request-Id": key, "traceparent": key})
    ask("GET", f"{address}/{key} {key}", headers={f"{key}": key})
    body = {"b64": base64.b64encode(RED).decode()}
    ask("POST", address + PATH, json=body, headers={"Authorization": f"Bearer {key}"})
    ask("GET", f"{address}/request_sent_last")


@pytest.mark.parametrize("log_format", ["text", "json"])
@pytest.mark.slow
def test_no_key_and_no_image_in_any_line(
    logged_run: Callable[[str], tuple[str, str]], log_format: str
) -> None:
    """Whatever is sent, even at level debug neither the key nor the image stands in the log of the real router."""
    output, key = logged_run(log_format)
    assert key not in output
    assert key[13:] not in output
    assert base64.b64encode(RED).decode()[:24] not in output
    assert "access: only with an API key" in output
    if log_format == "json":
        assert all(json.loads(line)["level"] for line in output.splitlines())
