"""What every script does with its arguments and with a person's mistakes."""

from __future__ import annotations

import argparse
import errno
import io
import os
import re
import signal
import sys
from typing import TYPE_CHECKING, NoReturn

from model_config import ConfigError
from serving.export.versions import ExportError

if TYPE_CHECKING:
    from collections.abc import Callable
    from types import FrameType


_NO_ROOM = (errno.ENOSPC, errno.EDQUOT)


class UserError(Exception):
    """Something that the person at the keyboard can put right; the message is one sentence that says how."""

    status = 1


def run(main: Callable[[], None]) -> NoReturn:
    """Run a script's `main`; a mistake is one sentence on standard error and an exit status, no traceback.

    SIGTERM ends it as Ctrl-C does: what is half done (a draft, a download of Keras') is removed on the way out.
    """
    signal.signal(signal.SIGTERM, _interrupt)
    if isinstance(sys.stdout, io.TextIOWrapper):  # a file's name need not be text
        sys.stdout.reconfigure(errors="backslashreplace")
    try:
        main()
        sys.stdout.flush()
    except (UserError, ConfigError, ExportError) as error:
        print(error, file=sys.stderr)
        sys.exit(getattr(error, "status", 1))
    except KeyboardInterrupt as interrupt:
        sys.exit(128 + (interrupt.args[0] if interrupt.args else signal.SIGINT))
    except BrokenPipeError:  # somebody's `| head` has read enough
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        sys.exit(0)
    except OSError as error:
        if error.errno in _NO_ROOM:
            print(f"{error.strerror}; make room, and run it again.", file=sys.stderr)
        elif error.filename is None:  # nothing that a person has named
            raise
        else:
            print(f"{error.filename}: {error.strerror}; name another path.", file=sys.stderr)
        sys.exit(1)
    sys.exit(0)


def _interrupt(number: int, _frame: FrameType | None) -> NoReturn:
    signal.signal(number, signal.SIG_IGN)  # told again, it still removes what it has to
    raise KeyboardInterrupt(number)


def whole_number(text: str, least: int = 1, most: int = 1_000_000) -> int:
    """The type of an argument that counts something."""
    if not re.fullmatch(r"[0-9]{1,10}", text) or not least <= int(text) <= most:
        raise argparse.ArgumentTypeError(f"'{text}' is not a whole number from {least} to {most}")
    return int(text)


def seed_number(text: str) -> int:
    """The type of a seed, as NumPy takes it."""
    return whole_number(text, least=0, most=2**32 - 1)


def share(text: str) -> float:
    """The type of an argument that is a part of a whole."""
    if not re.fullmatch(r"(0|1|0?\.[0-9]{1,9}|[01]\.0*)", text):
        raise argparse.ArgumentTypeError(f"'{text}' is not a number from 0 to 1, such as 0.95")
    return float(text)


def counted(number: int, noun: str) -> str:
    """`1 picture`, `2 pictures`."""
    return f"{number} {noun}{'' if number == 1 else 's'}"
