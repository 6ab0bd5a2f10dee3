"""A small real HTTP server that speaks the predict, status and metadata routes of TensorFlow Serving's REST API.

Its model tells how red, green and blue an image is: three scores between 0 and 1. Tests start it in a thread
(`ToyModelServer`) or as a process of its own (`python toy_model_server.py --port N`), which can be killed.
"""

from __future__ import annotations

import argparse
import base64
import contextlib
import json
import re
import socket
import threading
import time
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

LABELS = ["red", "green", "blue"]
FLOATS = {"inputs": {"input_image": {"dtype": "DT_FLOAT"}}}
BYTES = {"inputs": {"raw": {"dtype": "DT_STRING"}}}


def with_scores(signature: dict[str, Any], size: int) -> dict[str, Any]:
    """The signature's metadata with an output of so many scores a row."""
    shape = {"dim": [{"size": "-1"}, {"size": str(size)}]}
    return {**signature, "outputs": {"scores": {"tensor_shape": shape}}}


WITH_TOP = {
    "serving_default": FLOATS,
    "pixels": with_scores(BYTES, 3),
    "pixels_top": with_scores(BYTES, 2),
}
"""What a model has that tells its two best classes in a signature of their own."""


@dataclass
class ToyModel:
    """What the server serves; a test may change it while it runs."""

    versions: list[int] = field(default_factory=lambda: [1])
    errors: dict[int, str] = field(default_factory=dict)
    """Why versions beside those could not be loaded."""
    labels: dict[str, int] = field(default_factory=dict)
    signatures: dict[str, Any] = field(
        default_factory=lambda: {"serving_default": FLOATS, "pixels": BYTES}
    )
    delay_seconds: float = 0.0
    answer: tuple[int, bytes] | None = None
    """Status and body to answer every prediction with instead."""
    reversed_version: int | None = None
    """A version that gives its scores in the opposite order."""
    slow_version: int | None = None
    """A version whose predictions wait until `released` is set."""
    released: threading.Event = field(default_factory=threading.Event)
    requests: list[dict[str, Any]] = field(default_factory=list)
    """The bodies, paths and headers of the predictions asked for."""


def colours(instance: Any) -> list[float]:
    """The mean of each channel, 0 to 1, of raw RGB bytes or of nested lists [H, W, 3] of 0 to 255."""
    if isinstance(instance, dict):
        raw = base64.b64decode(instance["b64"])
        return [sum(raw[channel::3]) / (len(raw) // 3) / 255 for channel in range(3)]
    pixels = [pixel for row in instance for pixel in row]
    return [sum(pixel[channel] for pixel in pixels) / len(pixels) / 255 for channel in range(3)]


def best_two(scores: list[float]) -> dict[str, Any]:
    """A row of the signature `pixels_top`."""
    classes = sorted(range(len(scores)), key=lambda number: -scores[number])[:2]
    return {"scores": [scores[number] for number in classes], "classes": classes}


class _Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    wbufsize = -1  # head and body in one packet
    disable_nagle_algorithm = True
    server: ToyModelServer

    def log_message(self, *_: Any) -> None:
        """Say nothing."""

    def answer(self, status: int, document: Any) -> None:
        body = document if isinstance(document, bytes) else json.dumps(document).encode()
        self.send_response(status)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def version(self, target: str | None) -> int | None:
        model = self.server.model
        if not target:
            return max(model.versions, default=None)
        kind, _, name = target.strip("/").partition("/")
        wanted = int(name) if kind == "versions" else model.labels.get(name)
        return wanted if wanted in model.versions else None

    def do_GET(self) -> None:
        match = re.fullmatch(
            r"/v1/models/([^/:]+)((?:/versions|/labels)/[^/:]+)?(/metadata)?", self.path
        )
        if self.path == "/requests":
            return self.answer(200, len(self.server.model.requests))
        if match is None:
            return self.answer(400, {"error": "Malformed request"})
        _, target, metadata = match.groups()
        if not metadata:
            states: list[dict[str, Any]]
            states = [{"version": str(v), "state": "AVAILABLE"} for v in self.server.model.versions]
            for number, error in self.server.model.errors.items():
                status = {"error_code": "NOT_FOUND", "error_message": error}
                states.append({"version": str(number), "state": "END", "status": status})
            return self.answer(200, {"model_version_status": states})
        version = self.version(target)
        if version is None:
            return self.answer(404, {"error": "Servable not found"})
        return self.answer(
            200,
            {
                "model_spec": {"name": "toy", "signature_name": "", "version": str(version)},
                "metadata": {"signature_def": {"signature_def": self.server.model.signatures}},
            },
        )

    def do_POST(self) -> None:
        body = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
        model = self.server.model
        model.requests.append({"path": self.path, "headers": dict(self.headers), **body})
        match = re.fullmatch(
            r"/v1/models/([^/:]+)((?:/versions|/labels)/[^/:]+)?:predict", self.path
        )
        if match is None or self.version(match.group(2)) is None:
            return self.answer(404, {"error": "Servable not found"})
        version = self.version(match.group(2))
        if version == model.slow_version:
            model.released.wait(30)
        time.sleep(model.delay_seconds)
        if model.answer is not None:
            return self.answer(*model.answer)
        rows = [colours(one) for one in body["instances"]]
        if version == model.reversed_version:
            rows = [row[::-1] for row in rows]
        if body["signature_name"] == "pixels_top":
            return self.answer(200, {"predictions": [best_two(row) for row in rows]})
        return self.answer(200, {"predictions": rows})


class ToyModelServer(ThreadingHTTPServer):
    """Serves one `ToyModel` under any name until the block ends."""

    daemon_threads = True
    request_queue_size = 128

    def __init__(self, port: int = 0, host: str = "127.0.0.1") -> None:
        self.model = ToyModel()
        self.connections: list[socket.socket] = []
        super().__init__((host, port), _Handler)
        self.url = f"http://{host}:{self.server_port}"

    def get_request(self) -> tuple[socket.socket, Any]:
        """Remember each connection, so that `hang_up` can close it."""
        connection, address = super().get_request()
        self.connections.append(connection)
        return connection, address

    def handle_error(self, *_: Any) -> None:
        """A client that hangs up is none of its business."""

    def hang_up(self) -> None:
        """Close every connection that clients keep open."""
        for connection in self.connections:
            with contextlib.suppress(OSError):
                connection.shutdown(socket.SHUT_RDWR)
        self.connections.clear()

    def __enter__(self) -> ToyModelServer:
        threading.Thread(target=self.serve_forever, args=(0.01,), daemon=True).start()
        return self

    def __exit__(self, *_: object) -> None:
        self.shutdown()
        self.server_close()
        self.hang_up()


def main() -> None:
    """Serve on a port until killed."""
    parser = argparse.ArgumentParser()
    parser.add_argument("--port", type=int, required=True)
    parser.add_argument("--host", default="127.0.0.1")
    parser.add_argument("--delay", type=float, default=0.0)
    options = parser.parse_args()
    server = ToyModelServer(options.port, options.host)
    server.model.delay_seconds = options.delay
    server.serve_forever()


if __name__ == "__main__":
    main()
