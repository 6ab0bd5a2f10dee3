"""Ask a router for predictions, one request soon after another in each of some threads, until killed.

`python load.py URL THREADS FILE`: each answer becomes a line of FILE: when it came, its status (0: none), its seconds.
"""

from __future__ import annotations

import base64
import io
import json
import sys
import threading
import time
import urllib.error
import urllib.request
from pathlib import Path

from PIL import Image

PAUSE_SECONDS = 0.05
"""Many requests are wanted, not a busy machine."""


def photo() -> bytes:
    """The body of a request with one small picture."""
    file = io.BytesIO()
    Image.new("RGB", (12, 8), (250, 40, 10)).save(file, "PNG")
    return json.dumps({"b64": base64.b64encode(file.getvalue()).decode()}).encode()


def ask(url: str, body: bytes) -> int:
    """The status of one request."""
    request = urllib.request.Request(url, body, {"Content-Type": "application/json"})
    try:
        with urllib.request.urlopen(request, timeout=30) as response:
            response.read()
            return int(response.status)
    except urllib.error.HTTPError as error:
        return error.code
    except OSError:
        return 0


def keep_asking(url: str, results: Path) -> None:
    """Ask, write the line, and again."""
    body = photo()
    with results.open("a", buffering=1) as lines:
        while True:
            start = time.monotonic()
            status = ask(url, body)
            now = time.monotonic()
            lines.write(f"{now:.3f} {status} {now - start:.3f}\n")
            time.sleep(PAUSE_SECONDS)


def main() -> None:
    """Start the threads and wait to be killed."""
    url, threads, file = sys.argv[1:]
    for _ in range(int(threads)):
        threading.Thread(target=keep_asking, args=(url, Path(file)), daemon=True).start()
    threading.Event().wait()


if __name__ == "__main__":
    main()
