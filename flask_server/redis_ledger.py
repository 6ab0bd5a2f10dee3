"""The counts in Redis, for several machines."""

from __future__ import annotations

from typing import TYPE_CHECKING

from flask_server.errors import LimitsUnavailable
from flask_server.ledger import spending
from flask_server.redis_server import RedisServer

if TYPE_CHECKING:
    from collections.abc import Sequence

    from flask_server.ledger import Limit, Spending

# Redis runs a script whole before it does anything else, and its clock is the same for all routers.
_SCRIPT = """
local now = tonumber(redis.call('TIME')[1])
local used, changes, allowed = {}, {}, true
for i = 1, #ARGV, 2 do
  local most, seconds = tonumber(ARGV[i]), tonumber(ARGV[i + 1])
  local window = math.floor(now / seconds)
  local known = redis.call('HMGET', KEYS[1], 'window' .. seconds, 'count' .. seconds)
  if tonumber(known[1]) == window + 1 then window = window + 1 end -- see FileLedger
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


class RedisLedger:
    """See `Ledger`; each key is one hash, `keras-front-door:limits:<id>`."""

    def __init__(self, url: str) -> None:
        self._server = RedisServer(url)
        self._script = self._server.client.register_script(_SCRIPT)

    def spend(self, key_id: str, limits: Sequence[Limit]) -> Spending:
        """See `Ledger.spend`."""
        arguments = [number for limit in limits for number in (limit.most, limit.seconds)]
        now, used = self._server.ask(
            lambda: self._script(keys=[f"keras-front-door:limits:{key_id}"], args=arguments),
            LimitsUnavailable("Rates and quotas cannot be checked now."),
        )
        return spending(limits, used, now)
