"""What the router offers, described for programs: `/openapi.json` (OpenAPI 3.1), and for people: `/docs`.

The document is made from the routes and models that the application has, whenever it is asked for.
"""

from __future__ import annotations

import inspect
import re
from importlib import resources
from typing import TYPE_CHECKING

import orjson
from flask import Response, request, send_from_directory

from flask_server.access import is_open
from flask_server.openapi_schemas import (
    HEADERS,
    SCHEMAS,
    SECURITY_SCHEMES,
    answer,
    failures,
    predict_parameters,
    problem_answer,
    query_parameter,
    request_body,
)
from flask_server.page import html_page

if TYPE_CHECKING:
    from collections.abc import Iterator

    from flask import Flask
    from werkzeug.routing import Rule

    from flask_server.models import Model
    from flask_server.openapi_schemas import Json
    from flask_server.router import Router

_NOT_THE_API = {"metrics", "page", "sample", "static", "openapi", "docs", "docs_asset"}
_EXAMPLE_SCORES = (0.87, 0.08, 0.03, 0.015, 0.005)
_SWAGGER_UI = resources.files("flask_swagger_ui") / "dist"


def init_app(app: Flask, router: Router) -> None:
    """Attach the document and Swagger UI."""

    def openapi() -> Response:
        return Response(orjson.dumps(document(app, router)), content_type="application/json")

    def docs() -> Response:
        return html_page("docs.html")

    def docs_asset(filename: str) -> Response:
        return send_from_directory(str(_SWAGGER_UI), filename, max_age=3600)

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
    model = router.models.get(rule.endpoint.removeprefix("predict "))
    for method in (rule.methods or set()) - {"HEAD", "OPTIONS"}:
        known = _predict(model) if model else _DESCRIBED.get(rule.endpoint, {})
        yield method.lower(), _operation(app, rule, method) | known


def _operation(app: Flask, rule: Rule, method: str) -> Json:
    """What can be said of any route."""
    view = app.view_functions[rule.endpoint]
    told = inspect.getdoc(getattr(view, "func", view)) or rule.endpoint
    return {
        "operationId": re.sub(r"\W", "_", f"{method.lower()}_{rule.endpoint}"),
        "summary": told.partition("\n")[0],
        "responses": {"200": answer({}, "What was asked for."), "default": _DEFAULT},
        **({"security": []} if is_open(rule.rule) else {}),
    }


_WITH_KEY: list[Json] = [{name: []} for name in SECURITY_SCHEMES]
_WHATEVER: Json = {"description": "Whatever the model's own decode function makes."}
_DEFAULT = problem_answer("default", [])
_UNREADY = {
    "404": problem_answer(404, ["Unknown model"]),
    "503": problem_answer(503, ["Not ready", "Draining"]),
}
_DESCRIBED: dict[str, Json] = {
    "hello": {
        "responses": {
            "200": answer({"type": "object", "required": ["message"]}, "A greeting."),
            "default": _DEFAULT,
        },
    },
    "models": {
        "responses": {
            "200": answer(
                {"type": "array", "items": {"$ref": "#/components/schemas/Model"}}, "The models."
            ),
            "default": _DEFAULT,
        },
    },
    "livez": {
        "summary": "Whether the router lives.",
        "responses": {
            "200": answer({"type": "object", "required": ["status"]}, "It does."),
            "default": _DEFAULT,
        },
    },
    "readyz": {
        "summary": "Whether the router, or one model, can answer predictions.",
        "parameters": [query_parameter("model", "Ask for this model only.")],
        "responses": {
            "200": answer({"$ref": "#/components/schemas/Readiness"}, "It can."),
            **_UNREADY,
            "default": _DEFAULT,
        },
    },
}


def _predict(model: Model) -> Json:
    return {
        "tags": ["predict"],
        "summary": f"Ask {model.config.name} what pictures show.",
        "description": _description(model),
        "parameters": predict_parameters(),
        "requestBody": request_body(),
        "responses": {"200": _labels(model), **_failures(), "default": _DEFAULT},
    }


def _description(model: Model) -> str:
    config = model.config
    height, width = config.input_size or ("?", "?")
    return (
        f"Send any picture: the router scales it to the {width} x {height} pixels ({config.color_mode}) that the model"
        f" was trained with. The best {min(config.top, len(config.labels)) or config.top} of its labels are answered,"
        " or as many as `top` says."
    )


def _labels(model: Model) -> Json:
    """The answer to one picture, or to several: in the place of a bad one stands its problem."""
    own = ":" in model.config.decode
    one = _WHATEVER if own else {"$ref": "#/components/schemas/Labels"}
    item = {"anyOf": [one, {"$ref": "#/components/schemas/Problem"}]}
    several = {"type": "array", "items": item, "description": "One for each of the `instances`."}
    return answer(
        {"anyOf": [one, several]},
        "The labels of the picture, or of each picture.",
        headers={"X-Model-Version": {"$ref": "#/components/headers/Model-Version"}},
        example=None if own else _example(model),
    )


def _example(model: Model) -> list[list[str | float]]:
    """An answer with labels that the model has."""
    best = zip(model.config.labels, _EXAMPLE_SCORES[: model.config.top], strict=False)
    return [[label.id, label.name, score] for label, score in best]


def _failures() -> Json:
    """Each status of the error tree."""
    return {
        str(status): problem_answer(status, [kind.title for kind in kinds])
        for status, kinds in failures().items()
    }
