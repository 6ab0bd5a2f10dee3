"""What Prometheus collects, and how it reaches the autoscalers."""

from __future__ import annotations

from typing import TYPE_CHECKING

from scripts.kubernetes.cluster import labels

if TYPE_CHECKING:
    from scripts.kubernetes.cluster import Cluster, Servable
    from scripts.kubernetes.yaml_files import Manifest

IN_FLIGHT = "router_requests_in_flight"
"""The router's gauge of requests that it works on, by model."""


def requests_in_flight(each: int) -> Manifest:
    """As many router pods as it takes for `each` of them to have so many requests in flight."""
    return {
        "type": "Pods",
        "pods": {
            "metric": {"name": IN_FLIGHT},
            "target": {"type": "AverageValue", "averageValue": str(each)},
        },
    }


def model_requests_in_flight(servable: Servable, each: int) -> Manifest:
    """The same for a model server: TensorFlow Serving has no such gauge, so the routers' counts are added up."""
    models = [model.name for model in servable.models]
    selector = {"matchExpressions": [{"key": "model", "operator": "In", "values": models}]}
    return {
        "type": "External",
        "external": {
            "metric": {"name": IN_FLIGHT, "selector": selector},
            "target": {"type": "AverageValue", "averageValue": str(each)},
        },
    }


def service_monitor(cluster: Cluster) -> Manifest:
    """Lets the Prometheus operator collect `/metrics` of each router pod."""
    router = dict(labels("router", "router"))
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
            "endpoints": [{"port": "http", "path": "/metrics", "interval": "15s"}],
        },
    }


def adapter_values(cluster: Cluster) -> Manifest:
    """Values for the Helm chart of prometheus-adapter, which hands the gauge to the autoscalers."""
    series = f'{IN_FLIGHT}{{namespace="{cluster.choices.namespace}",pod!=""}}'
    overrides = {"namespace": {"resource": "namespace"}, "pod": {"resource": "pod"}}
    pods = {
        "seriesQuery": series,
        "resources": {"overrides": overrides},
        "metricsQuery": "sum(<<.Series>>{<<.LabelMatchers>>}) by (<<.GroupBy>>)",
    }
    external = {
        "seriesQuery": series,
        "resources": {"overrides": {"namespace": {"resource": "namespace"}}},
        "metricsQuery": "sum(<<.Series>>{<<.LabelMatchers>>})",
    }
    return {"rules": {"custom": [pods], "external": [external]}}
