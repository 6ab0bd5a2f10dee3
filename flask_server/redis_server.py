"""The Redis server in which routers on several machines keep together what one machine keeps in files.

Its package, redis, is optional.
"""

from __future__ import annotations

import importlib
import logging
from typing import TYPE_CHECKING, Any, TypeVar
from urllib.parse import urlsplit

from model_config import ConfigError, command_to_type

if TYPE_CHECKING:
    from collections.abc import Callable

    from flask_server.errors import RouterError

_TIMEOUT_SECONDS = 1.0
_log = logging.getLogger(__name__)
_T = TypeVar("_T")


class RedisServer:
    """A connection pool; `client` is the package's own."""

    def __init__(self, url: str) -> None:
        redis = _package()
        self._errors: type[Exception] = redis.RedisError
        try:
            self._where = place_of(url)
            self.client = redis.Redis.from_url(
                url, socket_timeout=_TIMEOUT_SECONDS, socket_connect_timeout=_TIMEOUT_SECONDS
            )
        except ValueError as error:
            raise ConfigError(f"REDIS_URL is not the address of a Redis server: {error}") from None

    def ask(self, question: Callable[[], _T], failure: RouterError) -> _T:
        """What the server answers; whatever is wrong with it is logged, and raised as `failure`."""
        try:
            return question()
        except self._errors as error:
            _log.error("Redis at %s: %s", self._where, error)
            raise failure from None


def place_of(url: str) -> str:
    """Host and port of a Redis URL, without its password."""
    parts = urlsplit(url)
    return f"{parts.hostname or parts.path}:{parts.port or 6379}"


def _package() -> Any:  # noqa: ANN401 - the package may be absent, and so are its types
    try:
        return importlib.import_module("redis")
    except ImportError:
        install = command_to_type("-m", "pip", "install", "redis")
        raise ConfigError(f"REDIS_URL is set, but its client is missing: {install}") from None
