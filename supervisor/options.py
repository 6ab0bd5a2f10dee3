"""How this run was asked for: flags, else environment variables, else defaults."""

from __future__ import annotations

import argparse
import os
import shlex
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from model_config import PROJECT, ConfigError, models_file, named_path, state_dir
from supervisor.ports import url_of

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

DRAIN_SECONDS = 1.0
STOP_TIMEOUT = 30.0
MODEL_SERVER_CHOICES = ("auto", "binary", "embedded", "none")
PATH_VARIABLES = (
    "MODELS_FILE",
    "SAVED_MODELS_DIR",
    "WEIGHTS_DIR",
    "KERAS_HOME",
    "STATE_DIR",
    "LOGS_DIR",
    "API_KEYS_FILE",
    "TLS_CERTIFICATE",
    "TLS_KEY",
)
EPILOG = """\
environment variables:
  MODELS_FILE         the models file (default: models.toml beside this program)
  HOST, PORT          where the router listens (default: 127.0.0.1, 5000)
  SAVED_MODELS_DIR    parent of the base paths that tables do not name (default: saved_models/)
  WEIGHTS_DIR         where weights files are looked for (default: weights/)
  STATE_DIR           what this run writes down: placement, model servers' configuration (default: state/)
  LOGS_DIR            a log file for each process (default: logs/)
  DRAIN_SECONDS, STOP_TIMEOUT  what the router takes to stop; it is waited for so long (default: 1, 30)
  MODEL_SERVER_FLAGS  further flags for every model server, e.g. --tensorflow_intra_op_parallelism=1

signals: SIGTERM, SIGINT, typing exit or q, and closing the terminal stop everything in order; SIGHUP reads the models
file again.
"""


@dataclass(frozen=True, slots=True)
class Options:
    """What the person who started the supervisor asked for."""

    models_file: Path
    only: tuple[str, ...]
    host: str
    port: int
    https: bool
    """Whether the router serves HTTPS."""
    router_stop_seconds: float
    """How long the router goes on serving, and finishes what it has, when it is asked to end."""
    model_server: str
    model_server_flags: tuple[str, ...]
    state_dir: Path
    logs_dir: Path
    check: bool

    @property
    def router_url(self) -> str:
        """Where a person on this machine reaches the router."""
        host = "127.0.0.1" if self.host in ("0.0.0.0", "::", "") else self.host
        return url_of(host, self.port, scheme="https" if self.https else "http")


def read_options(
    arguments: Sequence[str] | None = None, env: Mapping[str, str] = os.environ
) -> Options:
    """Parse the command line over the environment.

    Raises:
        ConfigError: An environment variable holds what it may not.
    """
    given = _parser(env).parse_args(arguments)
    return Options(
        models_file=given.models.absolute(),
        only=tuple(given.only),
        host=given.host,
        port=_port(given.port),
        https=bool(env.get("TLS_CERTIFICATE")),
        router_stop_seconds=(
            _seconds(env, "DRAIN_SECONDS", DRAIN_SECONDS)
            + _seconds(env, "STOP_TIMEOUT", STOP_TIMEOUT)
        ),
        model_server=given.model_server,
        model_server_flags=_words(env, "MODEL_SERVER_FLAGS"),
        state_dir=state_dir(env),
        logs_dir=named_path("LOGS_DIR", PROJECT / "logs", env).resolve(),
        check=given.check,
    )


def absolute_paths(env: Mapping[str, str] = os.environ) -> dict[str, str]:
    """The variables that name files and folders, whole: every child is to find what is meant here, where it is not.

    Raises:
        ConfigError: One names the home folder of a user that there is not.
    """
    given = [name for name in PATH_VARIABLES if env.get(name)]
    return {name: str(named_path(name, PROJECT, env)) for name in given}


def _parser(env: Mapping[str, str]) -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        description="Start every model of the models file behind the router, and keep all of it running.",
        epilog=EPILOG,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument(
        "--models", type=Path, default=models_file(env), metavar="FILE", help="the models file"
    )
    parser.add_argument(
        "--only", nargs="+", default=[], metavar="NAME", help="start these models only"
    )
    parser.add_argument(
        "--host", default=env.get("HOST") or "127.0.0.1", help="where the router listens"
    )
    parser.add_argument("--port", default=env.get("PORT") or "5000", help="the router's port")
    parser.add_argument(
        "--model-server",
        choices=MODEL_SERVER_CHOICES,
        default="auto",
        help="the tensorflow_model_server binary, the embedded one, or none; auto: the binary where it is on the PATH",
    )
    parser.add_argument(
        "--check", action="store_true", help="say what would be done, and do nothing"
    )
    return parser


def _port(text: str) -> int:
    if not text.isdecimal() or len(text) > len("65535") or not 1 <= int(text) <= 65535:
        raise ConfigError(f"PORT (or --port) is {text!r}; write a number from 1 to 65535.")
    return int(text)


def _words(env: Mapping[str, str], name: str) -> tuple[str, ...]:
    try:
        return tuple(shlex.split(env.get(name, "")))
    except ValueError as error:
        raise ConfigError(f"{name} cannot be read as a shell would: {error}.") from None


def _seconds(env: Mapping[str, str], name: str, default: float) -> float:
    """A setting of the router's, as it reads it."""
    text = env.get(name) or str(default)
    try:
        value = float(text)
    except ValueError:
        value = -1.0
    if not 0 <= value < 86400:
        raise ConfigError(f"{name} is {text!r}; write a number of seconds from 0 to 86400.")
    return value
