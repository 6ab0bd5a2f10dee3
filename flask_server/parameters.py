"""What a predict request asks for beside its images: `?top=`, `?version=`, `?version_label=`, a deadline."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

from flask_server.errors import InvalidRequest

if TYPE_CHECKING:
    from werkzeug import Request

TIMEOUT_HEADER = "X-Request-Timeout"
MOST_INTEGER = 2**63 - 1
"""The largest `top` and `version`."""
LONGEST_LABEL = 100
"""Characters of a label that a few-shot model is taught."""


def top_of(request: Request, default: int) -> int:
    """How many labels are wanted (`?top=`).

    Raises:
        InvalidRequest: It is no whole number from 1 up.
    """
    return _whole(request, "top") or default


def version_of(request: Request) -> tuple[int | None, str | None]:
    """The version or version label that is wanted; both None: the newest.

    Raises:
        InvalidRequest: Both are given, or one of them is none.
    """
    version, version_label = _whole(request, "version"), request.args.get("version_label")
    if version is not None and version_label is not None:
        raise InvalidRequest("Give 'version' or 'version_label', not both.")
    if version_label is not None and not re.fullmatch(r"[^\x00-\x1f/:\x7f]{1,200}", version_label):
        raise InvalidRequest("A version label is 1 to 200 characters without '/' and ':'.")
    return version, version_label


def timeout_of(request: Request) -> float | None:
    """In how many seconds the client wants an answer (`X-Request-Timeout`), if it says.

    Raises:
        InvalidRequest: It says something else.
    """
    text = request.headers.get(TIMEOUT_HEADER)
    if text is None:
        return None
    if not re.fullmatch(r"\d{1,6}(\.\d{1,6})?", text, re.ASCII) or float(text) == 0:
        raise InvalidRequest(
            f"{TIMEOUT_HEADER} must be a number of seconds from 0.000001 to 999999, such as 2.5."
        )
    return float(text)


def _whole(request: Request, name: str) -> int | None:
    text = request.args.get(name)
    if text is None:
        return None
    if not re.fullmatch(r"\d{1,19}", text, re.ASCII) or not 1 <= int(text) <= MOST_INTEGER:
        raise InvalidRequest(
            f"The parameter '{name}' must be a whole number from 1 to {MOST_INTEGER}."
        )
    return int(text)
