from __future__ import annotations

import functools
import re
import tomllib
from typing import TYPE_CHECKING

import kubernetes_validate
import pytest
import yaml

from scripts.kubernetes import workload
from tests.deploy.conftest import Manifests, render
from tests.processes import ROOT

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

RELEASES = ("1.35.0", "1.36.0", "1.37.0")
FOREIGN = {"ServiceMonitor", "InferenceService"}
"""Kinds that other projects define; kubernetes-validate knows Kubernetes' own."""


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


def test_the_documented_pod_that_fills_the_store_is_let_in() -> None:
    """It is valid, mounts the shipped claim, and has what the `restricted` profile of the namespace asks for."""
    text = (ROOT / "docs" / "kubernetes.md").read_text()
    (pod,) = (yaml.safe_load(part) for part in re.findall(r"```yaml\n(.*?)```", text, re.DOTALL))
    for release in RELEASES:
        kubernetes_validate.validate(pod, release, strict=True)
    claim = yaml.safe_load((ROOT / "deploy/kubernetes/base/model-store.yaml").read_text())
    (volume,) = pod["spec"]["volumes"]
    assert volume["persistentVolumeClaim"]["claimName"] == claim["metadata"]["name"]
    assert pod["metadata"]["namespace"] == claim["metadata"]["namespace"]
    (container,) = pod["spec"]["containers"]
    assert pod["spec"]["securityContext"] == workload.POD_SECURITY
    assert container["securityContext"].items() <= workload.CONTAINER_SECURITY.items()


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
    options = ("--api-keys", keys, "--prometheus-adapter")
    render("--models", models_toml, "--out", tmp_path, *options)
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
        ("[a]\ninput_size = [8, 8]\n", ["--model-store-port", "0"], "--model-store-port is 0"),
        ("[a]\ninput_size = [8, 8]\n", ["--model-store", "pvc://["], "--model-store is 'pvc://['"),
        ("[a]\ninput_size = [8, 8]\n", ["--namespace", "Not Valid"], "--namespace is"),
        ("[a]\ninput_size = [8, 8]\n", ["--host", "bad host"], "--host is 'bad host'"),
        ("[a]\ninput_size = [8, 8]\n", ["--redis-url", "foo"], "--redis-url is 'foo'"),
        ("[a]\ninput_size = [8, 8]\n", ["--redis-url", "redis://a:b"], "--redis-url is"),
        ("[a]\ninput_size = [8, 8]\n", ["--api-keys", "/nowhere"], "no file of API keys /nowhere"),
        (
            "[a]\ninput_size = [8, 8]\n",
            ["--api-keys", __file__],
            "is not a file that scripts/api_keys.py wrote",
        ),
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
