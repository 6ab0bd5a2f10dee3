"""`python -m flask_server`: settings, logging, the production WSGI server."""

from __future__ import annotations

import os
import sys

from flask_server.logs import set_up_logging
from flask_server.metrics import FOLDER_VARIABLE
from flask_server.run_folder import run_folder
from flask_server.settings import load_settings
from flask_server.wsgi_server import Server, check_port, check_tls
from model_config import ConfigError


def main() -> int:
    """Serve until told to stop; a wrong configuration is one sentence and status 2."""
    try:
        settings = load_settings(sys.argv[1:])
        set_up_logging(settings.log_level, settings.log_format)
        check_port(settings)
        check_tls(settings)
        with run_folder() as folder:
            # Read by prometheus_client: see flask_server/metrics.py.
            os.environ[FOLDER_VARIABLE] = str(folder)
            Server(settings).run()
    except ConfigError as error:
        print(f"flask_server: {error}", file=sys.stderr)
        return 2
    return 0


if __name__ == "__main__":
    sys.exit(main())
