"""Ask the programs over HTTP how they are."""

from __future__ import annotations

import http.client
import json
import ssl
import urllib.error
import urllib.request
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any
from urllib.parse import quote

if TYPE_CHECKING:
    from collections.abc import Iterator

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


@dataclass(frozen=True, slots=True)
class VersionState:
    """How a version stands on a model server."""

    is_available: bool
    error: str
    """Why it could not be loaded, in one line; or nothing."""


def version_states(url: str, servable: str) -> dict[int, VersionState]:
    """What a model server says of the versions of a servable; nothing if it does not answer."""
    match _get(f"{url}/v1/models/{quote(servable, safe='')}"):
        case {"model_version_status": [*rows]}:
            return dict(state for row in rows for state in _state(row))
    return {}


def available_versions(url: str, servable: str) -> tuple[int, ...]:
    """Versions of a servable that a model server has ready, newest first; none if it does not answer."""
    states = version_states(url, servable)
    return tuple(sorted((v for v in states if states[v].is_available), reverse=True))


def _state(row: object) -> Iterator[tuple[int, VersionState]]:
    """The version of one row of a status, if it is one."""
    match row:
        case {"version": str(version), "state": "END", "status": {"error_message": str(error)}} if (
            version.isdecimal()
        ):
            yield int(version), VersionState(False, " ".join(error.split()))
        case {"version": str(version), "state": str(state)} if version.isdecimal():
            yield int(version), VersionState(state == "AVAILABLE", "")


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
