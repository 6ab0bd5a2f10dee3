from __future__ import annotations

import base64
import json
import re
import sys
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from tests.deploy.hosts import Network, needs_hosts
from tests.flask_server import toy_model_server
from tests.processes import wait_until

if TYPE_CHECKING:
    from tests.deploy.conftest import Manifests
    from tests.deploy.hosts import Host

pytestmark = [pytest.mark.deployment, *needs_hosts()]

TOY = Path(toy_model_server.__file__)
WITH_NAMES = 'mount --bind "$NAMES" /etc/hosts; exec "$@"'
"""Runs a program for which a file of our own tells the addresses of host names, as a cluster's DNS would."""


def get(host: Host, url: str) -> str:
    """The body of a GET made on the host; empty while nobody answers 200."""
    program = """
import sys, urllib.request
try:
    print(urllib.request.urlopen(sys.argv[1], timeout=3).read().decode())
except OSError:
    pass
"""
    return host.output(sys.executable, "-c", program, url)


def test_the_router_runs_as_its_manifest_says(manifests: Manifests, tmp_path: Path) -> None:
    """With the environment and files of its Deployment, and Services' names that lead to a model server, it gets ready."""
    (container,) = manifests.one("Deployment", "router")["spec"]["template"]["spec"]["containers"]
    for name, text in manifests.one("ConfigMap", "router-models")["data"].items():
        (tmp_path / name).write_text(text, encoding="utf-8")
    secret = manifests.one("Secret", "router-api-keys")["data"]
    (tmp_path / "keys.json").write_bytes(base64.b64decode(secret["keys.json"]))
    services = [item for item in manifests.all() if item["kind"] == "Service"]
    names = [
        f"127.0.0.1 {s['metadata']['name']}.{s['metadata']['namespace']}.svc" for s in services
    ]
    (tmp_path / "hosts").write_text("\n".join(["127.0.0.1 localhost", *names, ""]))
    env = {
        entry["name"]: re.sub("/etc/router/(models|keys)", str(tmp_path), entry["value"])
        for entry in container["env"]
    }
    env |= {"STATE_DIR": str(tmp_path / "state"), "NAMES": str(tmp_path / "hosts")}
    (port,) = (entry["containerPort"] for entry in container["ports"])
    with Network() as network:
        host = network.add_host()
        command = (sys.executable, TOY, "--port", "8501")
        named = ("unshare", "--mount", "sh", "-ec", WITH_NAMES, "named", sys.executable)
        with (
            host.running(*command, log=tmp_path / "server.log"),
            host.running(*named, "-m", "flask_server", log=tmp_path / "router.log", **env),
        ):
            for probe in ("livenessProbe", "readinessProbe"):
                url = f"http://127.0.0.1:{port}{container[probe]['httpGet']['path']}"
                wait_until(lambda url=url: get(host, url) != "", seconds=60, what=url)
            states = json.loads(get(host, f"http://127.0.0.1:{port}/readyz"))["models"]
    available = {name for name, state in states.items() if state["state"] == "AVAILABLE"}
    assert available == {"imageclassifier", "again", "digits"}  # the fourth is elsewhere
