"""API keys: how they look, the file that holds them hashed, and how a presented one is found in it."""

from __future__ import annotations

import hashlib
import hmac
import os
import re
import secrets
from dataclasses import asdict, dataclass
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

import orjson

from flask_server.ledger import Limit
from flask_server.watched_files import WatchedFiles
from model_config import PROJECT, ConfigError, command_to_type

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping
    from pathlib import Path

EVERY_MODEL = "*"
_PRESENTED = re.compile(r"kfd_([0-9a-f]{8})_[0-9a-f]{64}")
_NAME = re.compile(r"[A-Za-z0-9._-]{1,64}")
_RATE = re.compile(r"([1-9]\d{0,8})/(s|min|h)")
_UNIT_SECONDS = {"s": 1, "min": 60, "h": 3600}


@dataclass(frozen=True, slots=True)
class ApiKey:
    """What a key may do. The key itself is not in it, only its hash."""

    name: str
    """Who uses it; stands in logs and metrics."""
    id: str
    """The part of the key that is no secret."""
    sha256: str
    models: tuple[str, ...]
    """Names of models, or `*` for all."""
    rate: str | None
    """`10/s`, `600/min`, `1000/h`; None: any."""
    daily_quota: int | None
    metrics: bool
    """Whether it may read `/metrics`."""
    created: str

    @property
    def limits(self) -> tuple[Limit, ...]:
        """What `rate` and `daily_quota` mean."""
        limits = []
        if self.rate is not None:
            limits.append(rate_limit(self.rate))
        if self.daily_quota is not None:
            limits.append(Limit("daily", self.daily_quota, 86400))
        return tuple(limits)

    def may_call(self, model: str) -> bool:
        """Whether it may call this model."""
        return EVERY_MODEL in self.models or model in self.models


def rate_limit(rate: str) -> Limit:
    """Read a rate.

    Raises:
        ValueError: It is not written as a rate.
    """
    match = _RATE.fullmatch(rate)
    if match is None:
        raise ValueError("write a rate as 10/s, 600/min or 1000/h")
    return Limit("rate", int(match[1]), _UNIT_SECONDS[match[2]])


def new_key(
    name: str,
    *,
    models: Iterable[str] = (EVERY_MODEL,),
    rate: str | None = None,
    daily_quota: int | None = None,
    metrics: bool = False,
) -> tuple[str, ApiKey]:
    """Make a key; its text exists nowhere but in what this returns.

    Raises:
        ConfigError: A value is not allowed.
    """
    key_id = secrets.token_hex(4)
    text = f"kfd_{key_id}_{secrets.token_hex(32)}"
    created = datetime.now(UTC).isoformat(timespec="seconds")
    key = ApiKey(name, key_id, _hash(text), tuple(models), rate, daily_quota, metrics, created)
    return text, _checked(key, "The new key")


def load_keys(path: Path) -> tuple[ApiKey, ...]:
    """Read a file of keys.

    Raises:
        ConfigError: It cannot be read, or something in it is not allowed.
    """
    try:
        entries = orjson.loads(path.read_bytes())["keys"]
        return tuple(_checked(_key(entry), f"{path}, key {entry['name']!r}") for entry in entries)
    except FileNotFoundError:
        make = command_to_type(
            PROJECT / "scripts" / "api_keys.py", "create", "NAME", "--file", path
        )
        raise ConfigError(f"There is no file of API keys {path}; make one with: {make}") from None
    except OSError as error:
        raise ConfigError(f"API keys {path} cannot be read: {error.strerror}.") from None
    except (ValueError, KeyError, TypeError):
        raise ConfigError(f"{path} is not a file that scripts/api_keys.py wrote.") from None


def save_keys(path: Path, keys: Iterable[ApiKey]) -> None:
    """Replace a file of keys as a whole; only its owner may read it."""
    beside = path.with_name(path.name + ".new")
    beside.unlink(missing_ok=True)
    document = {"keys": [asdict(key) for key in keys]}
    try:
        with os.fdopen(os.open(beside, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "wb") as file:
            options = orjson.OPT_INDENT_2 | orjson.OPT_APPEND_NEWLINE
            file.write(orjson.dumps(document, option=options))
            os.fsync(file.fileno())
        beside.replace(path)
    finally:
        beside.unlink(missing_ok=True)


class KeyRing:
    """The keys of a file, read again whenever the file changes."""

    def __init__(self, path: Path) -> None:
        """Read the file; raises as `load_keys`."""
        self._keys = WatchedFiles("API keys", (path,), lambda: _by_id(load_keys(path)))

    def find(self, presented: str) -> ApiKey | None:
        """The key of this text, if there is one."""
        match = _PRESENTED.fullmatch(presented)
        key = self._keys.value().get(match[1]) if match else None
        # The same work whether the id is known or not, compared in a time that tells nothing of the hash.
        known = key.sha256 if key else ""
        return key if hmac.compare_digest(_hash(presented), known) else None


def _hash(text: str) -> str:
    """SHA-256, without salt and fast on purpose.

    A slow hash protects passwords, which can be guessed. A key is 256 random bits: guessing is hopeless however fast
    one hashes, and each request pays for the hash.
    """
    return hashlib.sha256(text.encode("utf-8", "replace")).hexdigest()


def _by_id(keys: Iterable[ApiKey]) -> Mapping[str, ApiKey]:
    return {key.id: key for key in keys}


def _key(entry: dict[str, Any]) -> ApiKey:
    return ApiKey(**{**entry, "models": tuple(entry["models"])})


def _checked(key: ApiKey, where: str) -> ApiKey:
    if not _NAME.fullmatch(key.name):
        raise ConfigError(f"{where}: a name is 1 to 64 letters, digits and '.', '_', '-'.")
    if not re.fullmatch(r"[0-9a-f]{8}", key.id) or not re.fullmatch(r"[0-9a-f]{64}", key.sha256):
        raise ConfigError(f"{where}: its id and hash are not what scripts/api_keys.py writes.")
    if key.daily_quota is not None and not 0 < key.daily_quota < 10**12:
        raise ConfigError(f"{where}: a daily quota is a whole number from 1 up.")
    try:
        _ = key.limits
    except ValueError as error:
        raise ConfigError(f"{where}: {error}.") from None
    return key
