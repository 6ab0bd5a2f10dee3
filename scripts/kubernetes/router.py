"""The router's objects: configuration, pods, address, Ingress."""

from __future__ import annotations

import base64
from typing import TYPE_CHECKING, Any

from scripts.kubernetes import workload
from scripts.kubernetes.monitoring import requests_in_flight
from scripts.kubernetes.router_models import MODELS_FILE, model_files, service_url
from scripts.kubernetes.workload import Workload

if TYPE_CHECKING:
    from collections.abc import Iterator

    from scripts.kubernetes.cluster import Cluster
    from scripts.kubernetes.yaml_files import Manifest

PORT = 5000
MODELS_FOLDER = "/etc/router/models"
KEYS_FOLDER = "/etc/router/keys"
SCRATCH = "/tmp"  # noqa: S108 - in the container
KEYS_SECRET = "router-api-keys"  # noqa: S105 - a name
TLS_SECRET = "router-tls"  # noqa: S105 - a name
STOP_SECONDS = 35
"""The router's DRAIN_SECONDS and STOP_TIMEOUT (1 and 30), and a little."""
IN_FLIGHT_EACH = 16
"""Requests that one pod of two workers handles at once before another pod is started."""
PUBLIC_PATHS = ("/models/", "/hello/", "/docs", "/openapi.json", "/samples/", "/static/")
"""What the Ingress lets in besides the page at `/` and the models' routes: neither metrics nor health."""


def router_manifests(cluster: Cluster) -> Iterator[Manifest]:
    """Everything of the router."""
    whose = Workload("router", "router", cluster.choices.namespace, STOP_SECONDS)
    files = model_files(
        cluster, cluster.models, lambda item: (item.name, service_url(cluster, item))
    )
    yield workload.config_map("router-models", cluster.choices.namespace, files)
    if cluster.choices.keys is not None:
        yield _keys_secret(cluster, cluster.choices.keys)
    yield workload.deployment(
        whose,
        container(cluster, "router", PORT),
        config_digest=workload.digest(files, cluster.choices.keys or b""),
        extra={"volumes": volumes(cluster, "router-models")},
    )
    yield workload.service(whose, port=80, target="http")
    yield workload.autoscaler(whose, requests_in_flight(cluster, IN_FLIGHT_EACH))
    yield workload.disruption_budget(whose)
    yield _ingress(cluster, whose)


def container(cluster: Cluster, name: str, port: int) -> dict[str, Any]:
    """The router's container, here and as KServe's transformer."""
    return {
        "name": name,
        "image": cluster.choices.router_image,
        "env": [
            {"name": name, "value": value} for name, value in _environment(cluster, port).items()
        ],
        "ports": [{"name": "http", "containerPort": port}],
        "startupProbe": workload.http_probe("/livez", period=1, failures=60),
        "livenessProbe": workload.http_probe("/livez", period=10, failures=3),
        "readinessProbe": workload.http_probe("/readyz", period=2, failures=2),
        "resources": {
            "requests": {"cpu": "500m", "memory": "256Mi"},
            # Two workers, each with 256 MiB of requests that are being received and the largest photo.
            "limits": {"memory": "1536Mi"},
        },
        "volumeMounts": _mounts(cluster),
    }


def _environment(cluster: Cluster, port: int) -> dict[str, str]:
    environment = {
        "HOST": "0.0.0.0",
        "PORT": str(port),
        "MODELS_FILE": f"{MODELS_FOLDER}/{MODELS_FILE}",
        "STATE_DIR": f"{SCRATCH}/state",
        "LOG_FORMAT": "json",
        # By default for the node's processors and for photos of any phone, which the memory is not for.
        "WORKERS": "2",
        "DECODE_CONCURRENCY": "1",
        "MAX_PIXELS": "25000000",
    }
    if cluster.choices.keys_wanted:
        environment["API_KEYS_FILE"] = f"{KEYS_FOLDER}/keys.json"
    if cluster.choices.redis_url:
        environment["REDIS_URL"] = cluster.choices.redis_url
    return environment


def _mounts(cluster: Cluster) -> list[Manifest]:
    mounts: list[Manifest] = [
        {"name": "models", "mountPath": MODELS_FOLDER, "readOnly": True},
        {"name": "scratch", "mountPath": SCRATCH},
    ]
    if cluster.choices.keys_wanted:
        mounts.append({"name": "keys", "mountPath": KEYS_FOLDER, "readOnly": True})
    return mounts


def volumes(cluster: Cluster, config_map_name: str) -> list[Manifest]:
    """What the router's container mounts."""
    all_of_them: list[Manifest] = [
        {"name": "models", "configMap": {"name": config_map_name}},
        {"name": "scratch", "emptyDir": {"sizeLimit": "256Mi"}},
    ]
    if cluster.choices.keys_wanted:
        all_of_them.append({"name": "keys", "secret": {"secretName": KEYS_SECRET}})
    return all_of_them


def _keys_secret(cluster: Cluster, keys: bytes) -> Manifest:
    return {
        "apiVersion": "v1",
        "kind": "Secret",
        "metadata": {"name": KEYS_SECRET, "namespace": cluster.choices.namespace},
        "type": "Opaque",
        "data": {"keys.json": base64.b64encode(keys).decode()},
    }


def _ingress(cluster: Cluster, whose: Workload) -> Manifest:
    prefixes = [f"/{model.name}/" for model in cluster.models]
    paths = [("/", "Exact"), *((path, "Prefix") for path in (*prefixes, *PUBLIC_PATHS))]
    backend = {"service": {"name": whose.name, "port": {"name": "http"}}}
    host = cluster.choices.host
    spec: dict[str, Any] = {
        "tls": [{"hosts": [host], "secretName": TLS_SECRET}],
        "rules": [
            {
                "host": host,
                "http": {
                    "paths": [
                        {"path": path, "pathType": kind, "backend": backend} for path, kind in paths
                    ]
                },
            }
        ],
    }
    if cluster.choices.ingress_class:
        spec = {"ingressClassName": cluster.choices.ingress_class, **spec}
    return whose.manifest("Ingress", "networking.k8s.io/v1", spec=spec)
