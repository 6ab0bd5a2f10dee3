"""Health check of a container: `python healthcheck.py PATH`; the program must answer on `$PORT` without failing."""

from __future__ import annotations

import http.client
import os
import sys


def main() -> int:
    """Return 0 if a GET is answered with a status below 500, else 1."""
    connection = http.client.HTTPConnection("127.0.0.1", int(os.environ["PORT"]), timeout=3)
    try:
        connection.request("GET", sys.argv[1])
        return int(connection.getresponse().status >= 500)
    except (OSError, http.client.HTTPException) as error:
        print(error, file=sys.stderr)
        return 1


if __name__ == "__main__":
    sys.exit(main())
