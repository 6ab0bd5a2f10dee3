"""What a cluster is asked to run: the answers of the command line, and the models file seen from there."""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import TYPE_CHECKING
from urllib.parse import urlsplit

from model_config import ConfigError
from supervisor.ports import is_local

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path

    from model_config import Deployment, ModelConfig

REST_PORT = 8501
MOUNTED_STORE = "/models"
LONGEST_NAME = 40
"""Kubernetes allows 63 characters in a name; the rest is left for what is put around a servable's name."""


@dataclass(frozen=True, slots=True)
class Store:
    """Where the cluster keeps versions: one folder per servable under a volume claim or a bucket's path."""

    url: str
    """`pvc://CLAIM`, `gs://BUCKET/PATH` or `s3://BUCKET/PATH`."""
    port: int = 443
    """Where a bucket is reached."""

    @property
    def scheme(self) -> str:
        """`pvc`, `gs` or `s3`."""
        return urlsplit(self.url).scheme

    @property
    def claim(self) -> str:
        """The volume claim's name (of a `pvc` store)."""
        return urlsplit(self.url).netloc

    def address(self, servable: str) -> str:
        """The servable's folder, as KServe and bucket tools write it."""
        return f"{self.url}/{servable}"

    def base_path(self, servable: str) -> str:
        """The servable's folder as its model server sees it: TensorFlow Serving reads `gs://` by itself."""
        return self.address(servable) if self.scheme == "gs" else f"{MOUNTED_STORE}/{servable}"


@dataclass(frozen=True, slots=True)
class Choices:
    """What the person chose on the command line."""

    namespace: str
    host: str
    ingress_class: str | None
    router_image: str
    server_image: str
    store: Store
    keys_wanted: bool
    """Whether only holders of an API key may call: the keys file is mounted from a Secret."""
    keys: bytes | None
    """The keys file (hashes of keys) to render into that Secret; None where somebody else makes it."""
    redis_url: str | None
    """Where the routers count rates and quotas together."""
    follow_requests: bool
    """Whether the autoscalers follow requests in flight, too, which prometheus-adapter tells them."""


@dataclass(frozen=True, slots=True)
class ModelServer:
    """One model server of the cluster and the tables that it serves."""

    name: str
    dns_name: str
    """Its name where Kubernetes wants lower case letters, digits and '-' only."""
    models: tuple[ModelConfig, ...]

    @property
    def workload(self) -> str:
        """Name of its Deployment, Service and the rest."""
        return f"model-{self.dns_name}"

    @property
    def base_path(self) -> Path:
        """Its versions on this machine (tables that share a servable share it)."""
        return self.models[0].base_path

    @property
    def needs_labels(self) -> bool:
        """Whether one of its tables sends requests to versions by their labels."""
        return any(model.traffic or model.shadow for model in self.models)

    @property
    def timeout_seconds(self) -> float:
        """The longest that one of its tables lets a prediction take."""
        return max(model.timeout_seconds for model in self.models)


@dataclass(frozen=True, slots=True)
class Cluster:
    """Everything that the manifests are made of."""

    choices: Choices
    models: tuple[ModelConfig, ...]
    model_servers: tuple[ModelServer, ...]

    def model_server_of(self, model: ModelConfig) -> ModelServer | None:
        """Its model server in this cluster; None where its table names one elsewhere."""
        return next((item for item in self.model_servers if model in item.models), None)

    @property
    def upstreams_elsewhere(self) -> tuple[str, ...]:
        """Base URLs of model servers outside the cluster."""
        urls = (url for m in self.models if not self.model_server_of(m) for url in m.upstream)
        return tuple(dict.fromkeys(urls))


def plan_cluster(deployment: Deployment, choices: Choices) -> Cluster:
    """Give each servable a model server, except where a table names one that is not on this machine.

    Raises:
        ConfigError: Two servables would get the same name in Kubernetes, or one has no name there.
    """
    models = tuple(deployment.models.values())
    groups: dict[str, list[ModelConfig]] = {}
    for model in models:
        if all(map(is_local, model.upstream)):
            groups.setdefault(model.servable, []).append(model)
    servers = tuple(
        ModelServer(name, _dns_name(name, deployment), tuple(group))
        for name, group in groups.items()
    )
    _check_names_differ(servers, deployment)
    return Cluster(choices, models, servers)


def _dns_name(servable: str, deployment: Deployment) -> str:
    name = re.sub(r"[^a-z0-9]+", "-", servable.lower()).strip("-")
    if not name or len(name) > LONGEST_NAME:
        raise ConfigError(
            f"{deployment.path}: servable '{servable}' cannot be named in Kubernetes; choose one with 1 to"
            f" {LONGEST_NAME} letters and digits."
        )
    return name


def _check_names_differ(servers: tuple[ModelServer, ...], deployment: Deployment) -> None:
    seen: dict[str, str] = {}
    for server in servers:
        other = seen.setdefault(server.dns_name, server.name)
        if other != server.name:
            raise ConfigError(
                f"{deployment.path}: servables '{other}' and '{server.name}' would both be"
                f" '{server.dns_name}' in Kubernetes; rename one of them."
            )


def labels(component: str, name: str) -> Mapping[str, str]:
    """The labels that every object carries and that selectors select by."""
    return {
        "app.kubernetes.io/part-of": "keras-front-door",
        "app.kubernetes.io/component": component,
        "app.kubernetes.io/name": name,
    }
