"""NetworkPolicies: who may talk to whom. What is not allowed here is refused."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any
from urllib.parse import urlsplit

from scripts.kubernetes.cluster import REST_PORT
from scripts.kubernetes.router import PORT
from supervisor.ports import port_of

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    from scripts.kubernetes.cluster import Cluster
    from scripts.kubernetes.yaml_files import Manifest

REDIS_PORT = 6379
ROUTERS = {"matchLabels": {"app.kubernetes.io/component": "router"}}
MODEL_SERVERS = {"matchLabels": {"app.kubernetes.io/component": "model-server"}}
DNS = {"ports": [{"protocol": protocol, "port": 53} for protocol in ("UDP", "TCP")]}


def network_policies(cluster: Cluster) -> Iterator[Manifest]:
    """Nobody reaches anything, but anyone the router, and the router the model servers."""
    namespace = cluster.choices.namespace
    yield _policy("default-deny", namespace, {}, policyTypes=["Ingress", "Egress"])
    yield _policy(
        "router",
        namespace,
        ROUTERS,
        ingress=[{"ports": [_tcp(PORT)]}],
        egress=[
            DNS,
            {"to": [{"podSelector": MODEL_SERVERS}], "ports": [_tcp(REST_PORT)]},
            *_elsewhere(cluster),
        ],
        policyTypes=["Ingress", "Egress"],
    )
    yield _policy(
        "model-servers",
        namespace,
        MODEL_SERVERS,
        ingress=[{"from": [{"podSelector": ROUTERS}], "ports": [_tcp(REST_PORT)]}],
        egress=[] if cluster.choices.store.scheme == "pvc" else [DNS, {"ports": [_tcp(443)]}],
        policyTypes=["Ingress", "Egress"],
    )


def _policy(name: str, namespace: str, pods: Mapping[str, Any], **spec: Any) -> Manifest:  # noqa: ANN401 - YAML
    return {
        "apiVersion": "networking.k8s.io/v1",
        "kind": "NetworkPolicy",
        "metadata": {"name": name, "namespace": namespace},
        "spec": {"podSelector": dict(pods), **spec},
    }


def _tcp(port: int) -> dict[str, Any]:
    return {"protocol": "TCP", "port": port}


def _elsewhere(cluster: Cluster) -> list[Manifest]:
    """Model servers outside the cluster, and Redis, have names, which policies do not know: their ports are let out."""
    ports = {port_of(url) for url in cluster.upstreams_elsewhere}
    if cluster.choices.redis_url:
        ports.add(urlsplit(cluster.choices.redis_url).port or REDIS_PORT)
    return [{"ports": [_tcp(port) for port in sorted(ports)]}] if ports else []
