"""The pictures that people have named, in Redis: routers on several machines teach and ask the same models."""

from __future__ import annotations

from collections import Counter
from typing import TYPE_CHECKING, Any

from flask_server.errors import SupportUnavailable, TooLarge, UnknownLabel
from flask_server.redis_server import RedisServer
from flask_server.support_store import SupportSet

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

_PREFIX = "keras-front-door:support:"
# A script runs whole before anything else does. The three keys: labels, images (lists of equal length), version.
_COUNT_CHANGE = """
local time = redis.call('TIME')
local now = time[1] * 1000000 + time[2]
local number = math.max(tonumber(redis.call('GET', KEYS[3]) or '0') + 1, now)
redis.call('SET', KEYS[3], string.format('%.0f', number))
return 1
"""
_ADD = (
    """
if redis.call('LLEN', KEYS[1]) + #ARGV - 2 > tonumber(ARGV[1]) then return 0 end
for i = 3, #ARGV do
  redis.call('RPUSH', KEYS[1], ARGV[2])
  redis.call('RPUSH', KEYS[2], ARGV[i])
end
"""
    + _COUNT_CHANGE
)
_DELETE = (
    """
local labels = redis.call('LRANGE', KEYS[1], 0, -1)
local images = redis.call('LRANGE', KEYS[2], 0, -1)
redis.call('DEL', KEYS[1], KEYS[2])
local left = 0
for i, label in ipairs(labels) do
  if #ARGV == 1 and label ~= ARGV[1] then
    redis.call('RPUSH', KEYS[1], label)
    redis.call('RPUSH', KEYS[2], images[i])
    left = left + 1
  end
end
if #ARGV == 1 and left == #labels then return 0 end
"""
    + _COUNT_CHANGE
)


class RedisSupportStore:
    """See `SupportStore`."""

    def __init__(self, url: str) -> None:
        self._server = RedisServer(url)
        self._add = self._server.client.register_script(_ADD)
        self._delete = self._server.client.register_script(_DELETE)

    def version(self, model: str) -> int:
        """See `SupportStore.version`."""
        number = self._ask(lambda: self._server.client.get(_key(model, "version")))
        return int(number or 0)

    def read(self, model: str) -> SupportSet:
        """See `SupportStore.read`."""
        version, (labels, images) = self._at_once(model, "labels", "images")
        return SupportSet(version, tuple(labels), tuple(images))

    def counts(self, model: str) -> tuple[int, Mapping[str, int]]:
        """See `SupportStore.counts`."""
        version, (labels,) = self._at_once(model, "labels")
        return version, Counter(labels)

    def add(self, model: str, label: str, images: Sequence[str], *, most: int) -> None:
        """See `SupportStore.add`."""
        if not self._ask(lambda: self._add(keys=_keys(model), args=[most, label, *images])):
            raise TooLarge(f"The model would have more than {most} pictures; delete some.")

    def delete(self, model: str, label: str | None) -> None:
        """See `SupportStore.delete`."""
        arguments = [] if label is None else [label]
        if not self._ask(lambda: self._delete(keys=_keys(model), args=arguments)):
            raise UnknownLabel("The model has not been taught this label; GET lists those it has.")

    def _at_once(self, model: str, *parts: str) -> tuple[int, list[list[str]]]:
        """The version and these lists as they stood at one moment."""
        transaction = self._server.client.pipeline(transaction=True)
        transaction.get(_key(model, "version"))
        for part in parts:
            transaction.lrange(_key(model, part), 0, -1)
        version, *lists = self._ask(transaction.execute)
        return int(version or 0), [[value.decode() for value in values] for values in lists]

    def _ask(self, question: Any) -> Any:  # noqa: ANN401 - what the package answers has no types
        failure = SupportUnavailable("What the model was taught cannot be reached now; try again.")
        return self._server.ask(question, failure)


def _keys(model: str) -> list[str]:
    """Those of a script."""
    return [_key(model, part) for part in ("labels", "images", "version")]


def _key(model: str, part: str) -> str:
    """The braces keep a model's keys together in a Redis Cluster."""
    return f"{_PREFIX}{{{model}}}:{part}"
