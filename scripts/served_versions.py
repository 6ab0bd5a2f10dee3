"""What model servers say of a model's versions, over TensorFlow Serving's REST API."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, cast
from urllib.parse import quote

from scripts.command_line import UserError
from scripts.http_request import ask
from scripts.model_server import HINT, model_server_urls

if TYPE_CHECKING:
    from model_config import ModelConfig


@dataclass(frozen=True)
class VersionState:
    """How a version stands on one server."""

    state: str
    """START, LOADING, AVAILABLE, UNLOADING or END."""
    error: str
    """Why it could not be loaded, or nothing."""


def model_servers(config: ModelConfig) -> tuple[str, ...]:
    """The base URLs of its model servers; none if nobody has written down where it is served."""
    try:
        return model_server_urls(config)
    except UserError:
        return ()


def model_url(base_url: str, servable: str) -> str:
    """The URL of a model on a server."""
    return f"{base_url.rstrip('/')}/v1/models/{quote(servable, safe='')}"


def served_signatures(url: str, hint: str = HINT) -> dict[str, Any]:
    """The signatures of a model, or of one of its versions, at a URL of a model server.

    Raises:
        UserError: Nobody answers there, or no model server.
    """
    metadata = ask(f"{url.rstrip('/')}/metadata", hint=hint)
    match metadata:
        case {"metadata": {"signature_def": {"signature_def": dict(signatures)}}}:
            return signatures
    raise UserError(f"{url} answers no model server's metadata: {str(metadata)[:200]}")


def states(base_url: str, servable: str) -> dict[int, VersionState] | None:
    """The state of each version that a server has heard of; None if it does not answer."""
    try:
        answer = ask(model_url(base_url, servable), hint=HINT)
    except UserError:
        return None
    rows = answer.get("model_version_status", []) if isinstance(answer, dict) else []
    return {int(row["version"]): _state(row) for row in rows}


def label_version(base_url: str, servable: str, label: str) -> int | None:
    """The version that bears a label on a server; None if none does."""
    try:
        metadata = ask(f"{model_url(base_url, servable)}/labels/{quote(label)}/metadata", hint=HINT)
    except UserError:
        return None
    match metadata:
        case {"model_spec": {"version": version}}:
            return int(cast(str, version))
    return None


def _state(row: dict[str, object]) -> VersionState:
    match row:
        case {"state": str(state), "status": {"error_message": str(error)}}:
            return VersionState(state, error)
    return VersionState(str(row.get("state", "UNKNOWN")), "")
