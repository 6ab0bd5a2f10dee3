"""Deployment -> which model servers to start, where, and with which command lines (nothing is started here)."""

from __future__ import annotations

import math
import shutil
import signal
import sys
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from model_config import ConfigError
from supervisor import ports
from supervisor.child import Command
from supervisor.threads import thread_flags

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping
    from pathlib import Path

    from model_config import Deployment, ModelConfig
    from supervisor.options import Options

BINARY = "tensorflow_model_server"
SHORTEST_TIMEOUT_SECONDS = 30.0
"""A model server's default; not less, since a version's first run, its warm-up, is under the same limit."""
STOP_MARGIN_SECONDS = 5.0
"""What a program may take to end beyond the time that it gives its requests."""
WRONG_CONFIGURATION = 2
"""The router's exit status when its settings or the models file are wrong."""


@dataclass(frozen=True, slots=True)
class ServerPlan:
    """One model server on this machine."""

    name: str
    url: str
    models: tuple[ModelConfig, ...]

    @property
    def host(self) -> str:
        """The address that it listens on, which its upstream names."""
        return ports.address_of(self.url)

    @property
    def port(self) -> int:
        """The port of its REST API."""
        return ports.port_of(self.url)

    @property
    def timeout_seconds(self) -> float:
        """How long one run of a model may take: as long as any of its tables waits for it."""
        return max(SHORTEST_TIMEOUT_SECONDS, *(model.timeout_seconds for model in self.models))


@dataclass(frozen=True, slots=True)
class Plan:
    """Every model server of this machine, and where each model is served."""

    models: tuple[ModelConfig, ...]
    servers: tuple[ServerPlan, ...]
    left_out: tuple[str, ...] = ()
    """Names of the models that `--only` does not name."""
    model_servers: str = "separate"
    """As the models file said it when the addresses were assigned."""
    assigned: Mapping[str, str] = field(default_factory=dict)
    """What has a server of its own (a servable, or all of them together) -> the URL it was given."""

    def upstream(self, model: ModelConfig) -> tuple[str, ...]:
        """Base URLs of the servers for a model: what its table says, else what was assigned."""
        return model.upstream or tuple(s.url for s in self.servers if model in s.models)


def make_plan(deployment: Deployment, options: Options, *, before: Plan | None = None) -> Plan:
    """Group the models by the servers that serve them.

    Args:
        deployment: The models file.
        options: What was asked for; `only` selects models.
        before: The running plan when the file is read again: what stays keeps its address.

    Raises:
        ConfigError: `only` names a model that the file does not declare, or the server asked for is not installed.
    """
    models = _selected(deployment, options.only)
    left_out = tuple(set(deployment.models) - {model.name for model in models})
    if options.model_server == "none":
        return Plan(models, (), left_out)
    groups: dict[str, list[ModelConfig]] = {}
    for model in models:
        for url in _local_urls(model):
            groups.setdefault(url, []).append(model)
    mode = deployment.model_servers
    kept = _kept(before, models, mode) if before else {}
    in_use = before.assigned.values() if before else ()
    taken = {options.port, *map(ports.port_of, (*groups, *in_use))}
    assigned: dict[str, str] = {}
    for model in (m for m in models if not m.upstream):
        key = mode if mode == "shared" else model.servable
        if key not in assigned:
            assigned[key] = kept.get(key) or ports.url_of("127.0.0.1", ports.free_port(taken))
            taken.add(ports.port_of(assigned[key]))
        groups.setdefault(assigned[key], []).append(model)
    if groups:
        binary_path(options)  # that it is missing is said now, not when the first server is started
    servers = tuple(_server(url, group) for url, group in groups.items())
    return Plan(models, servers, left_out, mode, assigned)


def _kept(before: Plan, models: Iterable[ModelConfig], mode: str) -> Mapping[str, str]:
    """The addresses that stay: of servers that need not be told of another base path.

    A model server holds a version by its number; the same number under another path it would take for the same.

    Raises:
        ConfigError: The base path has changed, and the table's own `upstream` has not.
    """
    known = {model.servable: model for model in before.models}
    moved = {
        model.servable: model
        for model in models
        if model.servable in known and known[model.servable].base_path != model.base_path
    }
    for servable, model in moved.items():
        if {*_local_urls(model)} & {*_local_urls(known[servable])}:
            raise ConfigError(
                f"[{model.name}] has another 'base_path' but the same 'upstream', whose server holds the old versions; give"
                " it another 'upstream' or 'servable', or start auto_cmd.py anew."
            )
    if before.model_servers != mode or (mode == "shared" and moved):
        return {}
    return {key: url for key, url in before.assigned.items() if key not in moved}


def _selected(deployment: Deployment, only: Iterable[str]) -> tuple[ModelConfig, ...]:
    for name in only:
        if name not in deployment.models:
            raise ConfigError(
                f"{deployment.path} has no table [{name}]; it declares {', '.join(deployment.models)}."
            )
    return tuple(m for m in deployment.models.values() if not only or m.name in only)


def _local_urls(model: ModelConfig) -> Iterable[str]:
    """Where its servers of this machine listen, each once, however its table spells them (localhost, 127.0.0.1, …)."""
    local = filter(ports.is_local, model.upstream)
    return dict.fromkeys(ports.url_of(ports.address_of(url), ports.port_of(url)) for url in local)


def _server(url: str, group: list[ModelConfig]) -> ServerPlan:
    replicated = any(len(model.upstream) > 1 for model in group)
    name = f"server_{ports.port_of(url)}" if len(group) > 1 or replicated else group[0].name
    return ServerPlan(name, url, tuple(group))


def server_command(server: ServerPlan, options: Options, config_file: Path) -> Command:
    """The command line of a model server: the real one's flags, whichever of the two it is."""
    binary = binary_path(options)
    # Of two servers that start together each looks from its own port on.
    first = server.port + (1000 if server.port < 64000 else -1000)
    grpc_port = ports.free_port({server.port}, first=first) if binary else 0
    return Command(
        name=server.name,
        arguments=(
            *_program(server, binary),
            f"--rest_api_port={server.port}",
            f"--port={grpc_port}",
            f"--model_config_file={config_file}",
            "--model_config_file_poll_wait_seconds=1",
            f"--rest_api_timeout_in_ms={math.ceil(server.timeout_seconds * 1000)}",
            "--allow_version_labels_for_unavailable_models=true",
            # A version that cannot be loaded is known as such after seconds, not after five minutes.
            "--max_num_load_retries=2",
            "--load_retry_interval_micros=2000000",
            *thread_flags(server.models, options.model_server_flags),
            *options.model_server_flags,
        ),
        env={},
        stop_signal=signal.SIGINT,  # after the router, which needs it: not when a SIGTERM goes to all
        stop_seconds=server.timeout_seconds + STOP_MARGIN_SECONDS,
    )


def _program(server: ServerPlan, binary: str | None) -> tuple[str, ...]:
    """The real server; or ours, which stays on this machine and finishes what runs when it is stopped."""
    if binary:
        return (binary,)
    return (
        *(sys.executable, "-m", "serving", f"--rest_api_host={server.host}"),
        f"--drain_timeout_seconds={server.timeout_seconds:g}",
    )


def binary_path(options: Options) -> str | None:
    """The real TensorFlow Serving, where it is wanted and there.

    Raises:
        ConfigError: It was asked for by name and is not on the PATH.
    """
    if options.model_server not in ("auto", "binary"):
        return None
    path = shutil.which(BINARY)
    if path is None and options.model_server == "binary":
        raise ConfigError(
            f"There is no {BINARY} on the PATH; install it, or use --model-server embedded."
        )
    return path


def router_command(options: Options, placement_file: Path) -> Command:
    """The command line of the router."""
    return Command(
        name="router",
        arguments=(sys.executable, "-m", "flask_server"),
        env={
            "HOST": options.host,
            "PORT": str(options.port),
            "MODELS_FILE": str(options.models_file),
            "PLACEMENT_FILE": str(placement_file),
            "STATE_DIR": str(options.state_dir),
        },
        stop_seconds=options.router_stop_seconds + STOP_MARGIN_SECONDS,
        hopeless_status=WRONG_CONFIGURATION,
    )


def check_ports(plan: Plan, options: Options) -> None:
    """Every port that will be listened on must be free.

    Raises:
        ConfigError: One is not; the sentence names it, who holds it, and who should change what.
    """
    if ports.in_use(options.host, options.port):
        raise ConfigError(
            f"Port {options.port} is in use by {ports.holder(options.port)}; stop that, or choose another for the"
            f" router with PORT={options.port + 1} or --port {options.port + 1}."
        )
    for server in plan.servers:
        if ports.in_use(server.host, server.port):
            raise ConfigError(
                f"Port {server.port} of upstream {server.url} is in use by {ports.holder(server.port)}; stop that,"
                f" change 'upstream' of [{server.models[0].name}] in {options.models_file}, or use"
                " --model-server none if a model server runs there already."
            )
