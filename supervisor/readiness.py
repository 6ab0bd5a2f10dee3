"""Ask the programs over HTTP how they are."""

from __future__ import annotations

import json
import urllib.error
import urllib.request
from typing import Any
from urllib.parse import quote

ASK_SECONDS = 2.0


def available_versions(url: str, servable: str) -> tuple[int, ...]:
    """Versions of a servable that a model server has ready, newest first; none if it does not answer."""
    status = _get(f"{url}/v1/models/{quote(servable, safe='')}")
    rows = status.get("model_version_status", []) if isinstance(status, dict) else []
    ready = (int(row["version"]) for row in rows if row.get("state") == "AVAILABLE")
    return tuple(sorted(ready, reverse=True))


def router_models(url: str) -> set[str] | None:
    """Names of the models that the router has routes for; None if it does not answer."""
    listing = _get(f"{url}/models/")
    return {row["name"] for row in listing} if isinstance(listing, list) else None


def _get(url: str) -> Any:  # noqa: ANN401 - JSON
    try:
        with urllib.request.urlopen(url, timeout=ASK_SECONDS) as response:  # noqa: S310 - http(s) from the plan
            return json.load(response)
    except (OSError, ValueError):
        return None
