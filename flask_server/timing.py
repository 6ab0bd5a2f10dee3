"""Where the time went, told to the browser (`Server-Timing`) and to the log."""

from __future__ import annotations

import logging
from typing import TYPE_CHECKING

from flask_server.facts import facts

if TYPE_CHECKING:
    from flask import Flask, Response

_log = logging.getLogger(__name__)


def init_app(app: Flask) -> None:
    """Add `Server-Timing` to every answer of `app`, and log one line for each prediction."""
    app.after_request(_answer)


def _answer(response: Response) -> Response:
    current = facts()
    stages = {**current.stage_seconds, "total": current.total_seconds()}
    response.headers["Server-Timing"] = ", ".join(
        f"{name};dur={seconds * 1000:.2f}" for name, seconds in stages.items()
    )
    if current.version is not None:
        response.headers["X-Model-Version"] = str(current.version)
    if current.model is not None:
        _log_prediction(response.status_code, stages)
    return response


def _log_prediction(status: int, stages: dict[str, float]) -> None:
    current = facts()
    _log.info(
        "predict model=%s version=%s status=%d %s id=%s%s",
        current.model,
        current.version or "-",
        status,
        " ".join(f"{name}_ms={seconds * 1000:.1f}" for name, seconds in stages.items()),
        current.request_id,
        f" problem={current.problem!r}" if current.problem else "",
        extra={"facts": current, "status": status},
    )
