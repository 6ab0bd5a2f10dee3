"""The food classifier's API: `POST /net/image/prediction/?image_link=…` answers one food and how sure the model is.

A few plain functions over the router's own `/food/predict/`, which does the work: this program only says the same in the
words that its clients know.

    .venv/bin/python examples/food_vision/food_vision.py --port 5001
"""

from __future__ import annotations

import argparse
import json
import os
import socket
import sys
from pathlib import Path
from typing import Any
from urllib.error import HTTPError
from urllib.parse import urlencode
from urllib.request import ProxyHandler, Request, build_opener

from flask import Flask, Response, request

TIMEOUT_SECONDS = 60.0
KEY_HEADERS = ("X-API-Key", "Authorization")
_straight = build_opener(
    ProxyHandler({})
).open  # whatever http_proxy says: the router is one of our own


def create_app(router: str) -> Flask:
    """The application, in front of the router at a base URL."""
    app = Flask("food_vision")

    @app.post("/net/image/prediction/")
    def prediction() -> Response:
        keys = {name: request.headers[name] for name in KEY_HEADERS if name in request.headers}
        return answer(*ask(router, request.args.get("image_link", ""), keys))

    @app.get("/")
    def hello() -> dict[str, str]:
        return {"message": "POST /net/image/prediction/?image_link=… with the URL of a picture."}

    return app


def ask(router: str, image_link: str, keys: dict[str, str]) -> tuple[int, Any]:
    """Have the router fetch and classify a picture for whoever these keys belong to; its status and JSON."""
    url = f"{router}/food/predict/?{urlencode({'top': 1, 'image_url': image_link})}"
    if not image_link:
        return 400, problem(400, "Say which picture: ?image_link=https://…")
    try:
        with _straight(Request(url, b"", keys), timeout=TIMEOUT_SECONDS) as response:  # noqa: S310 - the router's URL
            return response.status, json.load(response)
    except HTTPError as error:
        return error.code, json.load(error)
    except (OSError, ValueError):
        return 503, problem(503, f"The router at {router} does not answer; start it with make run.")


def problem(status: int, detail: str) -> dict[str, Any]:
    """A failure in the router's shape (RFC 9457)."""
    return {"type": "about:blank", "title": "Food vision", "status": status, "detail": detail}


def answer(status: int, content: Any) -> Response:  # noqa: ANN401 - JSON
    """The router's best label in this API's words, or its problem as it is."""
    if status != 200:
        return Response(json.dumps(content), status, content_type="application/problem+json")
    [[_, name, score]] = content
    words = {"model-prediction": name, "model-prediction-confidence-score": score}
    return Response(json.dumps(words), content_type="application/json")


def listen(host: str, port: int) -> socket.socket:
    """Take the port before anything else is said; gunicorn inherits it."""
    try:
        listener = socket.create_server((host, port))
    except (OSError, OverflowError) as error:
        reason = str(getattr(error, "strerror", error)).split(" (")[0].rstrip(".")
        sys.exit(f"{host}:{port} cannot be listened on: {reason}; choose another --port or --host.")
    listener.set_inheritable(True)
    return listener


def main() -> None:
    """Serve until stopped."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument(
        "--host", default="127.0.0.1", help="the address to listen on (default: %(default)s)"
    )
    parser.add_argument(
        "--port", type=int, default=5001, help="the port to listen on (default: %(default)s)"
    )
    parser.add_argument(
        "--router",
        default="http://127.0.0.1:5000",
        help="the router's base URL (default: %(default)s)",
    )
    arguments = parser.parse_args()
    listener = listen(arguments.host, arguments.port)
    print(f"food vision at http://{arguments.host}:{arguments.port}", flush=True)
    application = f"food_vision:create_app({arguments.router.rstrip('/')!r})"
    options = (
        f"--bind=fd://{listener.fileno()}",
        f"--chdir={Path(__file__).parent}",
        *("--threads=8", "--log-level=warning", "--no-control-socket"),
    )
    os.execv(sys.executable, [sys.executable, "-m", "gunicorn", *options, application])  # noqa: S606 - no shell is meant


if __name__ == "__main__":
    main()
