"""A path's closing slash may be left out."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterable
    from wsgiref.types import StartResponse, WSGIApplication, WSGIEnvironment

    from flask import Flask


class ClosingSlash:
    """WSGI middleware: gives a path the slash with which its route is written.

    Werkzeug finds such a route by itself (`strict_slashes`), but only for a method that it has: `GET` without the slash
    would be told that there is no such route, and `OPTIONS` no methods.
    """

    def __init__(self, wsgi_app: WSGIApplication, paths: frozenset[str]) -> None:
        self._wsgi_app = wsgi_app
        self._paths = paths

    def __call__(self, environ: WSGIEnvironment, start_response: StartResponse) -> Iterable[bytes]:
        """Answer one request."""
        if environ["PATH_INFO"] in self._paths:
            environ["PATH_INFO"] += "/"
        return self._wsgi_app(environ, start_response)


def init_app(app: Flask) -> None:
    """Put the middleware in front of `app`, whose routes are all attached."""
    rules = [rule.rule for rule in app.url_map.iter_rules()]
    paths = frozenset(
        rule.removesuffix("/") for rule in rules if rule.endswith("/") and rule != "/"
    )
    app.wsgi_app = ClosingSlash(app.wsgi_app, paths)  # type: ignore[method-assign]
