"""The router: one route per model, labels as JSON."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from flask import Flask

    from flask_server.settings import Settings


def create_app(settings: Settings | None = None) -> Flask:
    """Build the WSGI application: see `flask_server.app.create_app`."""
    # Here, since scripts that only want a module of this package should not wait for all of it.
    from flask_server import app  # noqa: PLC0415

    return app.create_app(settings)
