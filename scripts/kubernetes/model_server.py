"""The objects of one model server: TensorFlow Serving with its `models.config`, for one servable."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Any
from urllib.parse import quote

from model_config import read_version_labels
from model_config.versions import recent_versions
from scripts.kubernetes import workload
from scripts.kubernetes.cluster import MOUNTED_STORE, REST_PORT
from scripts.kubernetes.monitoring import model_requests_in_flight
from scripts.kubernetes.workload import Workload
from supervisor.server_config import entry, model_config_list

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    from scripts.kubernetes.cluster import Cluster, ModelServer
    from scripts.kubernetes.yaml_files import Manifest

CONFIG_FOLDER = "/etc/model-server"
COPY_IMAGE = "rclone/rclone:1.68.2"
IN_FLIGHT_EACH = 4
"""Predictions that one pod computes or holds at once before another pod is started."""


def model_server_manifests(cluster: Cluster, server: ModelServer) -> Iterator[Manifest]:
    """Everything of one model server."""
    whose = Workload(
        "model-server",
        server.workload,
        cluster.choices.namespace,
        math.ceil(server.timeout_seconds),
    )
    files = {"models.config": _models_config(cluster, server)}
    yield workload.config_map(server.workload, cluster.choices.namespace, files)
    yield workload.deployment(
        whose,
        _container(cluster, server),
        config_digest=workload.digest(files),
        extra=_storage(cluster, server),
    )
    yield workload.service(whose, port=REST_PORT, target="http")
    yield workload.autoscaler(whose, model_requests_in_flight(cluster, server, IN_FLIGHT_EACH))
    yield workload.disruption_budget(whose)


def _models_config(cluster: Cluster, server: ModelServer) -> str:
    """TensorFlow Serving's ModelServerConfig as text.

    Where a table shares traffic out between version labels, they are those that lie beside the versions on this machine;
    what bears one, or did before, is loaded. Elsewhere the newest version is.
    """
    histories = read_version_labels(server.base_path) if server.needs_labels else {}
    versions = sorted(recent_versions(histories))
    labels = {label: history[-1] for label, history in histories.items()}
    base_path = cluster.choices.store.base_path(server.name)
    return model_config_list([entry(server.name, base_path, versions, labels)])


def _container(cluster: Cluster, server: ModelServer) -> Manifest:
    model = f"/v1/models/{quote(server.name, safe='')}"
    return {
        "name": "model-server",
        "image": cluster.choices.server_image,
        "command": ["tensorflow_model_server"],
        "args": [
            "--port=8500",
            f"--rest_api_port={REST_PORT}",
            f"--rest_api_timeout_in_ms={math.ceil(server.timeout_seconds * 1000)}",
            f"--model_config_file={CONFIG_FOLDER}/models.config",
            "--allow_version_labels_for_unavailable_models=true",
            "--file_system_poll_wait_seconds=10",
        ],
        "ports": [{"name": "http", "containerPort": REST_PORT}],
        # The status answers 200 as soon as the server listens; the metadata only when a version is available.
        "startupProbe": workload.http_probe(f"{model}/metadata", period=2, failures=300),
        "livenessProbe": workload.http_probe(model, period=10, failures=3),
        "readinessProbe": workload.http_probe(f"{model}/metadata", period=5, failures=2),
        "resources": workload.MODEL_SERVER_RESOURCES,
        "volumeMounts": _mounts(cluster),
    }


def _mounts(cluster: Cluster) -> list[Manifest]:
    mounts: list[Manifest] = [
        {"name": "config", "mountPath": CONFIG_FOLDER, "readOnly": True},
        {"name": "scratch", "mountPath": "/tmp"},  # noqa: S108 - in the container
    ]
    if cluster.choices.store.scheme != "gs":
        mounts.append({"name": "models", "mountPath": MOUNTED_STORE, "readOnly": True})
    return mounts


def _storage(cluster: Cluster, server: ModelServer) -> Mapping[str, Any]:
    """Volumes, and for an S3 bucket the container that copies versions before the server starts.

    TensorFlow Serving reads `gs://` itself; reading `s3://` was taken out of it after release 2.6.
    """
    store = cluster.choices.store
    volumes: list[Manifest] = [
        {"name": "config", "configMap": {"name": server.workload}},
        {"name": "scratch", "emptyDir": {"sizeLimit": "256Mi"}},
    ]
    if store.scheme == "pvc":
        claim = {"claimName": store.claim, "readOnly": True}
        volumes.append({"name": "models", "persistentVolumeClaim": claim})
    if store.scheme != "s3":
        return {"volumes": volumes}
    volumes.append({"name": "models", "emptyDir": {}})
    return {"volumes": volumes, "initContainers": [_copy_container(cluster, server)]}


def _copy_container(cluster: Cluster, server: ModelServer) -> Manifest:
    source = cluster.choices.store.address(server.name).removeprefix("s3://")
    return {
        "name": "copy-versions",
        "image": COPY_IMAGE,
        "args": ["copy", f":s3,env_auth:{source}", f"{MOUNTED_STORE}/{server.name}"],
        "env": [{"name": "RCLONE_CONFIG", "value": "/tmp/rclone.conf"}],  # noqa: S108
        "envFrom": [{"secretRef": {"name": "model-store", "optional": True}}],
        "securityContext": workload.CONTAINER_SECURITY,
        "resources": {
            "requests": {"cpu": "100m", "memory": "128Mi"},
            "limits": {"memory": "512Mi"},
        },
        "volumeMounts": [
            {"name": "models", "mountPath": MOUNTED_STORE},
            {"name": "scratch", "mountPath": "/tmp"},  # noqa: S108
        ],
    }
