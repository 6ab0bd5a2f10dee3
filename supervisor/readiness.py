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
    """Names of the models that the router has routes for; None if it does not answer.

    `/readyz` tells them without an API key, and also while none of them is available (503).
    """
    told = _get(f"{url}/readyz")
    models = told.get("models") if isinstance(told, dict) else None
    return set(models) if isinstance(models, dict) else None


def _get(url: str) -> Any:  # noqa: ANN401 - JSON
    try:
        with urllib.request.urlopen(url, timeout=ASK_SECONDS) as response:  # noqa: S310 - http(s) from the plan
            return json.load(response)
    except urllib.error.HTTPError as answer:
        return _json_or_none(answer)
    except (OSError, ValueError):
        return None


def _json_or_none(answer: urllib.error.HTTPError) -> Any:  # noqa: ANN401 - JSON
    """What was answered together with a status above 399."""
    with answer:
        try:
            return json.load(answer)
        except (OSError, ValueError):
            return None
