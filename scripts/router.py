"""Where the router is."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import argparse

HINT = "start the router with `make run`, or name its address with --url"


def add_url_argument(parser: argparse.ArgumentParser) -> None:
    """Offer `--url`."""
    port = os.environ.get("PORT") or "5000"
    parser.add_argument(
        "--url",
        default=f"http://127.0.0.1:{port}",
        help="the router (default: http://127.0.0.1:$PORT, which is now %(default)s)",
    )
