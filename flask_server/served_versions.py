"""Which versions of a model a replica serves, and what their signatures take."""

from __future__ import annotations

import time
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any
from urllib.parse import quote

from flask_server import tensor_text
from flask_server.errors import UnknownVersion, UpstreamError, UpstreamUnavailable
from flask_server.transport import Exchange

if TYPE_CHECKING:
    from collections.abc import Mapping

    from flask_server.replicas import Replica

PIXELS_SIGNATURE = "pixels"
TOP_SIGNATURE = "pixels_top"
_CHECK_SECONDS = 1.0
_STATUS_OF_ABSENT_LABEL = 400


@dataclass(frozen=True, slots=True)
class Call:
    """What one request wants of its model's servers, besides predictions."""

    deadline: float
    """In seconds of `time.monotonic`."""
    top: int | None = None
    """How many of the best classes are wanted, if no other scores are looked at."""
    version: int | None = None
    version_label: str | None = None
    affinity: str | None = None
    """Calls with the same one are given the same version label, where labels share the traffic."""
    headers: Mapping[str, str] = field(default_factory=dict)
    client: int | None = None
    """See `Exchange.client`."""

    def exchange(self, method: str, path: str, body: bytes | None = None) -> Exchange:
        """An exchange with a model server on behalf of this call, which is told how long we shall wait."""
        seconds = max(self.deadline - time.monotonic(), 0.0)
        headers = {**self.headers, "X-Request-Timeout": f"{seconds:.3f}"}
        if body is not None:
            headers["Content-Type"] = "application/json"
        return Exchange(method, path, self.deadline, headers, body, self.client)

    @property
    def target(self) -> str:
        """The part of the URL that names the version: empty for the newest."""
        if self.version is not None:
            return f"/versions/{self.version}"
        return f"/labels/{quote(self.version_label, safe='')}" if self.version_label else ""


@dataclass(frozen=True, slots=True)
class Served:
    """A version that a replica serves."""

    version: int
    signatures: Mapping[str, str | None]
    """Name -> dtype of its one input, such as DT_STRING; None if it has several."""
    top: int = 0
    """How many of the best classes its signature `pixels_top` tells; 0: it has none."""
    classes: int = 0
    """Of so many, where that is so."""


@dataclass(slots=True)
class _Entry:
    served: Served
    check_at: float


class ServedVersions:
    """Remembers what each replica serves of one model, and looks again every second and when told to.

    The predict answer does not say which version gave it. So the version is asked for first (the metadata names it),
    and then that very version is asked to predict; one question a second at most, and one more at a swap.
    """

    def __init__(self, servable: str) -> None:
        self.path = f"/v1/models/{quote(servable, safe='')}"
        self._entries: dict[tuple[str, str], _Entry] = {}

    def get(self, replica: Replica, call: Call) -> Served:
        """The version that the call means, on this replica.

        Raises:
            UnknownVersion: It names a version or label that is not served.
            UpstreamUnavailable: No version is available.
            ConnectionError, TimeoutError: See `Transport.exchange`.
        """
        entry = self._entries.get((replica.url, call.target))
        now = time.monotonic()
        if entry is not None and now < entry.check_at:
            return entry.served
        if entry is not None:
            entry.check_at = now + _CHECK_SECONDS  # the other threads go on with what is known
        return self.look_again(replica, call)

    def look_again(self, replica: Replica, call: Call) -> Served:
        """The same, asked anew."""
        answer = replica.exchange(call.exchange("GET", f"{self.path}{call.target}/metadata"))
        key = (replica.url, call.target)
        if answer.status != 200:
            self._entries.pop(key, None)
            raise _no_version(answer.status, call)
        served = _served(tensor_text.json_of(answer.body))
        self._entries[key] = _Entry(served, time.monotonic() + _CHECK_SECONDS)
        return served


def _no_version(status: int, call: Call) -> Exception:
    if call.target and status in (404, _STATUS_OF_ABSENT_LABEL):
        wanted = f"version {call.version}" if call.version else f"label '{call.version_label}'"
        return UnknownVersion(f"The model has no {wanted}; GET /models/ lists its versions.")
    return UpstreamUnavailable("The model has no version available now; try again in a moment.")


def _served(document: dict[str, Any]) -> Served:
    try:
        version = int(document["model_spec"]["version"])
        signatures = document["metadata"]["signature_def"]["signature_def"]
        dtypes = {name: _dtype(entry) for name, entry in signatures.items()}
        return Served(version, dtypes, *_top_and_classes(signatures))
    except (KeyError, TypeError, ValueError, AttributeError):
        raise UpstreamError("The model server's metadata cannot be understood.") from None


def _dtype(signature: Mapping[str, Any]) -> str | None:
    inputs = list(signature["inputs"].values())
    return str(inputs[0]["dtype"]) if len(inputs) == 1 else None


def _top_and_classes(signatures: Mapping[str, Any]) -> tuple[int, int]:
    """See `Served`; (0, 0) where the metadata does not tell."""
    try:
        top, classes = (
            int(signatures[name]["outputs"]["scores"]["tensor_shape"]["dim"][-1]["size"])
            for name in (TOP_SIGNATURE, PIXELS_SIGNATURE)
        )
    except (KeyError, IndexError, TypeError, ValueError):
        return 0, 0
    return (top, classes) if 0 < top <= classes else (0, 0)
