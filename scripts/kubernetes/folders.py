"""Which file holds which manifests."""

from __future__ import annotations

from typing import TYPE_CHECKING

from scripts.kubernetes.kserve import inference_manifests, overlay
from scripts.kubernetes.model_server import model_server_manifests
from scripts.kubernetes.monitoring import adapter_values, service_monitor
from scripts.kubernetes.network import network_policies
from scripts.kubernetes.router import router_manifests
from scripts.kubernetes.yaml_files import write_folder

if TYPE_CHECKING:
    from collections.abc import Iterable
    from pathlib import Path

    from scripts.kubernetes.cluster import Cluster
    from scripts.kubernetes.yaml_files import Manifest


def write_manifests(cluster: Cluster, folder: Path) -> None:
    """Write `base/`, the KServe overlay `kserve/`, and where they are wanted the values for prometheus-adapter."""
    base = base_files(cluster)
    inference = {
        f"{server.workload}.yaml": list(inference_manifests(cluster, server))
        for server in cluster.model_servers
    }
    write_folder(folder / "base", {"kustomization.yaml": [_kustomization(base)], **base})
    write_folder(folder / "kserve", {"kustomization.yaml": [overlay(list(inference))], **inference})
    values = {"prometheus-adapter-values.yaml": [adapter_values(cluster)]}
    write_folder(folder, values if cluster.choices.follow_requests else {})


def base_files(cluster: Cluster) -> dict[str, Iterable[Manifest]]:
    """File name -> the manifests in it."""
    files: dict[str, Iterable[Manifest]] = {"namespace.yaml": [_namespace(cluster)]}
    if cluster.choices.store.scheme == "pvc":
        files["model-store.yaml"] = [_claim(cluster)]
    files["router.yaml"] = list(router_manifests(cluster))
    for server in cluster.model_servers:
        files[f"{server.workload}.yaml"] = list(model_server_manifests(cluster, server))
    files["network-policies.yaml"] = list(network_policies(cluster))
    files["service-monitor.yaml"] = [service_monitor(cluster)]
    return files


def _kustomization(files: Iterable[str]) -> Manifest:
    return {
        "apiVersion": "kustomize.config.k8s.io/v1beta1",
        "kind": "Kustomization",
        "resources": list(files),
    }


def _namespace(cluster: Cluster) -> Manifest:
    return {
        "apiVersion": "v1",
        "kind": "Namespace",
        "metadata": {
            "name": cluster.choices.namespace,
            "labels": {"pod-security.kubernetes.io/enforce": "restricted"},
        },
    }


def _claim(cluster: Cluster) -> Manifest:
    """One volume that every model server reads; its storage class must allow many nodes."""
    return {
        "apiVersion": "v1",
        "kind": "PersistentVolumeClaim",
        "metadata": {
            "name": cluster.choices.store.claim,
            "namespace": cluster.choices.namespace,
        },
        "spec": {
            "accessModes": ["ReadWriteMany"],
            "resources": {"requests": {"storage": "20Gi"}},
        },
    }
