"""Who may call: API keys, if the settings name a file of them."""

from __future__ import annotations

import logging
from functools import partial
from typing import TYPE_CHECKING

from flask import g, request

from flask_server.api_keys import KeyRing
from flask_server.errors import AccessDenied, KeyRequired
from flask_server.facts import facts
from flask_server.redis_server import place_of

if TYPE_CHECKING:
    from collections.abc import Container

    from flask import Flask, Response

    from flask_server.settings import Settings

# The first part of each path that needs no key: probes must work without one, and a page that asks for a key, its
# scripts and the description of the API tell nothing secret. Every other route needs a key. No model may have one of
# these names: see model_config.
_OPEN = frozenset({"", "docs", "hello", "livez", "openapi.json", "readyz", "samples", "static"})
METRICS = "/metrics"
_THIS_MACHINE = frozenset({"127.0.0.1", "::1", "localhost"})
_HOW_TO_CLOSE = "set API_KEYS_FILE to ask for API keys (docs/access.md)"
_CHALLENGE = 'Bearer realm="keras-front-door"'
_log = logging.getLogger(__name__)


def init_app(app: Flask, settings: Settings, models: Container[str]) -> None:
    """Ask for a key on every route of `app` that is not open.

    Raises:
        ConfigError: The file of keys is absent or wrong.
    """
    if settings.api_keys_file is None:
        return
    app.before_request(partial(_check, KeyRing(settings.api_keys_file), models))
    app.after_request(_challenge)


def is_open(rule: str) -> bool:
    """Whether the routes of this URL rule need no key."""
    return rule.split("/")[1] in _OPEN


def announce(settings: Settings) -> None:
    """Say in the log whether the API is open; louder if it is open to other machines."""
    if settings.api_keys_file is None:
        level = logging.INFO if settings.host in _THIS_MACHINE else logging.WARNING
        _log.log(level, "access: open to anyone who reaches %s; %s", settings.host, _HOW_TO_CLOSE)
        return
    redis = settings.redis_url
    kept = f"Redis, {place_of(redis)}" if redis else f"{settings.state_dir}"
    keys = settings.api_keys_file
    _log.info("access: only with an API key of %s; rates and quotas are counted in %s", keys, kept)


def _check(ring: KeyRing, models: Container[str]) -> None:
    """Raise unless the request may go on; what a model is asked is left for `limits` to count."""
    if request.method == "OPTIONS" or request.url_rule is None:
        return  # a preflight cannot carry a key; what is no route is a 404 for everyone
    rule = request.url_rule.rule
    if is_open(rule):
        return
    part = rule.split("/")[1]
    if part in models:
        facts().model = part
    key = ring.find(_presented())
    if key is None:
        raise KeyRequired(
            "Send a valid API key in the header 'Authorization: Bearer …' or 'X-API-Key'."
        )
    facts().key_name = key.name
    if part in models:
        g.metered_key = key
    if not (key.metrics if rule == METRICS else part not in models or key.may_call(part)):
        raise AccessDenied(f"The API key '{key.name}' is not for this route.")


def _presented() -> str:
    """The key that came with the request, or nothing; one in the URL does not count, for URLs end up in logs."""
    scheme, _, token = request.headers.get("Authorization", "").partition(" ")
    if scheme.lower() == "bearer":
        return token.strip()
    return request.headers.get("X-API-Key", "").strip()


def _challenge(response: Response) -> Response:
    """Say how to authenticate (RFC 6750, section 3)."""
    if response.status_code == 401:
        wrong = ', error="invalid_token"' if _presented() else ""
        response.headers["WWW-Authenticate"] = _CHALLENGE + wrong
    return response
