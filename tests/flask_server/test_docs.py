"""docs/http-api.md against the code: what is there is described, and the other way round."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

from flask_server import errors
from flask_server.cors import EXPOSED_HEADERS, REQUEST_HEADERS
from flask_server.errors import RouterError
from tests.processes import ROOT

if TYPE_CHECKING:
    from flask.testing import FlaskClient

PAGE = (ROOT / "docs" / "http-api.md").read_text()


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
