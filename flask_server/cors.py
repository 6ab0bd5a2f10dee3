"""Which other origins' pages may call the router, and which headers they may read."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

from flask_cors import CORS

from flask_server.parameters import TIMEOUT_HEADER

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from flask import Flask, Response

    from flask_server.models import Model
    from flask_server.settings import Settings

REQUEST_HEADERS = (
    "Authorization",
    "Content-Type",
    "X-API-Key",
    "X-Request-Id",
    TIMEOUT_HEADER,
    "traceparent",
    "tracestate",
)
EXPOSED_HEADERS = (
    "RateLimit",
    "RateLimit-Policy",
    "Retry-After",
    "Server-Timing",
    "X-Model-Version",
    "X-Request-Id",
    "traceparent",
)
# Lines that are not empty, and then the header's.
_ORIGIN = re.compile(rb"(?:[^\r\n]+\r?\n)+?origin:[ \t]*([!-~]+)[ \t]*\r?\n", re.IGNORECASE)
_PREFLIGHT_SECONDS = 7200  # the longest that Chromium keeps an answer


def init_app(app: Flask, settings: Settings, models: Mapping[str, Model]) -> None:
    """Answer preflights, and mark answers as readable, for the allowed origins."""
    sticky = {header for model in models.values() if (header := model.config.sticky_header)}
    # Before CORS, for what runs after a request runs in the opposite order.
    app.after_request(_share_timing)
    CORS(
        app,
        origins=[_literally(origin) for origin in settings.cors_origins],
        methods=["GET", "HEAD", "POST", "DELETE", "OPTIONS"],
        allow_headers=[*REQUEST_HEADERS, *sorted(sticky)],
        expose_headers=list(EXPOSED_HEADERS),
        max_age=_PREFLIGHT_SECONDS,
        always_send=False,
    )


def lines_for(origins: Sequence[str], head: bytes | memoryview) -> tuple[str, ...]:
    """What lets a page read an answer that comes before the application has seen the request.

    Args:
        origins: The allowed ones.
        head: The head of the request, or what has come of it.
    """
    found = _ORIGIN.match(head)
    origin = found[1].decode("ascii") if found else ""
    if not origin or not {"*", origin} & {*origins}:
        return ()
    return (
        f"Access-Control-Allow-Origin: {origin}",
        f"Access-Control-Expose-Headers: {', '.join(EXPOSED_HEADERS)}",
        "Vary: Origin",
    )


def _literally(origin: str) -> str | re.Pattern[str]:
    """Flask-CORS takes the brackets of an IPv6 address for a regular expression's."""
    return re.compile(re.escape(origin) + r"\Z") if "[" in origin else origin


def _share_timing(response: Response) -> Response:
    """Let pages that may read the answer read its `Server-Timing` as well (W3C Resource Timing)."""
    origin = response.headers.get("Access-Control-Allow-Origin")
    if origin:
        response.headers["Timing-Allow-Origin"] = origin
    return response
