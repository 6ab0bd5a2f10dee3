"""The application as gunicorn serves it: what gunicorn finds wrong with a body while it is read is answered too."""

from __future__ import annotations

import logging
from typing import TYPE_CHECKING

from gunicorn.http.errors import ParseException

from flask_server.app import create_app
from flask_server.errors import InvalidRequest
from flask_server.problems import answer_router_error
from model_config import ConfigError

if TYPE_CHECKING:
    from flask import Flask, Response

    from flask_server.settings import Settings
    from flask_server.worker_board import WorkerBoard

_log = logging.getLogger(__name__)


def served_app(settings: Settings, board: WorkerBoard) -> Flask:
    """See `create_app`."""
    app = create_app(settings)
    app.extensions["router"].health.all_answer_by = board.all_answer_by
    app.register_error_handler(ParseException, _answer_broken_body)
    return app


def reread_app(settings: Settings, board: WorkerBoard) -> Flask | None:
    """The same by what the files say now; None if they are wrong, which the log then tells."""
    try:
        return served_app(settings, board)
    except ConfigError as error:
        _log.error("nothing was changed: %s", error)
    except Exception:  # noqa: BLE001 - what serves must not end by a file that is wrong
        _log.exception("nothing was changed")
    return None


def _answer_broken_body(_: Exception) -> Response:
    return answer_router_error(InvalidRequest("The body breaks off or is not framed as HTTP says."))
