"""The page at `/`: show a picture to a model in the browser; no build step, no other host, no inline script."""

from __future__ import annotations

from functools import partial
from http import HTTPStatus
from pathlib import Path
from typing import TYPE_CHECKING

from flask import Response, abort, make_response, render_template, send_from_directory

from model_config import PROJECT

if TYPE_CHECKING:
    from collections.abc import Sequence

    from flask import Flask

    from flask_server.settings import Settings

STATIC = Path(__file__).parent / "static"
SAMPLES = PROJECT / "test_images"
_SAMPLE_SUFFIXES = (".png", ".jpg", ".jpeg", ".webp", ".gif")
_MOST_SAMPLE_BYTES = 200_000  # all of them are loaded with the page

# Content-Security-Policy Level 3: everything comes from the router itself, and nothing is inline.
_POLICY = (
    "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self' blob: data:;"
    " connect-src 'self'; base-uri 'none'; form-action 'none'; frame-ancestors 'none'"
)
_NO_HTML_FROM_TEXT = "; require-trusted-types-for 'script'"


def init_app(app: Flask, settings: Settings) -> None:
    """Attach the page, its files and its sample pictures."""
    app.add_url_rule("/", "page", partial(_page, settings.image_formats))
    app.add_url_rule("/static/<path:filename>", "static", _static)
    app.add_url_rule("/samples/<name>", "sample", _sample)


def html_page(template: str, *, more_policy: str = "", **values: object) -> Response:
    """Render a page that may load what the router serves, and nothing else.

    Args:
        template: Its file in `templates/`.
        more_policy: What its Content-Security-Policy asks for besides.
        values: What the template names.
    """
    response = make_response(render_template(template, **values))
    response.headers["Content-Security-Policy"] = _POLICY + more_policy
    return response


def file_response(folder: Path, name: str, *, max_age: int | None = None) -> Response:
    """A file of a folder, or 304; a condition that is not met is a failure like any other."""
    response = send_from_directory(folder, name, max_age=max_age)
    if response.status_code == HTTPStatus.PRECONDITION_FAILED:
        response.close()
        abort(HTTPStatus.PRECONDITION_FAILED)
    return response


def _page(image_formats: Sequence[str]) -> Response:
    # A phone converts what is not accepted: an iPhone its HEIC photos to JPEG.
    accepted = ",".join(f"image/{name.lower()}" for name in image_formats)
    samples = sample_names()
    return html_page(
        "page.html", more_policy=_NO_HTML_FROM_TEXT, samples=samples, accepted=accepted
    )


def _static(filename: str) -> Response:
    return file_response(STATIC, filename)


def _sample(name: str) -> Response:
    if name not in sample_names():
        abort(404)
    return file_response(SAMPLES, name, max_age=3600)


def sample_names() -> list[str]:
    """The pictures of the project that are small enough to be offered on the page."""
    if not SAMPLES.is_dir():
        return []
    return sorted(
        file.name
        for file in SAMPLES.iterdir()
        if file.suffix in _SAMPLE_SUFFIXES and file.stat().st_size <= _MOST_SAMPLE_BYTES
    )
