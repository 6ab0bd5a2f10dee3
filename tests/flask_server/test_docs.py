"""docs/http-api.md and operations.md against the code: what is there is described, and the other way round."""

from __future__ import annotations

import logging
import re
from typing import TYPE_CHECKING

from flask_server import errors
from flask_server.cors import EXPOSED_HEADERS, REQUEST_HEADERS
from flask_server.errors import RouterError
from flask_server.measures import the_metrics
from tests.flask_server.conftest import encoded
from tests.flask_server.test_access import write_keys
from tests.processes import ROOT

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    import pytest
    from flask.testing import FlaskClient

PAGE = (ROOT / "docs" / "http-api.md").read_text()
OPERATIONS = (ROOT / "docs" / "operations.md").read_text()


def test_every_route_is_documented(client: FlaskClient) -> None:
    """Every rule of the router has a row, with `<model>` for a model's name; and every row is a rule."""
    rules = {
        rule.rule.replace("/colours/", "/<model>/")
        for rule in client.application.url_map.iter_rules()
        if not rule.rule.startswith("/static/")
    }
    documented = set(re.findall(r"^\| `(?:GET|POST) (/\S*)`", PAGE, re.MULTILINE))
    assert rules == documented


def test_every_error_is_documented() -> None:
    """Every leaf of the error tree has a row with its status and title."""
    for kind in vars(errors).values():
        if isinstance(kind, type) and issubclass(kind, RouterError):
            assert f"| {kind.status} | {kind.title} |" in PAGE, kind


def test_every_header_is_documented() -> None:
    """Every header that pages may send or read is described."""
    for name in (*EXPOSED_HEADERS, *REQUEST_HEADERS):
        if name != "Content-Type":
            assert f"`{name}`" in PAGE, name


def test_every_header_of_an_answer_is_documented(
    client_of: Callable[..., FlaskClient], tmp_path: Path
) -> None:
    """Every header that answers of many kinds carry is described, but for those that are HTTP's own business."""
    key = write_keys(tmp_path / "keys.json", web={"daily_quota": 1})["web"]
    client = client_of(api_keys_file=tmp_path / "keys.json", state_dir=tmp_path)
    asked = {"X-API-Key": key, "Origin": "http://localhost:4200"}
    path, picture = "/colours/predict/", encoded()
    answers = [
        client.post(path, data=picture, headers=asked),
        client.post(path, data=picture, headers=asked),
        client.post(path, data=picture),
        client.put(path, headers=asked),
        client.get("/"),
        client.get("/metrics"),
    ]
    assert [answer.status_code for answer in answers] == [200, 429, 401, 405, 200, 401]
    names = {name for answer in answers for name in answer.headers.keys()}  # noqa: SIM118 - a list of pairs
    told = {name for name in names if not name.startswith(("Content-L", "Content-T", "Access-"))}
    assert not [name for name in told - {"Date", "Vary", "Connection"} if f"`{name}`" not in PAGE]


def test_every_metric_is_documented() -> None:
    """Every metric has a row with its kind and labels, and every row is a metric."""
    rows = re.findall(r"^\| `(router_\w+)` \| (\w+) \| (.*?) \|", OPERATIONS, re.MULTILINE)
    documented = {name: (kind, set(re.findall(r"`(\w+)`", labels))) for name, kind, labels in rows}
    told = {}
    for metric in the_metrics().registry._collector_to_names:
        (family,) = metric.describe()
        name = family.name + ("_total" if family.type == "counter" else "")
        told[name] = (family.type, set(metric._labelnames))
    assert told == documented


def test_every_log_field_is_documented(
    client: FlaskClient, caplog: pytest.LogCaptureFixture
) -> None:
    """Every field of a request's log line is described."""
    caplog.set_level(logging.INFO, logger="flask_server.logs")
    client.post("/colours/predict/", data=b"no image")
    (record,) = [record for record in caplog.records if record.name == "flask_server.logs"]
    fields = {name for name in vars(record)["fields"] if not name.endswith("_ms")}
    assert fields
    assert not [name for name in fields if f"`{name}`" not in OPERATIONS]
