"""The overlay for KServe: one InferenceService per servable, our router as its transformer.

It takes the base's namespace, volume claim and Secret, and deletes the workloads that KServe makes instead.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from scripts.kubernetes import router, workload
from scripts.kubernetes.router_models import model_files

if TYPE_CHECKING:
    from collections.abc import Iterator

    from scripts.kubernetes.cluster import Cluster, ModelServer
    from scripts.kubernetes.yaml_files import Manifest

PORT = 8080


def inference_manifests(cluster: Cluster, server: ModelServer) -> Iterator[Manifest]:
    """The router's configuration and the InferenceService of one servable."""
    name = server.workload
    namespace = cluster.choices.namespace
    predictor = f"http://{name}-predictor.{namespace}.svc.cluster.local"
    files = model_files(cluster, server.models, lambda _: (name, predictor))
    yield workload.config_map(f"{name}-transformer", namespace, files)
    yield {
        "apiVersion": "serving.kserve.io/v1beta1",
        "kind": "InferenceService",
        "metadata": {
            "name": name,
            "namespace": namespace,
            "annotations": {"serving.kserve.io/deploymentMode": "RawDeployment"},
        },
        "spec": {
            "predictor": _predictor(cluster, server),
            "transformer": _transformer(cluster, server, workload.digest(files)),
        },
    }


def _predictor(cluster: Cluster, server: ModelServer) -> Manifest:
    return {
        "minReplicas": workload.LEAST_PODS,
        "maxReplicas": workload.MOST_PODS,
        "securityContext": workload.POD_SECURITY,
        "model": {
            "modelFormat": {"name": "tensorflow"},
            "storageUri": cluster.choices.store.address(server.name),
            "securityContext": workload.CONTAINER_SECURITY,
            "resources": workload.MODEL_SERVER_RESOURCES,
        },
    }


def _transformer(cluster: Cluster, server: ModelServer, config_digest: str) -> Manifest:
    container = router.container(cluster, "kserve-container", PORT)
    # KServe appends --model_name and --predictor_host; the shell takes them and drops them, for the router reads
    # both from its models file.
    container["command"] = ["sh", "-c", "exec python -m flask_server"]
    container["securityContext"] = workload.CONTAINER_SECURITY
    return {
        "minReplicas": workload.LEAST_PODS,
        "maxReplicas": workload.MOST_PODS,
        "annotations": {"keras-front-door/config": config_digest},
        "securityContext": workload.POD_SECURITY,
        "containers": [container],
        "volumes": router.volumes(cluster, f"{server.workload}-transformer"),
    }


def overlay(files: list[str]) -> Manifest:
    """The overlay's kustomization."""
    return {
        "apiVersion": "kustomize.config.k8s.io/v1beta1",
        "kind": "Kustomization",
        "resources": ["../base", *files],
        "patches": [
            {
                "target": {
                    "labelSelector": "app.kubernetes.io/component in (router, model-server)"
                },
                "patch": _DELETE,
            },
            {"target": {"kind": "NetworkPolicy"}, "patch": _DELETE},
        ],
    }


_DELETE = "$patch: delete\nkind: Any\nmetadata:\n  name: any\n"
