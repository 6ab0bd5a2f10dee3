"""Where the time went, told to the browser: `Server-Timing`."""

from __future__ import annotations

from typing import TYPE_CHECKING

from flask_server.facts import facts

if TYPE_CHECKING:
    from flask import Flask, Response


def init_app(app: Flask) -> None:
    """Add `Server-Timing` and `X-Model-Version` to every answer of `app`."""
    app.after_request(_answer)


def _answer(response: Response) -> Response:
    current = facts()
    stages = {**current.stage_seconds, "total": current.total_seconds()}
    response.headers["Server-Timing"] = ", ".join(
        f"{name};dur={seconds * 1000:.2f}" for name, seconds in stages.items()
    )
    if current.version is not None:
        response.headers["X-Model-Version"] = str(current.version)
    return response
