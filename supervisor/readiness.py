"""Ask the programs over HTTP how they are."""

from __future__ import annotations

import http.client
import json
import ssl
import urllib.error
import urllib.request
from typing import Any
from urllib.parse import quote

ASK_SECONDS = 2.0
NO_ANSWER = (OSError, ValueError, http.client.HTTPException)
"""Nobody there; no JSON; and what a server that is killed while it answers, or one of another protocol, leaves."""


def _opener() -> urllib.request.OpenerDirector:
    """For the supervisor's own programs: not by `http_proxy`, and the certificate may be for the name by which others ask."""
    unverified = ssl.create_default_context()
    unverified.check_hostname, unverified.verify_mode = False, ssl.CERT_NONE
    return urllib.request.build_opener(
        urllib.request.ProxyHandler({}), urllib.request.HTTPSHandler(context=unverified)
    )


_OPENER = _opener()


def available_versions(url: str, servable: str) -> tuple[int, ...]:
    """Versions of a servable that a model server has ready, newest first; none if it does not answer."""
    match _get(f"{url}/v1/models/{quote(servable, safe='')}"):
        case {"model_version_status": [*rows]}:
            return tuple(sorted((v for row in rows for v in _available(row)), reverse=True))
    return ()


def load_errors(url: str, servable: str) -> dict[int, str]:
    """Versions of a servable that a model server could not load, and why, in one line each."""
    errors = {}
    match _get(f"{url}/v1/models/{quote(servable, safe='')}"):
        case {"model_version_status": [*rows]}:
            for row in rows:
                match row:
                    case {
                        "version": str(version),
                        "state": "END",
                        "status": {"error_message": str(error)},
                    } if version.isdecimal() and error:
                        errors[int(version)] = " ".join(error.split())
    return errors


def _available(row: object) -> tuple[int, ...]:
    """The version of one row of a status, if it can be asked."""
    match row:
        case {"version": str(version), "state": "AVAILABLE"} if version.isdecimal():
            return (int(version),)
    return ()


def router_configuration(url: str) -> str | None:
    """The configuration by which all workers of the router answer; None if they differ, or nobody answers.

    `/readyz` tells it without an API key, and also while no model is available (503).
    """
    match _get(f"{url}/readyz"):
        case {"configuration": str(configuration)}:
            return configuration
    return None


def _get(url: str) -> Any:  # noqa: ANN401 - JSON
    try:
        with _open(url) as response:
            return json.load(response)
    except NO_ANSWER:
        return None


def _open(url: str) -> Any:  # noqa: ANN401 - a response, which urllib types loosely
    try:
        return _OPENER.open(url, timeout=ASK_SECONDS)
    except urllib.error.HTTPError as answer:  # a status above 399 has a body, too
        return answer
