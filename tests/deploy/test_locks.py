"""The images' locks against what the programs ask for, and against each other."""

from __future__ import annotations

import json
import re
import subprocess
import sys
from typing import TYPE_CHECKING

import pytest
from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

from scripts import audit_locks
from scripts.command_line import UserError
from tests.processes import ROOT

if TYPE_CHECKING:
    from pathlib import Path

LOCKS = {
    "router": "requirements-router.txt",
    "model-server": "requirements-model-server.txt",
    "single": "requirements.txt",
}
DOCKER = ROOT / "deploy" / "docker"
SUPPLY_CHAIN = ROOT / "deploy" / "supply_chain"
ENTRY = re.compile(
    r"^([\w.-]+)==(\S+) \\\n((?:    --hash=sha256:[0-9a-f]{64}(?: \\)?\n)+)", re.MULTILINE
)


def locked(image: str) -> dict[str, str]:
    """Package -> version."""
    text = (DOCKER / f"{image}.lock").read_text()
    return {canonicalize_name(name): version for name, version, _ in ENTRY.findall(text)}


def required(file: Path) -> list[Requirement]:
    """What a requirements file asks for, with the files that it includes."""
    found: list[Requirement] = []
    for line in file.read_text().splitlines():
        if line.startswith("-r "):
            found += required(file.parent / line[3:])
        elif line and not line.startswith("#"):
            found.append(Requirement(line))
    return found


@pytest.mark.parametrize("image", LOCKS)
def test_a_lock_has_every_requirement(image: str) -> None:
    """Each required package is locked in a version that fits; otherwise run `make locks`."""
    versions = locked(image)
    for requirement in required(ROOT / LOCKS[image]):
        name = canonicalize_name(requirement.name)
        version = versions["tensorflow-cpu" if name == "tensorflow" else name]
        assert requirement.specifier.contains(version), requirement


@pytest.mark.parametrize("image", LOCKS)
def test_every_line_is_pinned_by_hash_and_names_no_place(image: str) -> None:
    """Nothing but comments, versions and hashes stands in a lock: no address of an index, no path."""
    text = (DOCKER / f"{image}.lock").read_text()
    assert re.search(r"://|index-url|find-links|/home|/tmp", text) is None
    rest = ENTRY.sub("", text)
    assert all(not line.strip() or line.strip().startswith("#") for line in rest.splitlines())


@pytest.mark.parametrize("image", ["router", "model-server"])
def test_the_single_image_has_the_packages_of_both_others(image: str) -> None:
    """One package, one version, in whichever image it is."""
    assert locked(image).items() <= locked("single").items()


def test_the_router_is_without_tensorflow() -> None:
    """The router's lock holds no package that its image is meant to be free of."""
    assert not locked("router").keys() & {"tensorflow", "tensorflow-cpu", "keras", "h5py"}


@pytest.mark.parametrize("image", LOCKS)
def test_the_bill_of_materials_is_of_the_lock(image: str) -> None:
    """The SBOM lists the lock's packages, each with its version; otherwise run `make sbom`."""
    components = json.loads((SUPPLY_CHAIN / f"{image}.cdx.json").read_text())["components"]
    listed = {canonicalize_name(c["name"]): c["version"] for c in components}
    assert locked(image).items() <= listed.items()
    assert listed.keys() - locked(image).keys() <= {"setuptools"}


def test_every_locked_package_has_its_licence_listed() -> None:
    """licences.md names each package of the images with its version."""
    rows = (SUPPLY_CHAIN / "licences.md").read_text().splitlines()[2:]
    cells = [[cell.strip() for cell in row.strip("|").split("|")] for row in rows]
    listed = {canonicalize_name(name): version for name, version, *_ in cells}
    assert locked("single").items() <= listed.items()


@pytest.mark.slow
def test_an_audit_without_the_advisory_service_is_no_all_clear() -> None:
    """Where the service does not answer, `make audit` fails with one sentence that says so, and a status of its own."""
    script = ROOT / "scripts" / "audit_locks.py"
    command = [sys.executable, script]
    env = {"PATH": "/usr/bin:/bin", "HTTPS_PROXY": "http://127.0.0.1:9"}
    result = subprocess.run(
        command, capture_output=True, text=True, timeout=60, env=env, check=False
    )
    assert result.returncode == 3
    assert "could not be audited" in result.stderr
    assert len(result.stderr.splitlines()) == 1


def test_what_an_audit_has_found_is_told_although_the_service_fell_silent(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """A vulnerability of one lock counts, whichever other lock could not be audited."""

    def audit(lock: Path) -> list[str]:
        if lock.name == "model-server.lock":
            return ["pillow 1.0: PYSEC-1"]
        raise audit_locks.NobodyAskedError("no answer")

    monkeypatch.setattr(audit_locks, "audit", audit)
    monkeypatch.setattr(sys, "argv", ["audit_locks.py"])
    with pytest.raises(UserError, match="known vulnerabilities") as raised:
        audit_locks.main()
    assert type(raised.value) is UserError
    assert capsys.readouterr().out == "pillow 1.0: PYSEC-1\n"
