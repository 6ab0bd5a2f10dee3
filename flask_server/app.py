"""Put the router together."""

from __future__ import annotations

from flask import Flask

from flask_server import (
    access,
    correlation,
    cors,
    health,
    limits,
    logs,
    metrics,
    openapi,
    page,
    problems,
    proxies,
    routes,
    security,
    slashes,
    support,
    telemetry,
    timing,
)
from flask_server.router import Router
from flask_server.settings import Settings, load_settings


def create_app(settings: Settings | None = None) -> Flask:
    """Build the WSGI application.

    Args:
        settings: How it is deployed; None: read from the environment.

    Returns:
        The application; `app.extensions["router"]` is its `Router`.

    Raises:
        ConfigError: Settings, models file or placement file say something that is not allowed.
    """
    settings = settings or load_settings()
    router = Router.from_settings(settings)
    app = Flask("flask_server", static_folder=None)
    app.extensions["router"] = router
    app.config.update(
        MAX_CONTENT_LENGTH=settings.max_body_bytes,
        MAX_FORM_MEMORY_SIZE=settings.max_body_bytes,
    )
    # A redirect would be an HTML page, and a POST would lose its body on the way.
    app.url_map.strict_slashes = False
    app.url_map.merge_slashes = False
    proxies.init_app(app, settings)
    # What runs before a request runs in this order; what runs after it, in the opposite one.
    correlation.init_app(app)
    telemetry.init_app(app)
    logs.init_app(app)
    metrics.init_app(app, router)
    timing.init_app(app)
    cors.init_app(app, settings, router.models)
    security.init_app(app, settings)
    problems.init_app(app)
    access.init_app(app, settings, router.models)
    limits.init_app(app, settings)
    # The routes; whatever else the router offers is one more file attached here.
    routes.init_app(app, router)
    support.init_app(app, router)
    health.init_app(app, router)
    page.init_app(app, settings)
    openapi.init_app(app, router)
    slashes.init_app(app)
    return app
