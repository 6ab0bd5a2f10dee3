"""Become another program that ends when its parent does: `python tether.py PARENT SIGNAL COMMAND [ARGUMENT …]`.

The supervisor starts every child through this, so that even `kill -9` of the supervisor leaves no orphan, whatever
the child is: our own programs, or the `tensorflow_model_server` binary. The kernel keeps the request over `execve`
(Linux, prctl(2), PR_SET_PDEATHSIG); other systems have no such thing, and there the program just runs.

A program that is asked to end by another signal than SIGTERM ignores that one: platforms such as Heroku send it to every
process at once, and whoever others need has to wait for its turn.
"""

from __future__ import annotations

import ctypes
import os
import signal
import sys

PR_SET_PDEATHSIG = 1


def main() -> None:
    """Ask for the signal at the parent's death, then become the command."""
    parent, asked_by, command = int(sys.argv[1]), int(sys.argv[2]), sys.argv[3:]
    if asked_by != signal.SIGTERM:
        signal.signal(signal.SIGTERM, signal.SIG_IGN)
    if sys.platform == "linux":
        ctypes.CDLL(None).prctl(PR_SET_PDEATHSIG, asked_by)
        if os.getppid() != parent:  # it died before the request was made
            sys.exit(1)
    os.execvp(command[0], command)  # noqa: S606 - the supervisor's own command line, no shell


if __name__ == "__main__":
    main()
