from __future__ import annotations

import re
import tomllib
from dataclasses import replace
from typing import TYPE_CHECKING

from flask_server import create_app
from flask_server.metrics import the_metrics
from flask_server.settings import Settings
from model_config import load_deployment
from tests.deploy.conftest import Manifests, render

if TYPE_CHECKING:
    from pathlib import Path


def test_the_router_reads_the_same_tables(
    manifests: Manifests, models_toml: Path, tmp_path: Path
) -> None:
    """The models file in the ConfigMap means to the router what the original means, but for where model servers are."""
    for name, text in manifests.one("ConfigMap", "router-models")["data"].items():
        (tmp_path / name).write_text(text, encoding="utf-8")
    there = load_deployment(tmp_path / "models.toml").models
    here = load_deployment(models_toml).models
    assert list(there) == list(here)
    for name, model in here.items():
        not_the_routers = {
            "architecture": None,
            "weights": None,
            "base_path": there[name].base_path,
            "upstream": there[name].upstream,
        }
        assert there[name] == replace(model, **not_the_routers)


def test_the_router_finds_each_model_server(manifests: Manifests) -> None:
    """Each upstream in the router's models file is the address and port of a Service, whose pods serve that servable."""
    tables = tomllib.loads(manifests.one("ConfigMap", "router-models")["data"]["models.toml"])
    for table in (tables["imageclassifier"], tables["again"], tables["digits"]):
        (url,) = table["upstream"]
        host, port = url.removeprefix("http://").split(":")
        service = manifests.one("Service", host.split(".")[0])
        assert host == f"{service['metadata']['name']}.{service['metadata']['namespace']}.svc"
        assert [entry["port"] for entry in service["spec"]["ports"]] == [int(port)]
        config = manifests.one("ConfigMap", service["metadata"]["name"])["data"]["models.config"]
        assert f'name: "{table["servable"]}"' in config


def test_a_model_server_elsewhere_is_left_there(manifests: Manifests) -> None:
    """A table whose upstream is not this machine keeps it, gets no Deployment, and the router may reach its ports."""
    tables = tomllib.loads(manifests.one("ConfigMap", "router-models")["data"]["models.toml"])
    assert tables["elsewhere"]["upstream"] == [
        "https://models.example.net/tf",
        "http://192.0.2.7:9100",
    ]
    names = {i["metadata"]["name"] for i in manifests.all() if i["kind"] == "Deployment"}
    assert names == {"router", "model-imageclassifier", "model-digits"}
    egress = manifests.one("NetworkPolicy", "router")["spec"]["egress"]
    assert {"ports": [{"protocol": "TCP", "port": p} for p in (443, 9100)]} in egress


def test_the_ingress_lets_in_every_route_but_health_and_metrics(
    manifests: Manifests, models_toml: Path
) -> None:
    """Each rule of the real router is under a path of the Ingress, except those that are for operators."""
    rule = manifests.one("Ingress", "router")["spec"]["rules"][0]
    paths = {(path["path"], path["pathType"]) for path in rule["http"]["paths"]}
    prefixes = tuple(path for path, kind in paths if kind == "Prefix")
    app = create_app(Settings(models_file=models_toml))
    inside = {
        str(route)
        for route in app.url_map.iter_rules()
        if (str(route), "Exact") not in paths and not str(route).startswith(prefixes)
    }
    assert inside == {"/livez", "/readyz", "/metrics"}


def test_autoscalers_follow_gauges_that_the_router_has(manifests: Manifests) -> None:
    """The metrics that autoscalers and prometheus-adapter name are the router's, with the label that selects a model."""
    gauges = the_metrics()
    router = manifests.one("HorizontalPodAutoscaler", "router")["spec"]["metrics"][1]["pods"]
    assert router["metric"]["name"] == gauges.in_flight._name
    model = manifests.one("HorizontalPodAutoscaler", "model-imageclassifier")["spec"]["metrics"][1]
    metric = model["external"]["metric"]
    assert metric["name"] == gauges.in_stage._name
    (expression,) = metric["selector"]["matchExpressions"]
    assert expression["key"] in gauges.in_stage._labelnames
    assert expression["values"] == ["imageclassifier", "again"]
    adapter = (manifests.folder / "prometheus-adapter-values.yaml").read_text()
    assert {gauges.in_flight._name, gauges.in_stage._name} <= set(
        re.findall(r"router_\w+", adapter)
    )


def test_autoscalers_follow_nothing_that_nobody_tells_them(stored: Manifests) -> None:
    """Without prometheus-adapter the processor alone: one metric that cannot be had keeps them from removing pods."""
    scalers = [item for item in stored.all() if item["kind"] == "HorizontalPodAutoscaler"]
    assert scalers
    for scaler in scalers:
        assert [metric["type"] for metric in scaler["spec"]["metrics"]] == ["Resource"]
    assert not (stored.folder / "prometheus-adapter-values.yaml").exists()


def test_routers_count_together_where_asked(models_toml: Path, tmp_path: Path) -> None:
    """With --redis-url and keys made otherwise: the router is told, may go there, and mounts a Secret not rendered."""
    url = "redis://counts.example.net:6380/0"
    options = ("--redis-url", url, "--api-keys", "existing")
    assert render("--models", models_toml, "--out", tmp_path, *options).returncode == 0
    rendered = Manifests(tmp_path, "")
    pod = rendered.one("Deployment", "router")["spec"]["template"]["spec"]
    assert {"name": "REDIS_URL", "value": url} in pod["containers"][0]["env"]
    assert {"name": "keys", "secret": {"secretName": "router-api-keys"}} in pod["volumes"]
    assert not [item for item in rendered.all() if item["kind"] == "Secret"]
    (endpoint,) = rendered.one("ServiceMonitor", "router")["spec"]["endpoints"]
    assert endpoint["authorization"]["credentials"]["name"] == "router-metrics-key"
    ports = rendered.one("NetworkPolicy", "router")["spec"]["egress"][-1]["ports"]
    assert {"protocol": "TCP", "port": 6380} in ports
