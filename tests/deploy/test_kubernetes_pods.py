from __future__ import annotations

import tomllib
from typing import TYPE_CHECKING

from serving.flags import parse_flags
from tests.deploy.conftest import Manifests, pod_templates, render

if TYPE_CHECKING:
    from pathlib import Path

    import pytest


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


def test_model_servers_are_started_with_flags_that_exist(
    manifests: Manifests, capsys: pytest.CaptureFixture[str]
) -> None:
    """Our model server, which knows TensorFlow Serving's flags, finds none unknown and none without effect."""
    pod = manifests.one("Deployment", "model-digits")["spec"]["template"]["spec"]
    flags = parse_flags(pod["containers"][0]["args"])
    assert capsys.readouterr().err == ""
    assert flags.without_effect() == []
    assert flags.rest_api_port == pod["containers"][0]["ports"][0]["containerPort"]


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


def test_what_the_supervisor_would_start_gets_a_model_server(tmp_path: Path) -> None:
    """An upstream of 0.0.0.0 is this machine's for both; a servable's name is quoted where it is part of a URL."""
    table = 'input_size = [8, 8]\nservable = "photo model"\nupstream = "http://0.0.0.0:9000"\n'
    (tmp_path / "models.toml").write_text(f"[m]\n{table}")
    assert render("--models", tmp_path / "models.toml", "--out", tmp_path).returncode == 0
    deployment = Manifests(tmp_path, "").one("Deployment", "model-photo-model")
    (container,) = deployment["spec"]["template"]["spec"]["containers"]
    assert container["livenessProbe"]["httpGet"]["path"] == "/v1/models/photo%20model"


def test_probes_ask_what_means_something(manifests: Manifests) -> None:
    """The router is asked /livez and /readyz; a model server is ready when a version answers for its metadata."""
    router = manifests.one("Deployment", "router")["spec"]["template"]["spec"]["containers"][0]
    assert router["livenessProbe"]["httpGet"]["path"] == "/livez"
    assert router["readinessProbe"]["httpGet"]["path"] == "/readyz"
    server = manifests.one("Deployment", "model-digits")["spec"]["template"]["spec"]["containers"]
    assert server[0]["readinessProbe"]["httpGet"]["path"] == "/v1/models/digits/metadata"


def test_model_servers_reach_their_store_alone(stored: Manifests) -> None:
    """A bucket over HTTPS and, for gs://, the two addresses at which GKE tells a pod who it is; nothing for a volume."""
    egress = stored.one("NetworkPolicy", "model-servers")["spec"]["egress"]
    seen = {
        (peer["ipBlock"]["cidr"], port["port"])
        for rule in egress
        for peer in rule.get("to", [{"ipBlock": {"cidr": "any"}}])
        for port in rule["ports"]
    }
    bucket = {("any", 53), ("any", 443)}
    metadata = {("169.254.169.252/32", 988), ("169.254.169.252/32", 987)}
    metadata |= {("169.254.169.254/32", 80), ("169.254.169.254/32", 8080)}
    expected = {"pvc": set(), "s3": bucket, "gs": bucket | metadata}
    assert seen == expected[stored.store.partition(":")[0]]


def test_a_store_at_another_port_is_reached(models_toml: Path, tmp_path: Path) -> None:
    """--model-store-port lets model servers out to it, as to MinIO's 9000."""
    options = ("--model-store", "s3://bucket/path", "--model-store-port", "9000")
    assert render("--models", models_toml, "--out", tmp_path, *options).returncode == 0
    egress = Manifests(tmp_path, "").one("NetworkPolicy", "model-servers")["spec"]["egress"]
    assert {"ports": [{"protocol": "TCP", "port": 9000}]} in egress


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
