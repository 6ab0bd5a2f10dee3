from __future__ import annotations

import functools
import re
import tomllib
from dataclasses import replace
from typing import TYPE_CHECKING, Any

import kubernetes_validate
import pytest
import yaml

from flask_server import create_app
from flask_server.metrics import the_metrics
from flask_server.settings import Settings
from model_config import load_deployment
from serving.flags import parse_flags
from tests.deploy.conftest import Manifests, render
from tests.processes import ROOT

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

RELEASES = ("1.35.0", "1.36.0", "1.37.0")
FOREIGN = {"ServiceMonitor", "InferenceService"}
"""Kinds that other projects define; kubernetes-validate knows Kubernetes' own."""


def pod_templates(manifests: Manifests) -> Iterator[dict[str, Any]]:
    """The pods of every Deployment."""
    return (item["spec"]["template"] for item in manifests.all() if item["kind"] == "Deployment")


@pytest.fixture(scope="module", autouse=True)
def schemas_read_once() -> Iterator[None]:
    """kubernetes-validate reads its files, which are large, for every object anew."""
    with pytest.MonkeyPatch.context() as patch:
        read = functools.cache(kubernetes_validate.utils.schema_contents)
        patch.setattr(kubernetes_validate.utils, "schema_contents", read)
        yield


@pytest.mark.parametrize("part", ["base", "kserve"])
@pytest.mark.parametrize("release", RELEASES)
def test_every_manifest_is_valid(stored: Manifests, release: str, part: str) -> None:
    """Three releases of Kubernetes take every object, without an unknown field."""
    checked = [item for item in stored.all(part) if item["kind"] not in FOREIGN]
    assert checked
    for item in checked:
        kubernetes_validate.validate(item, release, strict=True)


def test_an_invalid_manifest_is_noticed(manifests: Manifests) -> None:
    """The check above fails for a field that Kubernetes does not know."""
    wrong = manifests.one("Deployment", "router") | {"replicas": 3}
    with pytest.raises(kubernetes_validate.ValidationError):
        kubernetes_validate.validate(wrong, RELEASES[-1], strict=True)


def test_the_same_input_gives_the_same_bytes(
    manifests: Manifests, models_toml: Path, tmp_path: Path
) -> None:
    """A second run into another folder writes identical files."""
    keys = manifests.folder / "keys.json"
    render("--models", models_toml, "--out", tmp_path, "--api-keys", keys)
    first = {f.relative_to(manifests.folder): f for f in manifests.folder.rglob("*.yaml")}
    second = {f.relative_to(tmp_path): f for f in tmp_path.rglob("*.yaml")}
    assert first.keys() == second.keys()
    assert all(first[name].read_bytes() == second[name].read_bytes() for name in first)


def test_the_shipped_manifests_are_those_of_the_shipped_models_file(tmp_path: Path) -> None:
    """deploy/kubernetes/ is what `make manifests` writes; run it when models.toml has changed."""
    assert render("--models", ROOT / "models.toml", "--out", tmp_path).returncode == 0
    shipped = ROOT / "deploy" / "kubernetes"
    names = {file.relative_to(tmp_path) for file in tmp_path.rglob("*.yaml")}
    assert names == {file.relative_to(shipped) for file in shipped.rglob("*.yaml")}
    for name in names:
        assert (shipped / name).read_bytes() == (tmp_path / name).read_bytes(), name


def test_a_model_that_is_gone_leaves_no_manifest(models_toml: Path, tmp_path: Path) -> None:
    """Rendering again after a table was removed removes its files, and no file of somebody else."""
    assert render("--models", models_toml, "--out", tmp_path).returncode == 0
    mine = tmp_path / "base" / "mine.yaml"
    mine.write_text("kind: Mine\n")
    fewer = tmp_path / "models.toml"
    fewer.write_text("[other]\ninput_size = [8, 8]\n")
    assert render("--models", fewer, "--out", tmp_path).returncode == 0
    names = {file.name for file in (tmp_path / "base").glob("model-*.yaml")}
    assert names == {"model-store.yaml", "model-other.yaml"}
    assert mine.exists()


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


def test_services_select_their_own_pods_alone(manifests: Manifests) -> None:
    """Each Service's selector fits the pods of one Deployment, and its target port is one of theirs."""
    templates = list(pod_templates(manifests))
    for service in (item for item in manifests.all() if item["kind"] == "Service"):
        selector = service["spec"]["selector"].items()
        fitting = [t for t in templates if selector <= t["metadata"]["labels"].items()]
        assert len(fitting) == 1
        ports = fitting[0]["spec"]["containers"][0]["ports"]
        target = service["spec"]["ports"][0]["targetPort"]
        assert target in [port["name"] for port in ports]


def test_what_pods_mount_exists(manifests: Manifests) -> None:
    """Every ConfigMap, claim and Secret that a pod mounts is rendered too, and every mount has its volume."""
    there = {(item["kind"], item["metadata"]["name"]) for item in manifests.all()}
    for template in pod_templates(manifests):
        volumes = {volume["name"]: volume for volume in template["spec"]["volumes"]}
        for volume in volumes.values():
            if "configMap" in volume:
                assert ("ConfigMap", volume["configMap"]["name"]) in there
            if "persistentVolumeClaim" in volume:
                claim = volume["persistentVolumeClaim"]["claimName"]
                assert ("PersistentVolumeClaim", claim) in there
        for container in template["spec"]["containers"]:
            assert {mount["name"] for mount in container["volumeMounts"]} <= volumes.keys()
    assert ("Secret", "router-api-keys") in there


def test_each_store_reaches_the_model_server(stored: Manifests) -> None:
    """The base path is the bucket for gs://, else a mounted folder, which an S3 bucket is copied into first."""
    config = stored.one("ConfigMap", "model-digits")["data"]["models.config"]
    pod = stored.one("Deployment", "model-digits")["spec"]["template"]["spec"]
    copies = [entry["args"][1:] for entry in pod.get("initContainers", [])]
    expected = {
        "pvc://models": ("/models/digits", []),
        "gs://bucket/path": ("gs://bucket/path/digits", []),
        "s3://bucket/path": (
            "/models/digits",
            [[":s3,env_auth:bucket/path/digits", "/models/digits"]],
        ),
    }[stored.store]
    assert (f'base_path: "{expected[0]}"' in config, copies) == (True, expected[1])


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


def test_model_servers_are_started_with_flags_that_exist(
    manifests: Manifests, capsys: pytest.CaptureFixture[str]
) -> None:
    """Our model server, which knows TensorFlow Serving's flags, finds none unknown and none without effect."""
    pod = manifests.one("Deployment", "model-digits")["spec"]["template"]["spec"]
    flags = parse_flags(pod["containers"][0]["args"])
    assert capsys.readouterr().err == ""
    assert flags.without_effect() == []
    assert flags.rest_api_port == pod["containers"][0]["ports"][0]["containerPort"]


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


def test_version_labels_travel_along(tmp_path: Path) -> None:
    """A table that shares out traffic brings its keys to the router, and its labels to the model server."""
    table = 'input_size = [8, 8]\nbase_path = "m"\ntraffic = { stable = 90, canary = 10 }\nshadow = "next"\n'
    (tmp_path / "models.toml").write_text(f"[m]\n{table}")
    (tmp_path / "m").mkdir()
    histories = '{"stable": [1, 2], "canary": [3], "next": [7]}'
    (tmp_path / "m" / "version_labels.json").write_text(histories)
    out = tmp_path / "out"
    assert render("--models", tmp_path / "models.toml", "--out", out).returncode == 0
    rendered = Manifests(out, "")
    config = rendered.one("ConfigMap", "model-m")["data"]["models.config"]
    assert "specific { versions: 1 versions: 2 versions: 3 versions: 7 }" in config
    assert 'version_labels { key: "stable" value: 2 }' in config
    tables = tomllib.loads(rendered.one("ConfigMap", "router-models")["data"]["models.toml"])
    assert tables["m"]["traffic"] == {"stable": 90, "canary": 10}
    assert tables["m"]["shadow"] == "next"


def test_pods_run_with_the_least_rights(manifests: Manifests) -> None:
    """Non-root, read-only root, no capabilities, no account token: what the `restricted` profile of the namespace asks."""
    namespace = manifests.one("Namespace", "keras-front-door")
    assert namespace["metadata"]["labels"]["pod-security.kubernetes.io/enforce"] == "restricted"
    for template in pod_templates(manifests):
        pod = template["spec"]
        assert pod["automountServiceAccountToken"] is False
        assert pod["securityContext"]["runAsNonRoot"] is True
        assert pod["securityContext"]["seccompProfile"] == {"type": "RuntimeDefault"}
        for container in (*pod["containers"], *pod.get("initContainers", [])):
            assert container["securityContext"] == {
                "allowPrivilegeEscalation": False,
                "capabilities": {"drop": ["ALL"]},
                "readOnlyRootFilesystem": True,
            }
            assert "memory" in container["resources"]["limits"]


def test_updates_and_drains_lose_no_request(manifests: Manifests) -> None:
    """No pod goes before the next is ready; one that goes is given time to be forgotten, and to finish."""
    for item in manifests.all():
        if item["kind"] == "Deployment":
            rolling = item["spec"]["strategy"]["rollingUpdate"]
            assert (rolling["maxSurge"], rolling["maxUnavailable"]) == (1, 0)
            pod = item["spec"]["template"]["spec"]
            command = pod["containers"][0]["lifecycle"]["preStop"]["exec"]["command"]
            assert pod["terminationGracePeriodSeconds"] >= int(command[1]) + 30
            assert manifests.one("PodDisruptionBudget", item["metadata"]["name"])
            scaler = manifests.one("HorizontalPodAutoscaler", item["metadata"]["name"])
            assert scaler["spec"]["minReplicas"] >= 2


def test_a_slow_model_is_waited_for(manifests: Manifests) -> None:
    """A servable's longest `timeout_seconds` is the model server's own limit, and within its time to stop."""
    pod = manifests.one("Deployment", "model-imageclassifier")["spec"]["template"]["spec"]
    assert "--rest_api_timeout_in_ms=44500" in pod["containers"][0]["args"]
    assert pod["terminationGracePeriodSeconds"] >= 45


def test_probes_ask_what_means_something(manifests: Manifests) -> None:
    """The router is asked /livez and /readyz; a model server is ready when a version answers for its metadata."""
    router = manifests.one("Deployment", "router")["spec"]["template"]["spec"]["containers"][0]
    assert router["livenessProbe"]["httpGet"]["path"] == "/livez"
    assert router["readinessProbe"]["httpGet"]["path"] == "/readyz"
    server = manifests.one("Deployment", "model-digits")["spec"]["template"]["spec"]["containers"]
    assert server[0]["readinessProbe"]["httpGet"]["path"] == "/v1/models/digits/metadata"


def test_only_the_router_reaches_model_servers(manifests: Manifests) -> None:
    """Everything is denied, then routers alone are let in to model servers, on their REST port."""
    deny = manifests.one("NetworkPolicy", "default-deny")["spec"]
    assert deny == {"podSelector": {}, "policyTypes": ["Ingress", "Egress"]}
    router = {"podSelector": {"matchLabels": {"app.kubernetes.io/component": "router"}}}
    servers = manifests.one("NetworkPolicy", "model-servers")["spec"]
    assert servers["ingress"] == [{"from": [router], "ports": [{"protocol": "TCP", "port": 8501}]}]
    for name in ("model-imageclassifier", "model-digits"):
        labels = manifests.one("Deployment", name)["spec"]["template"]["metadata"]["labels"]
        assert servers["podSelector"]["matchLabels"].items() <= labels.items()


def test_a_changed_configuration_replaces_the_pods(models_toml: Path, tmp_path: Path) -> None:
    """A pod's template names the digest of its configuration: another `top` is a rolling update of the router alone."""
    changed = tmp_path / "models.toml"
    changed.write_text(models_toml.read_text().replace("top = 3", "top = 4"))
    digests = []
    for file, folder in ((models_toml, tmp_path / "a"), (changed, tmp_path / "b")):
        assert render("--models", file, "--out", folder).returncode == 0
        digests.append([t["metadata"]["annotations"] for t in pod_templates(Manifests(folder, ""))])
    same = [before == after for before, after in zip(*digests, strict=True)]
    assert sorted(same) == [False, True, True]


def test_kserve_gets_our_router_as_transformer(manifests: Manifests) -> None:
    """Each InferenceService has TensorFlow as predictor, and a transformer whose models file names that predictor."""
    kustomization = yaml.safe_load((manifests.folder / "kserve/kustomization.yaml").read_text())
    for resource in kustomization["resources"]:
        assert (manifests.folder / "kserve" / resource).exists()
    service = manifests.one("InferenceService", "model-digits", "kserve")["spec"]
    assert service["predictor"]["model"]["modelFormat"] == {"name": "tensorflow"}
    assert service["predictor"]["model"]["storageUri"] == "pvc://model-store/digits"
    (container,) = service["transformer"]["containers"]
    assert container["image"].startswith("keras-front-door/router")
    for part in (service["predictor"], service["transformer"]):
        assert part["securityContext"]["runAsNonRoot"] is True
    for one in (service["predictor"]["model"], container):
        assert one["securityContext"]["readOnlyRootFilesystem"] is True
    files = manifests.one("ConfigMap", "model-digits-transformer", "kserve")["data"]
    table = tomllib.loads(files["models.toml"])["digits"]
    assert table["servable"] == "model-digits"
    assert table["upstream"] == ["http://model-digits-predictor.keras-front-door.svc.cluster.local"]


@pytest.mark.parametrize(
    ("models", "arguments", "sentence"),
    [
        ("[a]\ninput_size = [8, 8]\n", ["--model-store", "ftp://x/y"], "--model-store is"),
        ("[a]\ninput_size = [8, 8]\n", ["--namespace", "Not Valid"], "--namespace is"),
        ("[a]\ninput_size = [8, 8]\n", ["--api-keys", "/nowhere"], "/nowhere cannot be read"),
        ("[a_b]\ninput_size = [8, 8]\n[a-b]\ninput_size = [8, 8]\n", [], "would both be 'a-b'"),
        (f"[{'a' * 41}]\ninput_size = [8, 8]\n", [], "cannot be named in Kubernetes"),
        ("[a]\nsize = 8\n", [], "unknown key 'size'"),
        (
            f"[a]\ninput_size = [8, 8]\nlabels = {['x' * 50 + str(n) for n in range(20000)]}\n",
            [],
            "is what a ConfigMap holds",
        ),
    ],
)
def test_mistakes_are_one_sentence(
    models: str, arguments: list[str], sentence: str, tmp_path: Path
) -> None:
    """What cannot be rendered ends with one sentence, status 1, and nothing written."""
    file = tmp_path / "models.toml"
    file.write_text(models)
    result = render("--models", file, "--out", tmp_path / "out", *arguments)
    assert result.returncode == 1
    assert sentence in result.stderr
    assert len(result.stderr.splitlines()) == 1
    assert not (tmp_path / "out").exists()
