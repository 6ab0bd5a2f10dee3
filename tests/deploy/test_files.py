"""Compose, Heroku and systemd: what can be checked of files that others read."""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
import threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from importlib.resources import files
from typing import TYPE_CHECKING, Any

import jsonschema_rs
import pytest
import yaml

from flask_server.settings import load_settings
from model_config import load_deployment
from tests.debian import program
from tests.processes import ROOT

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

COMPOSE_FILE = ROOT / "deploy" / "compose.yaml"
COMPOSE: dict[str, Any] = yaml.safe_load(COMPOSE_FILE.read_text())
SYSTEMD = ROOT / "deploy" / "systemd"
MODELS = load_deployment(ROOT / "models.toml").models
WORKER_BYTES, BYTES_PER_PIXEL = 100_000_000, 16
"""docs/performance.md and docs/configuration.md, Images: what a router's worker takes, and a pixel at the most."""
HEROKU_SCHEMA = {
    # https://devcenter.heroku.com/articles/build-docker-images-heroku-yml, the sections that it describes
    "type": "object",
    "additionalProperties": False,
    "required": ["build"],
    "properties": {
        "setup": {"type": "object"},
        "release": {"type": "object"},
        "build": {
            "type": "object",
            "additionalProperties": False,
            "required": ["docker"],
            "properties": {
                "config": {"type": "object"},
                "docker": {"type": "object", "additionalProperties": {"type": "string"}},
            },
        },
        "run": {"type": "object", "additionalProperties": {"type": "string"}},
    },
}


def test_the_compose_file_fits_its_schema() -> None:
    """The Compose specification's own schema takes it."""
    folder = files("check_jsonschema") / "builtin_schemas" / "vendor"
    schema = json.loads((folder / "compose-spec.json").read_text())
    jsonschema_rs.validate(schema, COMPOSE)
    with pytest.raises(jsonschema_rs.ValidationError):
        jsonschema_rs.validate(schema, COMPOSE | {"service": {}})


def config_text(name: str) -> str:
    """What a configuration of the compose file holds."""
    return (COMPOSE_FILE.parent / COMPOSE["configs"][name]["file"]).read_text()


@pytest.mark.parametrize("profile", ["official", "ours"])
def test_compose_serves_every_model_in_each_profile(profile: str) -> None:
    """Each model of models.toml is placed at a name that a container of the profile answers to, which serves it."""
    placement = json.loads(config_text("placement"))
    assert placement.keys() == MODELS.keys()
    serving = [s for s in COMPOSE["services"].values() if s.get("profiles") == [profile]]
    for name, model in MODELS.items():
        (url,) = placement[name]["upstream"]
        host = url.removeprefix("http://").removesuffix(":8501")
        (service,) = (s for s in serving if host in s["networks"]["models"]["aliases"])
        told = " ".join(service["command"]) + config_text("models")
        assert f"/models/{model.servable}" in told
    assert "COMPOSE_PROFILES=official" in (ROOT / "deploy" / ".env").read_text()


def test_compose_mounts_what_it_puts_into_read_only_services() -> None:
    """Their configurations are files: Compose refuses to copy `content` or `environment` into a read-only root."""
    for service in COMPOSE["services"].values():
        for config in service.get("configs", []):
            assert [*COMPOSE["configs"][config["source"]]] == ["file"]
            assert config_text(config["source"])


def test_compose_leaves_no_state_and_gives_no_rights() -> None:
    """No named volume, read-only roots, no capabilities, and model servers without a published port."""
    assert "volumes" not in COMPOSE
    for name, service in COMPOSE["services"].items():
        assert service["read_only"]
        assert service["cap_drop"] == ["ALL"]
        assert service["user"] == "65534:65534"
        assert all(volume.endswith(":ro") for volume in service.get("volumes", []))
        assert ("ports" in service) == (name == "router")
    assert COMPOSE["networks"]["models"] == {"internal": True}


def test_compose_builds_files_that_are_there() -> None:
    """Every Dockerfile named in it exists, relative to its context."""
    for service in COMPOSE["services"].values():
        if "build" in service:
            context = COMPOSE_FILE.parent / service["build"]["context"]
            assert (context / service["build"]["dockerfile"]).is_file()


def compose_router() -> tuple[dict[str, str], int]:
    """The environment of Compose's router, and its gigabytes."""
    router = COMPOSE["services"]["router"]
    return router["environment"], int(router["mem_limit"].removesuffix("g"))


def systemd_router() -> tuple[dict[str, str], int]:
    """The same of systemd's."""
    unit = (SYSTEMD / "keras-front-door-router.service").read_text()
    words = " ".join(re.findall(r"^Environment=(.*)", unit, re.MULTILINE)).split()
    (gigabytes,) = re.findall(r"^MemoryMax=(\d+)G$", unit, re.MULTILINE)
    return dict(word.split("=", 1) for word in words), int(gigabytes)


@pytest.mark.parametrize("router", [compose_router, systemd_router])
def test_a_router_has_memory_for_the_largest_photos(
    router: Callable[[], tuple[dict[str, str], int]],
) -> None:
    """What each worker may decode at once, of the formats that take most, fits into its limit of memory."""
    env, gigabytes = router()
    settings = load_settings(env=env | {"WORKERS": "2"})
    photos = settings.decode_concurrency * settings.max_pixels * BYTES_PER_PIXEL
    assert settings.workers * (WORKER_BYTES + photos) <= gigabytes * 2**30


def test_heroku_yml_has_the_documented_shape() -> None:
    """Only sections and keys that Heroku describes, and a Dockerfile that exists."""
    document = yaml.safe_load((ROOT / "heroku.yml").read_text())
    jsonschema_rs.validate(HEROKU_SCHEMA, document)
    assert (ROOT / document["build"]["docker"]["web"]).is_file()


def test_base_images_are_pinned() -> None:
    """Every image that is not built here is named with a full version."""
    texts = [file.read_text() for file in (ROOT / "deploy/docker").glob("*.Dockerfile")]
    texts += [COMPOSE_FILE.read_text(), (ROOT / "scripts/render_kubernetes.py").read_text()]
    images = {
        i for t in texts for i in re.findall(r"\b(?:python|tensorflow/serving)(?::[\w.-]+)", t)
    }
    assert images == {"python:3.11.13-slim-bookworm", "tensorflow/serving:2.19.1"}


@pytest.mark.parametrize(("state", "status"), [("AVAILABLE", 0), ("START", 1)])
def test_the_health_of_tensorflow_serving_alone_is_its_version(state: str, status: int) -> None:
    """The check of the image asks for the servable's versions, and is content when one is available."""

    class Status(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            assert self.path == "/v1/models/digits"
            self.send_response(200)
            self.end_headers()
            self.wfile.write(f'{{"model_version_status": [{{"state": "{state}"}}]}}'.encode())

        def log_message(self, *_: object) -> None:
            """Say nothing."""

    text = (ROOT / "deploy/docker/serving-alone.Dockerfile").read_text()
    (command,) = re.findall(r"^HEALTHCHECK .* CMD (.*)$", text, re.MULTILINE)
    with ThreadingHTTPServer(("127.0.0.1", 0), Status) as server:
        threading.Thread(target=server.serve_forever).start()
        env = {**os.environ, "PORT": str(server.server_port), "SERVABLE": "digits"}
        found = subprocess.run(json.loads(command), env=env, timeout=20, check=False).returncode
        server.shutdown()
    assert found == status


@pytest.fixture
def units(tmp_path: Path) -> list[Path]:
    """The systemd units as on a server, but with this machine's paths and user; one instance of the template."""
    for file in SYSTEMD.iterdir():
        text = file.read_text().replace("/opt/keras-front-door/.venv/bin/python", sys.executable)
        text = text.replace("/opt/keras-front-door", str(ROOT))
        text = re.sub(r"(User|Group)=keras-front-door", r"\1=root", text)
        (tmp_path / file.name.replace("@.", "@digits.")).write_text(text)
    return sorted(tmp_path.iterdir())


def analyze(*arguments: str | Path) -> subprocess.CompletedProcess[str]:
    """Run systemd-analyze."""
    command = [program("systemd", "systemd-analyze"), *arguments]
    return subprocess.run(command, capture_output=True, text=True, timeout=60, check=False)


def test_systemd_takes_every_unit(units: list[Path]) -> None:
    """`systemd-analyze verify` finds nothing to say."""
    result = analyze("verify", "--man=no", *units)
    assert (result.returncode, result.stdout, result.stderr) == (0, "", "")


def test_systemd_never_gives_a_service_up() -> None:
    """No service has a limit of starts, which a wrong models file would reach within seconds."""
    for file in SYSTEMD.glob("*.service"):
        unit, _, _ = file.read_text().partition("[Service]")
        assert "StartLimitIntervalSec=0" in unit.splitlines()


def test_systemd_would_notice_a_wrong_unit(units: list[Path], tmp_path: Path) -> None:
    """The check above fails for a key that systemd does not know."""
    wrong = tmp_path / "wrong.service"
    wrong.write_text(units[0].read_text() + "NoSuchKey=1\n")
    assert "NoSuchKey" in analyze("verify", "--man=no", wrong).stderr


def test_systemd_rates_the_services_as_well_sandboxed(units: list[Path]) -> None:
    """Both services are rated 2.5 of 10 or better (exposure: lower is better)."""
    for service in (unit for unit in units if unit.suffix == ".service"):
        result = analyze("security", "--offline=true", "--threshold=25", service)
        assert result.returncode == 0, result.stdout
