"""How often a key may call: rates and daily quotas, told in the RateLimit fields of an IETF draft.

The fields are those of draft-ietf-httpapi-ratelimit-headers-10
(https://datatracker.ietf.org/doc/draft-ietf-httpapi-ratelimit-headers/10/).
"""

from __future__ import annotations

from functools import partial
from typing import TYPE_CHECKING

from flask import g

from flask_server.errors import TooManyRequests
from flask_server.ledger import FileLedger
from flask_server.redis_ledger import RedisLedger

if TYPE_CHECKING:
    from flask import Flask, Response

    from flask_server.ledger import Ledger, Spending
    from flask_server.settings import Settings


def init_app(app: Flask, settings: Settings) -> None:
    """Count what `access` lets through to a model, and refuse what is over its key's limits.

    Raises:
        ConfigError: The counts cannot be kept where the settings say.
    """
    if settings.api_keys_file is None:
        return
    app.before_request(partial(_spend, ledger_of(settings)))
    app.after_request(_tell)


def ledger_of(settings: Settings) -> Ledger:
    """Where the counts are kept: Redis if there is a URL for it, else files that this machine's workers share."""
    if settings.redis_url:
        return RedisLedger(settings.redis_url)
    return FileLedger(settings.state_dir / "limits")


def _spend(ledger: Ledger) -> None:
    key = g.get("metered_key")
    if key is None or not key.limits:
        return
    g.spending = ledger.spend(key.id, key.limits)
    if not g.spending.allowed:
        raise _refusal(g.spending)


def _refusal(spending: Spending) -> TooManyRequests:
    used_up = [standing for standing in spending.standings if standing.left == 0]
    wait = max(standing.reset_seconds for standing in used_up)
    limits = " and ".join(standing.limit.sentence for standing in used_up)
    return TooManyRequests(
        f"This key may make {limits}; try again in {wait} s.",
        retry_after_seconds=wait,
        members={"violated-policies": [standing.limit.name for standing in used_up]},
    )


def _tell(response: Response) -> Response:
    spending: Spending | None = g.get("spending")
    if spending is not None:
        told = spending.standings
        response.headers["RateLimit-Policy"] = ", ".join(
            f'"{one.limit.name}";q={one.limit.most};w={one.limit.seconds}' for one in told
        )
        response.headers["RateLimit"] = ", ".join(
            f'"{one.limit.name}";r={one.left};t={one.reset_seconds}' for one in told
        )
    return response
