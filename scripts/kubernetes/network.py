"""NetworkPolicies: who may talk to whom. What is not allowed here is refused."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any
from urllib.parse import urlsplit

from scripts.kubernetes.cluster import REST_PORT
from scripts.kubernetes.router import PORT
from supervisor.ports import port_of

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    from scripts.kubernetes.cluster import Cluster, Store
    from scripts.kubernetes.yaml_files import Manifest

REDIS_PORT = 6379
ROUTERS = {"matchLabels": {"app.kubernetes.io/component": "router"}}
MODEL_SERVERS = {"matchLabels": {"app.kubernetes.io/component": "model-server"}}
# Where pods on GKE ask who they are, without and with its Dataplane V2.
GKE_METADATA = (("169.254.169.252/32", (987, 988)), ("169.254.169.254/32", (80, 8080)))
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
        egress=_to_store(cluster.choices.store),
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


def _to_store(store: Store) -> list[Manifest]:
    if store.scheme == "pvc":
        return []
    bucket: list[Manifest] = [DNS, {"ports": [_tcp(store.port)]}]
    if store.scheme == "s3":
        return bucket
    identity = (
        {"to": [{"ipBlock": {"cidr": address}}], "ports": [_tcp(port) for port in ports]}
        for address, ports in GKE_METADATA
    )
    return [*bucket, *identity]


def _elsewhere(cluster: Cluster) -> list[Manifest]:
    """Model servers outside the cluster, and Redis, have names, which policies do not know: their ports are let out."""
    ports = {port_of(url) for url in cluster.upstreams_elsewhere}
    if cluster.choices.redis_url:
        ports.add(urlsplit(cluster.choices.redis_url).port or REDIS_PORT)
    return [{"ports": [_tcp(port) for port in sorted(ports)]}] if ports else []
