"""Headers that keep a browser from misreading or framing an answer."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from flask import Flask, Response

    from flask_server.settings import Settings

# An answer is data, not a page: nothing in it may run or load. A real page sets a policy of its own.
_HEADERS = {
    "Content-Security-Policy": "default-src 'none'; frame-ancestors 'none'",
    "Referrer-Policy": "no-referrer",
    "X-Content-Type-Options": "nosniff",
}
_HSTS = "max-age=31536000"


def init_app(app: Flask, settings: Settings) -> None:
    """Add the headers to every answer of `app` that has not set them itself."""
    headers = {**_HEADERS, **({"Strict-Transport-Security": _HSTS} if settings.tls else {})}

    def protect(response: Response) -> Response:
        for name, value in headers.items():
            response.headers.setdefault(name, value)
        response.headers.setdefault("Cache-Control", "no-store")
        return response

    app.after_request(protect)
