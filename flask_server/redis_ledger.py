"""The counts in Redis, for several machines. Its package is optional: `pip install redis`."""

from __future__ import annotations

import importlib
import logging
from typing import TYPE_CHECKING, Any
from urllib.parse import urlsplit

from flask_server.errors import LimitsUnavailable
from flask_server.ledger import spending
from model_config import ConfigError

if TYPE_CHECKING:
    from collections.abc import Sequence

    from flask_server.ledger import Limit, Spending

_TIMEOUT_SECONDS = 1.0
# Redis runs a script whole before it does anything else, and its clock is the same for all routers.
_SCRIPT = """
local now = tonumber(redis.call('TIME')[1])
local used, changes, allowed = {}, {}, true
for i = 1, #ARGV, 2 do
  local most, seconds = tonumber(ARGV[i]), tonumber(ARGV[i + 1])
  local window = math.floor(now / seconds)
  local known = redis.call('HMGET', KEYS[1], 'window' .. seconds, 'count' .. seconds)
  local count = tonumber(known[1]) == window and tonumber(known[2]) or 0
  allowed = allowed and count < most
  used[#used + 1] = count
  for _, part in ipairs({'window' .. seconds, window, 'count' .. seconds, count + 1}) do
    changes[#changes + 1] = part
  end
end
if allowed then
  redis.call('HSET', KEYS[1], unpack(changes))
  redis.call('EXPIRE', KEYS[1], 172800)
end
return {now, used}
"""
_log = logging.getLogger(__name__)


class RedisLedger:
    """See `Ledger`; each key is one hash, `keras-front-door:limits:<id>`."""

    def __init__(self, url: str) -> None:
        redis = _package()
        self._where = place_of(url)
        self._errors: type[Exception] = redis.RedisError
        try:
            client = redis.Redis.from_url(
                url, socket_timeout=_TIMEOUT_SECONDS, socket_connect_timeout=_TIMEOUT_SECONDS
            )
        except ValueError as error:
            raise ConfigError(f"REDIS_URL is not the address of a Redis server: {error}") from None
        self._script = client.register_script(_SCRIPT)

    def spend(self, key_id: str, limits: Sequence[Limit]) -> Spending:
        """See `Ledger.spend`."""
        arguments = [number for limit in limits for number in (limit.most, limit.seconds)]
        try:
            now, used = self._script(keys=[f"keras-front-door:limits:{key_id}"], args=arguments)
        except self._errors as error:
            _log.error("Redis at %s: %s", self._where, error)
            raise LimitsUnavailable("Rates and quotas cannot be checked now.") from None
        return spending(limits, used, now)


def place_of(url: str) -> str:
    """Host and port of a Redis URL, without its password."""
    parts = urlsplit(url)
    return f"{parts.hostname or parts.path}:{parts.port or 6379}"


def _package() -> Any:  # noqa: ANN401 - the package may be absent, and so are its types
    try:
        return importlib.import_module("redis")
    except ImportError:
        raise ConfigError(
            "REDIS_URL is set, but its client is missing: pip install redis."
        ) from None
