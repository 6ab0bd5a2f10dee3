"""Where log lines go: standard error, one line each."""

from __future__ import annotations

import logging


def set_up_logging(level: str) -> None:
    """Attach the one handler; called by entry points only."""
    logging.basicConfig(
        level=level.upper(), format="%(asctime)s %(levelname)s %(name)s: %(message)s"
    )
    logging.captureWarnings(capture=True)
    logging.getLogger("gunicorn.error").setLevel(logging.WARNING)
