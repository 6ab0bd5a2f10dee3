"""What a Deployment of the router and one of a model server have in common."""

from __future__ import annotations

import hashlib
import json
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from model_config import ConfigError
from scripts.kubernetes.cluster import labels

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from scripts.kubernetes.yaml_files import Manifest

LEAST_PODS, MOST_PODS = 2, 20
"""Of everything: two, so that one may go."""
CONFIG_MAP_BYTES = 1_000_000
LEAVE_SECONDS = 10
"""Between the order to stop and SIGTERM: time for every node to hear that the pod takes no new connections."""
NOBODY = 65534
POD_SECURITY = {
    "runAsNonRoot": True,
    "runAsUser": NOBODY,
    "runAsGroup": NOBODY,
    "fsGroup": NOBODY,
    "seccompProfile": {"type": "RuntimeDefault"},
}
MODEL_SERVER_RESOURCES = {
    "requests": {"cpu": "1", "memory": "1Gi"},
    "limits": {"memory": "4Gi"},
}
"""MobileNetV2 takes 0.9 GB, InceptionV3 1.7, and 2.3 while it is loaded; the scheduler counts what most models need."""
CONTAINER_SECURITY = {
    "allowPrivilegeEscalation": False,
    "capabilities": {"drop": ["ALL"]},
    "readOnlyRootFilesystem": True,
}


@dataclass(frozen=True, slots=True)
class Workload:
    """A named, scaled set of equal pods with one container."""

    component: str
    name: str
    namespace: str
    stop_seconds: int
    """How long its requests may take to finish after SIGTERM."""

    @property
    def labels(self) -> Mapping[str, str]:
        """Labels of its objects and pods."""
        return labels(self.component, self.name)

    def manifest(self, kind: str, api: str, **rest: Any) -> Manifest:  # noqa: ANN401 - YAML
        """An object of this workload."""
        return {
            "apiVersion": api,
            "kind": kind,
            "metadata": {
                "name": self.name,
                "namespace": self.namespace,
                "labels": dict(self.labels),
            },
            **rest,
        }


def config_map(name: str, namespace: str, files: Mapping[str, str]) -> Manifest:
    """Files that pods mount.

    Raises:
        ConfigError: They are more than Kubernetes keeps in one object.
    """
    if sum(len(text.encode()) for text in files.values()) > CONFIG_MAP_BYTES:
        raise ConfigError(
            f"The models file and its labels are over {CONFIG_MAP_BYTES} bytes, which is what a ConfigMap holds;"
            " render fewer models into one namespace."
        )
    return {
        "apiVersion": "v1",
        "kind": "ConfigMap",
        "metadata": {"name": name, "namespace": namespace},
        "data": dict(files),
    }


def digest(files: Mapping[str, str], secret: bytes = b"") -> str:
    """A short name for the content of configuration files."""
    text = json.dumps(dict(files), sort_keys=True).encode()
    return hashlib.sha256(text + secret).hexdigest()[:16]


def deployment(
    workload: Workload, container: Manifest, *, config_digest: str, extra: Manifest
) -> Manifest:
    """A Deployment that replaces its pods one by one, each only when the next one is ready.

    Args:
        workload: Whose pods.
        container: The pod's container, without what every container here has.
        config_digest: Of the configuration that the pod reads; another one replaces the pods.
        extra: Further keys of the pod's specification, such as volumes.
    """
    pod = {
        "metadata": {
            "labels": dict(workload.labels),
            "annotations": {"keras-front-door/config": config_digest},
        },
        "spec": _pod_spec(workload, container, extra),
    }
    return workload.manifest(
        "Deployment",
        "apps/v1",
        spec={
            "revisionHistoryLimit": 3,
            "selector": {"matchLabels": dict(workload.labels)},
            "strategy": {
                "type": "RollingUpdate",
                "rollingUpdate": {"maxSurge": 1, "maxUnavailable": 0},
            },
            "template": pod,
        },
    )


def _pod_spec(workload: Workload, container: Manifest, extra: Manifest) -> dict[str, Any]:
    return {
        "automountServiceAccountToken": False,
        "enableServiceLinks": False,
        "terminationGracePeriodSeconds": LEAVE_SECONDS + workload.stop_seconds,
        "securityContext": POD_SECURITY,
        "topologySpreadConstraints": [
            {
                "maxSkew": 1,
                "topologyKey": "kubernetes.io/hostname",
                "whenUnsatisfiable": "ScheduleAnyway",
                "labelSelector": {"matchLabels": dict(workload.labels)},
            }
        ],
        "containers": [
            {
                **container,
                "securityContext": CONTAINER_SECURITY,
                "lifecycle": {"preStop": {"exec": {"command": ["sleep", str(LEAVE_SECONDS)]}}},
            }
        ],
        **extra,
    }


def service(workload: Workload, *, port: int, target: str) -> Manifest:
    """The address under which the pods are reached."""
    return workload.manifest(
        "Service",
        "v1",
        spec={
            "selector": dict(workload.labels),
            "ports": [{"name": "http", "port": port, "targetPort": target}],
        },
    )


def autoscaler(workload: Workload, metrics: Sequence[Manifest]) -> Manifest:
    """Between `LEAST_PODS` and `MOST_PODS`: by processor, and by what else `metrics` says; quick up, slow down."""
    cpu = {
        "type": "Resource",
        "resource": {"name": "cpu", "target": {"type": "Utilization", "averageUtilization": 70}},
    }
    return workload.manifest(
        "HorizontalPodAutoscaler",
        "autoscaling/v2",
        spec={
            "scaleTargetRef": {
                "apiVersion": "apps/v1",
                "kind": "Deployment",
                "name": workload.name,
            },
            "minReplicas": LEAST_PODS,
            "maxReplicas": MOST_PODS,
            "metrics": [cpu, *metrics],
            "behavior": {"scaleDown": {"stabilizationWindowSeconds": 300}},
        },
    )


def disruption_budget(workload: Workload) -> Manifest:
    """At most one pod at a time may be evicted when nodes are drained."""
    return workload.manifest(
        "PodDisruptionBudget",
        "policy/v1",
        spec={"maxUnavailable": 1, "selector": {"matchLabels": dict(workload.labels)}},
    )


def http_probe(path: str, *, period: int, failures: int) -> Manifest:
    """A probe that asks over HTTP."""
    return {
        "httpGet": {"path": path, "port": "http"},
        "periodSeconds": period,
        "timeoutSeconds": 3,
        "failureThreshold": failures,
    }
