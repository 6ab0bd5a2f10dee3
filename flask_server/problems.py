"""Every failure as an RFC 9457 problem details document, whoever raised it."""

from __future__ import annotations

import logging
import re
from http import HTTPStatus
from typing import TYPE_CHECKING, Any

import orjson
from flask import Response
from werkzeug.exceptions import HTTPException, MethodNotAllowed, NotFound, RequestEntityTooLarge

from flask_server.errors import RouterError, TooLarge
from flask_server.facts import facts

if TYPE_CHECKING:
    from flask import Flask

CONTENT_TYPE = "application/problem+json"
_NO_ROUTE = "There is no such route; GET /models/ lists the models and their routes."
_log = logging.getLogger(__name__)


def problem(error: RouterError) -> dict[str, Any]:
    """The members of a failure: type, title, status and detail."""
    return document(error.status, error.title, str(error))


def document(status: int, title: str, detail: str) -> dict[str, Any]:
    """A problem details document (RFC 9457, section 3.1)."""
    name = re.sub(r"[^a-z0-9]+", "-", title.lower())
    return {
        "type": f"urn:keras-front-door:{name}",
        "title": title,
        "status": status,
        "detail": detail,
    }


def init_app(app: Flask) -> None:
    """Answer every failure of `app` in this one shape."""
    app.register_error_handler(RouterError, answer_router_error)
    app.register_error_handler(HTTPException, _answer_http_exception)
    app.register_error_handler(Exception, _answer_unexpected)


def answer_router_error(error: RouterError) -> Response:
    """The answer to a request that cannot be answered."""
    response = _response(problem(error) | error.members)
    if error.retry_after_seconds is not None:
        response.headers["Retry-After"] = str(error.retry_after_seconds)
    return response


def _answer_http_exception(error: HTTPException) -> Response:
    if isinstance(error, RequestEntityTooLarge):
        return answer_router_error(
            TooLarge("The request body is larger, or has more parts, than this router takes.")
        )
    detail = _NO_ROUTE if isinstance(error, NotFound) else error.description or error.name
    response = _response(document(error.code or 500, error.name, detail))
    if isinstance(error, MethodNotAllowed) and error.valid_methods:
        response.headers["Allow"] = ", ".join(sorted(error.valid_methods))
    return response


def _answer_unexpected(_: Exception) -> Response:
    _log.exception("unexpected failure, request_id=%s", facts().request_id)
    title = HTTPStatus.INTERNAL_SERVER_ERROR.phrase
    return _response(document(500, title, "Something went wrong here; the log says what."))


def _response(members: dict[str, Any]) -> Response:
    members["request_id"] = facts().request_id
    facts().problem = members["title"]
    return Response(orjson.dumps(members), status=members["status"], content_type=CONTENT_TYPE)
