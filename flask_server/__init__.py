"""The router: one route per model, labels as JSON."""

from flask_server.app import create_app

__all__ = ["create_app"]
