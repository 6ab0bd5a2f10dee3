"""How this router is deployed: read once, from flags and the environment, into one frozen value."""

from __future__ import annotations

import argparse
import os
import re
from dataclasses import MISSING, dataclass, field, fields
from ipaddress import IPv4Network, IPv6Network, ip_network
from pathlib import Path
from typing import TYPE_CHECKING, Any, NoReturn

from model_config import PROJECT, ConfigError, models_file

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence

Network = IPv4Network | IPv6Network
# Without AVIF, whose decoder heeds no limit but its own: docs/configuration.md, Images.
IMAGE_FORMATS = ("JPEG", "PNG", "GIF", "BMP", "WEBP", "TIFF", "PPM")
_THREADS_BESIDE_MODELS = 32
LOG_LEVELS = ("debug", "info", "warning", "error")
LOG_FORMATS = ("text", "json")
_HOST = r"[A-Za-z0-9._-]+"
_IPV6 = r"\[[0-9A-Fa-f:.]+\]"
_FLAGS = {"host": "--host", "port": "--port", "models_file": "--models"}


def _text(raw: str) -> str:
    return raw


def _path(raw: str) -> Path:
    """Links are followed anew each time a file is read: a Kubernetes Secret changes by another folder behind a link."""
    return Path(raw).expanduser().absolute()


def _list(raw: str) -> tuple[str, ...]:
    return tuple(item.strip() for item in raw.split(",") if item.strip())


def _whole(raw: str, least: int = 1) -> int:
    if not raw.isascii() or not raw.isdigit() or int(raw) < least:
        raise ValueError(f"write a whole number from {least} up")
    return int(raw)


def _whole_or_zero(raw: str) -> int:
    return _whole(raw, least=0)


def _port(raw: str) -> int:
    if not raw.isascii() or not raw.isdigit() or not 1 <= int(raw) <= 65535:
        raise ValueError("write a port number from 1 to 65535")
    return int(raw)


def _seconds(raw: str) -> float:
    try:
        value = float(raw)
    except ValueError:
        value = -1.0
    if not 0 <= value < 86400:
        raise ValueError("write a number of seconds from 0 to 86400")
    return value


def _some_seconds(raw: str) -> float:
    value = _seconds(raw)
    if value == 0:
        raise ValueError("write a number of seconds above 0")
    return value


def _hosts(raw: str) -> tuple[str, ...]:
    hosts = _list(raw)
    for host in hosts:
        if not re.fullmatch(rf"(\*|(\*\.)?{_HOST}|{_IPV6})(:(\d{{1,5}}|\*))?", host):
            raise ValueError(
                f"'{host}' is none of name, *.domain, *, [IPv6 address], with :port behind it or not"
            )
    return hosts


def _origins(raw: str) -> tuple[str, ...]:
    origins = _list(raw)
    for origin in origins:
        if not re.fullmatch(rf"\*|[a-z][a-z0-9+.-]*://({_HOST}|{_IPV6})(:\d{{1,5}})?", origin):
            raise ValueError(
                f"'{origin}' is no origin such as https://photos.example, without a path"
            )
    return origins


def _networks(raw: str) -> tuple[Network, ...]:
    return tuple(ip_network(item) for item in _list(raw))


def _log_level(raw: str) -> str:
    if raw.lower() not in LOG_LEVELS:
        raise ValueError(f"choose one of {', '.join(LOG_LEVELS)}")
    return raw.lower()


def _log_format(raw: str) -> str:
    if raw.lower() not in LOG_FORMATS:
        raise ValueError(f"choose one of {', '.join(LOG_FORMATS)}")
    return raw.lower()


def _processors() -> int:
    """How many this process may use: in a container or under taskset fewer than there are."""
    if hasattr(os, "sched_getaffinity"):
        return len(os.sched_getaffinity(0))
    return os.cpu_count() or 1


def _told(parse: Callable[[str], object], meaning: str) -> dict[str, Any]:
    """How a setting is read, and what the help says of it; its environment variable is its name in capitals."""
    return {"parse": parse, "meaning": meaning}


@dataclass(frozen=True, slots=True, kw_only=True)
class Settings:
    """Every setting of the router; docs/configuration.md has a row for each."""

    host: str = field(default="127.0.0.1", metadata=_told(_text, "address to listen on"))
    port: int = field(default=5000, metadata=_told(_port, "port to listen on"))
    models_file: Path = field(
        metadata=_told(_path, "the models file (default: the project's models.toml)")
    )
    placement_file: Path | None = field(
        default=None,
        metadata=_told(
            _path, "JSON file in which the supervisor says where it started each model's server"
        ),
    )
    workers: int = field(
        default=min(_processors(), 2),
        metadata=_told(_whole, "processes that answer requests"),
    )
    threads: int | None = field(
        default=None,
        metadata=_told(
            _whole,
            "requests that one process answers at once (default: what all models may hold, and 32)",
        ),
    )
    log_level: str = field(
        default="info", metadata=_told(_log_level, "the least important lines that are logged")
    )
    log_format: str = field(
        default="text", metadata=_told(_log_format, "text for people, json for programs")
    )
    api_keys_file: Path | None = field(
        default=None,
        metadata=_told(_path, "API keys, made by scripts/api_keys.py; without it anyone may call"),
    )
    state_dir: Path = field(
        default=PROJECT / "state",
        metadata=_told(
            _path, "folder for counts of requests, and for what few-shot models are taught"
        ),
    )
    redis_url: str = field(
        default="",
        metadata=_told(_text, "Redis server that keeps both instead, for several machines"),
    )
    cors_origins: tuple[str, ...] = field(
        default=("http://localhost:4200", "http://127.0.0.1:4200"),
        metadata=_told(_origins, "origins whose pages may call the router, or * for all"),
    )
    trusted_proxies: tuple[str, ...] = field(
        default=(),
        metadata=_told(_list, "addresses or networks whose X-Forwarded-* headers are believed"),
    )
    tls_certificate: Path | None = field(
        default=None,
        metadata=_told(_path, "certificate (PEM): serve HTTPS; read again when it is renewed"),
    )
    tls_key: Path | None = field(
        default=None, metadata=_told(_path, "the certificate's private key (PEM)")
    )
    max_body_bytes: int = field(
        default=32 * 2**20, metadata=_told(_whole, "the largest request body taken")
    )
    max_pixels: int = field(
        default=50_000_000, metadata=_told(_whole, "the most pixels an image may have")
    )
    max_instances: int = field(default=32, metadata=_told(_whole, "the most images in one request"))
    max_support_pictures: int = field(
        default=200, metadata=_told(_whole, "the most pictures that a few-shot model is taught")
    )
    fetch_hosts: tuple[str, ...] = field(
        default=(),
        metadata=_told(_hosts, "hosts from which images are fetched by URL, or *; empty: none"),
    )
    fetch_networks: tuple[Network, ...] = field(
        default=(),
        metadata=_told(_networks, "networks that are fetched from although they are not public"),
    )
    fetch_timeout: float = field(
        default=10.0,
        metadata=_told(_some_seconds, "seconds in which an image by URL must be there"),
    )
    image_formats: tuple[str, ...] = field(
        default=IMAGE_FORMATS, metadata=_told(_list, "image formats taken, as Pillow names them")
    )
    decode_concurrency: int = field(
        default=_processors(),
        metadata=_told(_whole, "images that one process decodes at once"),
    )
    model_concurrency: int = field(
        default=16, metadata=_told(_whole, "requests that one process has at one model at once")
    )
    model_queue: int = field(
        default=16,
        metadata=_told(_whole_or_zero, "requests that may wait in one process for one model"),
    )
    receive_timeout: float = field(
        default=30.0,
        metadata=_told(
            _some_seconds,
            "seconds in which a request must be received whole, and its answer be taken",
        ),
    )
    keep_alive: float = field(
        default=75.0,
        metadata=_told(
            _seconds, "seconds that a connection is kept for another request; 0: none is kept"
        ),
    )
    drain_seconds: float = field(
        default=1.0,
        metadata=_told(
            _seconds, "seconds between being not ready and taking no more requests, at SIGTERM"
        ),
    )
    stop_timeout: float = field(
        default=30.0, metadata=_told(_seconds, "seconds that requests have to finish after that")
    )

    @property
    def tls(self) -> bool:
        """Whether HTTPS is served."""
        return self.tls_certificate is not None

    def threads_for(self, models: int) -> int:
        """How many threads a process has that serves so many models: none of them can keep the others from theirs."""
        each = self.model_concurrency + self.model_queue
        return self.threads or models * each + _THREADS_BESIDE_MODELS

    @property
    def address(self) -> str:
        """Host and port as a URL has them."""
        host = f"[{self.host}]" if ":" in self.host else self.host
        return f"{host}:{self.port}"


def load_settings(arguments: Sequence[str] = (), env: Mapping[str, str] = os.environ) -> Settings:
    """Read the settings: flag, else environment variable, else default.

    Raises:
        ConfigError: A flag is unknown or a value is not allowed; the sentence names it.
    """
    flags = {name: value for name, value in vars(_parser().parse_args(arguments)).items() if value}
    values: dict[str, Any] = {"models_file": models_file(env)}
    for item in fields(Settings):
        raw = flags.get(item.name) or env.get(item.name.upper())
        if raw:
            source = _FLAGS[item.name] if item.name in flags else item.name.upper()
            values[item.name] = _parsed(item.metadata["parse"], raw, source)
    settings = Settings(**values)
    _check_tls(settings)
    return settings


def _parsed(parse: Callable[[str], object], raw: str, source: str) -> object:
    try:
        return parse(raw)
    except (ValueError, RuntimeError) as error:  # of RuntimeErrors: a ~user that there is not
        raise ConfigError(f"{source} is '{raw}', which is not allowed; {error}.") from None


def _check_tls(settings: Settings) -> None:
    if (settings.tls_certificate is None) != (settings.tls_key is None):
        raise ConfigError("TLS_CERTIFICATE and TLS_KEY belong together; set both or neither.")
    for path in (settings.tls_certificate, settings.tls_key):
        if path is not None and not path.is_file():
            raise ConfigError(f"There is no file {path}; name an existing PEM file.")


class _Parser(argparse.ArgumentParser):
    def error(self, message: str) -> NoReturn:
        raise ConfigError(f"{message[:1].upper()}{message[1:]}; --help lists the flags.")


def _parser() -> argparse.ArgumentParser:
    parser = _Parser(
        prog="python -m flask_server",
        description="The router: one predict route per model.",
        epilog=_every_variable(),
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    for name, flag in _FLAGS.items():
        parser.add_argument(flag, dest=name, metavar=name.upper(), help=f"as {name.upper()} below")
    return parser


def _every_variable() -> str:
    """Each setting as an environment variable, for the help."""
    rows = [
        f"  {item.name.upper():<21} {item.metadata['meaning']}{_default(item.default)}"
        for item in fields(Settings)
    ]
    return "\n".join(["environment variables:", *rows])


def _default(value: object) -> str:
    if value in (MISSING, None, "", ()):
        return ""
    text = ",".join(value) if isinstance(value, tuple) else str(value)
    return f" (default: {text})"
