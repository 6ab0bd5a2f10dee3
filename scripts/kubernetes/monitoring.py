"""What Prometheus collects, and how it reaches the autoscalers."""

from __future__ import annotations

from typing import TYPE_CHECKING

from scripts.kubernetes.cluster import labels

if TYPE_CHECKING:
    from scripts.kubernetes.cluster import Cluster, ModelServer
    from scripts.kubernetes.yaml_files import Manifest

REQUESTS = "router_requests_in_flight"
"""The router's gauge of requests that it works on."""
MODEL_REQUESTS = "router_stage_in_flight"
"""And of those that wait for, or are at, a model's servers: by model and stage."""
METRICS_KEY_SECRET = "router-metrics-key"  # noqa: S105 - a name


def requests_in_flight(cluster: Cluster, each: int) -> list[Manifest]:
    """As many router pods as it takes for `each` of them to have so many requests in flight.

    Only where somebody tells that metric: an autoscaler that is not told one of its metrics never removes a pod.
    """
    metric = {"name": REQUESTS}
    target = {"type": "AverageValue", "averageValue": str(each)}
    pods: Manifest = {"type": "Pods", "pods": {"metric": metric, "target": target}}
    return [pods] if cluster.choices.follow_requests else []


def model_requests_in_flight(cluster: Cluster, server: ModelServer, each: int) -> list[Manifest]:
    """The same for a model server: TensorFlow Serving has no such gauge, so the routers' counts are added up."""
    models = [model.name for model in server.models]
    selector = {"matchExpressions": [{"key": "model", "operator": "In", "values": models}]}
    metric = {"name": MODEL_REQUESTS, "selector": selector}
    target = {"type": "AverageValue", "averageValue": str(each)}
    external: Manifest = {"type": "External", "external": {"metric": metric, "target": target}}
    return [external] if cluster.choices.follow_requests else []


def service_monitor(cluster: Cluster) -> Manifest:
    """Lets the Prometheus operator collect `/metrics` of each router pod, with a key where keys are asked for."""
    router = dict(labels("router", "router"))
    endpoint: dict[str, object] = {"port": "http", "path": "/metrics", "interval": "15s"}
    if cluster.choices.keys_wanted:
        endpoint["authorization"] = {"credentials": {"name": METRICS_KEY_SECRET, "key": "key"}}
    return {
        "apiVersion": "monitoring.coreos.com/v1",
        "kind": "ServiceMonitor",
        "metadata": {
            "name": "router",
            "namespace": cluster.choices.namespace,
            "labels": router,
        },
        "spec": {
            "selector": {"matchLabels": router},
            "endpoints": [endpoint],
        },
    }


def adapter_values(cluster: Cluster) -> Manifest:
    """Values for the Helm chart of prometheus-adapter, which hands the gauges to the autoscalers."""
    where = f'{{namespace="{cluster.choices.namespace}",pod!=""}}'
    namespace = {"namespace": {"resource": "namespace"}}
    pods = {
        "seriesQuery": REQUESTS + where,
        "resources": {"overrides": namespace | {"pod": {"resource": "pod"}}},
        "metricsQuery": "sum(<<.Series>>{<<.LabelMatchers>>}) by (<<.GroupBy>>)",
    }
    models = {
        "seriesQuery": MODEL_REQUESTS + where,
        "resources": {"overrides": namespace},
        # A model that nobody has asked has no series, and without an answer no pod would be removed.
        "metricsQuery": "sum(<<.Series>>{<<.LabelMatchers>>}) or vector(0)",
    }
    return {"rules": {"custom": [pods], "external": [models]}}
