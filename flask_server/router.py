"""What a running router consists of, besides its routes."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from flask_server.fetching import Fetcher
from flask_server.health import Health
from flask_server.images import ImageReader
from flask_server.models import load_models
from flask_server.redis_support_store import RedisSupportStore
from flask_server.replicas import ReplicaPool
from flask_server.support_store import FileSupportStore
from model_config import digest_of

if TYPE_CHECKING:
    from collections.abc import Mapping

    from flask_server.models import Model
    from flask_server.settings import Settings
    from flask_server.support_store import SupportStore


@dataclass(frozen=True, slots=True)
class Router:
    """The parts that routes share; `app.extensions["router"]` holds it."""

    settings: Settings
    configuration: str
    """What models file and placement file say, as a digest."""
    models: Mapping[str, Model]
    pool: ReplicaPool
    health: Health
    reader: ImageReader
    fetcher: Fetcher
    support: SupportStore

    @classmethod
    def from_settings(cls, settings: Settings) -> Router:
        """Bind everything.

        Raises:
            ConfigError: Something is described wrongly.
        """
        # Taken before they are read: what is written meanwhile is told with the next reading, for which a SIGHUP asks.
        configuration = digest_of(settings.models_file, settings.placement_file)
        pool = ReplicaPool()
        support = _support_store(settings)
        models = load_models(settings, pool, support)
        reader = ImageReader.from_settings(settings)
        fetcher = Fetcher.from_settings(settings)
        health = Health(models)
        return cls(settings, configuration, models, pool, health, reader, fetcher, support)

    def close(self) -> None:
        """Keep no connection to model servers any longer; requests under way go on to their end."""
        self.pool.close()


def _support_store(settings: Settings) -> SupportStore:
    """Where named pictures are kept: Redis if there is a URL for it, else a file of this machine."""
    if settings.redis_url:
        return RedisSupportStore(settings.redis_url)
    return FileSupportStore(settings.state_dir / "support_sets.sqlite3")
