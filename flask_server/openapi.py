"""What the router offers, described for programs: `/openapi.json` (OpenAPI 3.1), and for people: `/docs`.

The document is made from the routes and models that the application has, whenever it is asked for.
"""

from __future__ import annotations

import inspect
import re
from importlib import resources
from pathlib import Path
from typing import TYPE_CHECKING

import orjson
from flask import Response, request

from flask_server.access import is_open
from flask_server.openapi_operations import known
from flask_server.openapi_schemas import ANY_FAILURE, HEADERS, SCHEMAS, SECURITY_SCHEMES, answer
from flask_server.page import file_response, html_page

if TYPE_CHECKING:
    from collections.abc import Iterator

    from flask import Flask
    from werkzeug.routing import Rule

    from flask_server.openapi_schemas import Json
    from flask_server.router import Router

_NOT_THE_API = {"metrics", "page", "sample", "static", "openapi", "docs", "docs_asset"}
_WITH_KEY: list[Json] = [{name: []} for name in SECURITY_SCHEMES]
_SWAGGER_UI = Path(str(resources.files("flask_swagger_ui") / "dist"))


def init_app(app: Flask, router: Router) -> None:
    """Attach the document and Swagger UI."""

    def openapi() -> Response:
        return Response(orjson.dumps(document(app, router)), content_type="application/json")

    def docs() -> Response:
        return html_page("docs.html")

    def docs_asset(filename: str) -> Response:
        return file_response(_SWAGGER_UI, filename, max_age=3600)

    app.add_url_rule("/openapi.json", view_func=openapi)
    app.add_url_rule("/docs", view_func=docs)
    app.add_url_rule("/docs/<path:filename>", view_func=docs_asset)


def document(app: Flask, router: Router) -> Json:
    """The OpenAPI document of `app`; needs the context of a request."""
    paths: Json = {}
    for rule in app.url_map.iter_rules():
        if rule.endpoint not in _NOT_THE_API:
            paths.setdefault(_path(rule), {}).update(_operations(app, router, rule))
    return {
        "openapi": "3.1.0",
        "info": {"title": "Labels for pictures", "version": "1", "summary": "A route per model."},
        "servers": [{"url": request.script_root or "/"}],
        "paths": paths,
        "components": {"schemas": SCHEMAS, "headers": HEADERS, "securitySchemes": SECURITY_SCHEMES},
        "security": _WITH_KEY if router.settings.api_keys_file else [],
    }


def _path(rule: Rule) -> str:
    """`/files/<path:name>` -> `/files/{name}`."""
    return re.sub(r"<(?:[^:<>]+:)?([^<>]+)>", r"{\1}", rule.rule)


def _operations(app: Flask, router: Router, rule: Rule) -> Iterator[tuple[str, Json]]:
    for method in (rule.methods or set()) - {"HEAD", "OPTIONS"}:
        yield method.lower(), _operation(app, rule, method) | known(rule.endpoint, router)


def _operation(app: Flask, rule: Rule, method: str) -> Json:
    """What can be said of any route."""
    view = app.view_functions[rule.endpoint]
    told = inspect.getdoc(getattr(view, "func", view)) or rule.endpoint
    return {
        "operationId": re.sub(r"[^\w.-]", "_", f"{method.lower()}_{rule.endpoint}"),
        "summary": told.partition("\n")[0],
        "responses": {"200": answer({}, "What was asked for."), **ANY_FAILURE},
        **({"security": []} if is_open(rule.rule) else {}),
    }
