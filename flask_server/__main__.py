"""`python -m flask_server`: settings, logging, the production WSGI server."""

from __future__ import annotations

import sys

from flask_server.logging_setup import set_up_logging
from flask_server.settings import load_settings
from flask_server.wsgi_server import Server, check_port
from model_config import ConfigError


def main() -> int:
    """Serve until told to stop; a wrong configuration is one sentence and status 2."""
    try:
        settings = load_settings(sys.argv[1:])
        set_up_logging(settings.log_level)
        check_port(settings)
        server = Server(settings)
    except ConfigError as error:
        print(f"flask_server: {error}", file=sys.stderr)
        return 2
    server.run()
    return 0


if __name__ == "__main__":
    sys.exit(main())
