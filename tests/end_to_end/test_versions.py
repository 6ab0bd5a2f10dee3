from __future__ import annotations

import json
import os
import shutil
import signal
import subprocess
import urllib.request
from typing import TYPE_CHECKING

import pytest

from tests.end_to_end.disturbance import Traffic, processes
from tests.end_to_end.pages import Checkout, commands
from tests.processes import ROOT, Program, wait_until

if TYPE_CHECKING:
    from pathlib import Path

pytestmark = [pytest.mark.tensorflow, pytest.mark.timeout(420)]

VERSIONS = ".venv/bin/python scripts/versions.py"
PICTURE = (ROOT / "test_images" / "digit_7.png").read_bytes()


@pytest.fixture
def checkout(tmp_path: Path, trained_digits: Path) -> Checkout:
    """A checkout that has version 1."""
    shutil.copytree(trained_digits, tmp_path / "saved_models" / "digits")
    return Checkout(tmp_path)


def add_version(checkout: Checkout, version: int, *, broken: bool = False) -> None:
    """Drop another version into the base path, written beside and renamed."""
    base_path = checkout.folder / "saved_models" / "digits"
    shutil.copytree(next(base_path.glob("[0-9]")), base_path / ".new")
    if broken:
        (base_path / ".new" / "saved_model.pb").write_bytes(b"no graph")
    (base_path / ".new").rename(base_path / str(version))


def version_of(checkout: Checkout, query: str = "", user: str = "nobody") -> str | None:
    """Which version answers a user's picture; None if there was no answer."""
    request = urllib.request.Request(f"{checkout.router}/digits/predict/{query}", PICTURE)
    request.add_header("Content-Type", "image/png")
    request.add_header("X-User", user)
    try:
        with urllib.request.urlopen(request, timeout=30) as response:
            return str(response.headers["X-Model-Version"])
    except OSError:
        return None


def follow_the_pages_keys(checkout: Checkout, supervisor: Program) -> None:
    """Write the page's keys into the digits' table, and have them taken up without a restart."""
    page = (ROOT / "docs" / "versions.md").read_text()
    keys = page.split("```toml\n[digits]\n")[1].split("```")[0]
    models = checkout.folder / "models.toml"
    models.write_text(models.read_text().replace("[digits]", f"[digits]\n{keys}#", 1))
    supervisor.process.send_signal(signal.SIGHUP)

    def met() -> list[str | None]:
        return [version_of(checkout, user=str(user)) for user in range(40)]

    wait_until(
        lambda: (first := met()) == met() and set(first) == {"1", "2"},
        seconds=60,
        what="both labels have their share",
    )


def test_the_page_promotes_compares_and_goes_back(checkout: Checkout) -> None:
    """The page's commands, run in their order against `make run`, do what it says, and so do its keys at a SIGHUP."""
    with checkout.started("--only", "digits", model="digits") as supervisor:
        told = [checkout.run(command) for command in commands("versions.md")]
        assert version_of(checkout, "?version_label=stable") == "1"
        assert version_of(checkout, "?version_label=canary") == "2"
        follow_the_pages_keys(checkout, supervisor)
        users = {user: version_of(checkout, user=user) for user in map(str, range(60))}
        assert set(users.values()) == {"1", "2"}
        assert {user: version_of(checkout, user=user) for user in list(users)[:9]}.items() <= (
            users.items()
        )
        with urllib.request.urlopen(f"{checkout.router}/metrics", timeout=30) as response:
            counted = response.read().decode()
    for version in ("1", "2"):
        assert (
            f'router_requests_total{{model="digits",status="200",version="{version}"}}' in counted
        )
    assert 'router_shadow_images_total{model="digits",outcome="same",version="2"}' in counted
    listing = [line.split() for line in told[3].splitlines()[2:] if line]
    assert [row[:3] for row in listing] == [
        ["2", "AVAILABLE", "canary"],
        ["1", "AVAILABLE", "stable"],
    ]
    assert "12 images, " in told[4]
    assert "takes  input_image: float32 [?, 8, 8, 1]" in told[-1]


def test_labels_move_under_traffic(checkout: Checkout) -> None:
    """Promote, prune and roll back while requests run: none fails, and each meets a version that bore the label.

    A version that cannot be loaded is not promoted, and the command says why.
    """
    base_path = checkout.folder / "saved_models" / "digits"
    with checkout.started("--only", "digits", model="digits"):
        checkout.run(f"{VERSIONS} promote digits 1 stable")
        with Traffic(lambda: version_of(checkout, "?version_label=stable")) as traffic:
            for version in (2, 3):
                add_version(checkout, version)
                checkout.run(f"{VERSIONS} promote digits {version} stable")
            assert "deleted 1" in checkout.run(f"{VERSIONS} prune digits --keep 1")
            checkout.run(f"{VERSIONS} rollback digits stable")
            add_version(checkout, 4, broken=True)
            with pytest.raises(AssertionError, match="cannot be loaded"):
                checkout.run(f"{VERSIONS} promote digits 4 stable")
            wait_until(lambda: traffic.answers[-1] == "2", seconds=10, what="version 2 is stable")
        assert json.loads((base_path / "version_labels.json").read_text()) == {"stable": [2]}
    met = [traffic.answers.index(version) for version in ("1", "2", "3")]
    assert met == sorted(met)
    assert set(traffic.answers) == {"1", "2", "3"}


def wait_for_labels(checkout: Checkout, **expected: str) -> None:
    """Wait until each label answers with its version: a server that starts loads one version after the other."""

    def told() -> dict[str, str | None]:
        return {label: version_of(checkout, f"?version_label={label}") for label in expected}

    wait_until(lambda: told() == expected, seconds=90, what=str(expected))


def kill_all(program: Program, checkout: Checkout) -> None:
    """Kill -9 of the supervisor; wait until nothing of it is left."""
    program.process.kill()
    program.process.wait()
    here = str(checkout.folder)
    wait_until(lambda: not processes_in(here), seconds=60, what="no orphan is left")


def processes_in(folder: str, *, command: str = "") -> list[int]:
    """Servers that were started with this folder as their state, and with `command` in their command line."""
    return processes(
        lambda line, env: (
            ("serving" in line or "flask_server" in line) and folder in env and command in line
        )
    )


def test_labels_outlive_every_process(checkout: Checkout) -> None:
    """Kill -9 of the model server, of the router, of a promotion in its middle, and of the supervisor: the labels are as promised."""
    add_version(checkout, 2)
    with checkout.started("--only", "digits", model="digits") as supervisor:
        checkout.run(f"{VERSIONS} promote digits 1 stable")
        checkout.run(f"{VERSIONS} promote digits 2 canary")
        for process in processes_in(str(checkout.folder), command="rest_api_port"):
            os.kill(process, signal.SIGKILL)
        wait_for_labels(checkout, stable="1", canary="2")
        for process in processes_in(str(checkout.folder), command="flask_server"):
            os.kill(process, signal.SIGKILL)
        wait_for_labels(checkout, stable="1", canary="2")
        add_version(checkout, 3)
        promotion = subprocess.Popen(
            [".venv/bin/python", "scripts/versions.py", "promote", "digits", "3", "stable"],
            cwd=checkout.folder,
            env={**os.environ, **checkout.env},
        )
        labels = checkout.folder / "saved_models" / "digits" / "version_labels.json"
        wait_until(lambda: "3" in labels.read_text(), seconds=60, what="it is written down")
        promotion.kill()
        promotion.wait()
        kill_all(supervisor, checkout)
    with checkout.started("--only", "digits", model="digits"):
        wait_for_labels(checkout, stable="3", canary="2")
