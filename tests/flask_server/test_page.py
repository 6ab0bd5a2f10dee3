from __future__ import annotations

import re
from typing import TYPE_CHECKING

import pytest

from flask_server import page
from flask_server.page import STATIC, sample_names

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from flask.testing import FlaskClient


def test_page_loads_only_from_the_router(client: FlaskClient) -> None:
    """Every address in the page is one of the router's own, and each of them answers."""
    addresses = re.findall(r'(?:src|href)="([^"]+)"', client.get("/").text)
    assert len(addresses) > len(sample_names())
    for address in addresses:
        assert "//" not in address
        assert client.get(f"/{address.lstrip('/')}", buffered=True).status_code == 200, address


def test_scripts_and_styles_name_no_other_host() -> None:
    """No file of the page loads anything from elsewhere, so it works offline."""
    for file in STATIC.iterdir():
        addresses = re.findall(r"https?://[^\s\"'`]+", file.read_text(encoding="utf-8"))
        assert set(addresses) <= {"http://www.w3.org/2000/svg"}, file.name  # a name, never loaded


def test_page_is_protected(client: FlaskClient) -> None:
    """The page's policy allows no inline script or style, no frame around it and no other host."""
    headers = client.get("/").headers
    policy = headers["Content-Security-Policy"]
    assert "unsafe" not in policy
    assert "default-src 'none'" in policy
    assert "frame-ancestors 'none'" in policy
    assert headers["X-Content-Type-Options"] == "nosniff"
    assert headers["Referrer-Policy"] == "no-referrer"


def test_page_has_nothing_inline(client: FlaskClient) -> None:
    """There is no script, style or event handler in the markup that the policy would have to allow."""
    markup = client.get("/").text
    assert not re.search(r"<style|\sstyle=|\son\w+=|<script(?![^>]*\ssrc=)", markup)


@pytest.mark.parametrize("path", ["/models/", "/nothing", "/static/page.js", "/hello/"])
def test_every_answer_is_protected(client: FlaskClient, path: str) -> None:
    """Answers that are no pages may not be framed, guessed at or made to load anything."""
    headers = client.get(path, buffered=True).headers
    assert headers["Content-Security-Policy"] == "default-src 'none'; frame-ancestors 'none'"
    assert headers["X-Content-Type-Options"] == "nosniff"


def test_samples_are_offered(client: FlaskClient) -> None:
    """The pictures of test_images/ that are small enough stand on the page and are served as images."""
    assert "digit_7.png" in sample_names()
    for name in sample_names():
        answer = client.get(f"/samples/{name}", buffered=True)
        assert answer.mimetype.startswith("image/")
        assert f'data-name="{name}"' in client.get("/").text


@pytest.mark.parametrize("path", ["/samples/digit_7.png", "/static/page.js", "/docs/index.css"])
def test_conditions_that_are_not_met(client: FlaskClient, path: str) -> None:
    """A file that is asked for on a condition is not sent without it, and the failure has the router's shape."""
    answer = client.get(path, headers={"If-Match": '"x"'}, buffered=True)
    assert (answer.status_code, answer.mimetype) == (412, "application/problem+json")


@pytest.mark.parametrize(
    "path", ["/samples/README.md", "/samples/%2e%2e/models.toml", "/static/no"]
)
def test_nothing_else_is_served(client: FlaskClient, path: str) -> None:
    """What is not a sample or a file of the page is a 404 in the router's shape."""
    answer = client.get(path, buffered=True)
    assert (answer.status_code, answer.mimetype) == (404, "application/problem+json")


def test_page_accepts_what_the_router_takes(client_of: Callable[..., FlaskClient]) -> None:
    """File choosers offer the formats of IMAGE_FORMATS only, so that phones convert others by themselves."""
    page = client_of(image_formats=("JPEG", "PNG")).get("/").text
    assert page.count('accept="image/jpeg,image/png"') == 2  # files and camera


def test_page_without_samples(
    client: FlaskClient, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Where the project's pictures are not installed, the page simply offers none."""
    monkeypatch.setattr(page, "SAMPLES", tmp_path / "absent")
    answer = client.get("/")
    assert answer.status_code == 200
    assert "samples" not in answer.text


def test_large_pictures_are_not_samples(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A picture that would make the page slow to load is not offered."""
    (tmp_path / "large.png").write_bytes(b"x" * 300_000)
    (tmp_path / "small.png").write_bytes(b"x")
    monkeypatch.setattr(page, "SAMPLES", tmp_path)
    assert sample_names() == ["small.png"]
