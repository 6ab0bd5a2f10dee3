"""The recorded answers of the real server, held against ours (and against a real one, if any)."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from tests.processes import ROOT, free_port

if TYPE_CHECKING:
    from collections.abc import Sequence

SUITE = Path(os.environ.get("CONFORMANCE_DIR", ROOT.parent / "shared" / "conformance"))
REAL_SERVER = shutil.which("tensorflow_model_server")

pytestmark = [
    pytest.mark.tensorflow,
    pytest.mark.conformance,
    pytest.mark.skipif(not SUITE.is_dir(), reason="there is no CONFORMANCE_DIR"),
    pytest.mark.timeout(600),
]

OURS = pytest.param([sys.executable, "-m", "serving"], id="ours")
REAL = pytest.param(
    [str(REAL_SERVER)],
    id="real",
    marks=pytest.mark.skipif(REAL_SERVER is None, reason="no tensorflow_model_server on the PATH"),
)
PROFILES = {
    "main": ["--monitoring_config_file={}/monitoring_config.txt"],
    "cors": ["--rest_api_enable_cors_support=true"],
    "batching": [
        "--enable_batching=true",
        "--batching_parameters_file={}/batching_parameters.txt",
    ],
    "timeout": ["--rest_api_timeout_in_ms=1000"],
    "methodcheck": ["--enable_signature_method_name_check=true"],
}
POLLING = [
    "--model_config_file_poll_wait_seconds=1",
    "--file_system_poll_wait_seconds=1",
    "--max_num_load_retries=0",
]


def suite(*arguments: str | Path) -> subprocess.CompletedProcess[str]:
    """Run the suite's own runner."""
    command = [sys.executable, SUITE / "run.py", *arguments]
    return subprocess.run(command, capture_output=True, text=True, timeout=500, check=False)


def judge(server: Sequence[str], flags: Sequence[str], *arguments: str | Path, log: Path) -> None:
    """Start a server, let the runner question it, and fail with what the runner says."""
    ports = {"rest_api_port": free_port(), "port": free_port()}
    command = [*server, *(f"--{name}={port}" for name, port in ports.items()), *flags]
    command.append("--allow_version_labels_for_unavailable_models=true")
    with log.open("wb") as sink:
        process = subprocess.Popen(command, cwd=ROOT, stdout=sink, stderr=subprocess.STDOUT)
    try:
        base_url = f"http://127.0.0.1:{ports['rest_api_port']}"
        verdict = suite("--base-url", base_url, "--wait", "60", *arguments)
    finally:
        process.terminate()
        process.wait(timeout=60)
    assert verdict.returncode == 0, verdict.stdout + verdict.stderr + log.read_text()[-3000:]


@pytest.mark.parametrize("profile", PROFILES)
@pytest.mark.parametrize("server", [OURS, REAL])
def test_cases(server: list[str], profile: str, tmp_path: Path) -> None:
    """Every recorded exchange of a profile gets the recorded answer, of the recorded type."""
    suite("--write-config", tmp_path)
    config = "model_config_batching.txt" if profile == "batching" else "model_config.txt"
    flags = [flag.format(tmp_path) for flag in PROFILES[profile]]
    flags.append(f"--model_config_file={tmp_path / config}")
    told = tmp_path / "told.json"
    judge(server, flags, "--profile", profile, "--json", told, log=tmp_path / "log")
    recorded = SUITE / "results" / f"real-server-{profile}.json"
    assert kinds(told) == kinds(recorded)


def kinds(results: Path) -> dict[str, str | None]:
    """The content type of each answer, which few cases ask for."""
    return {case["id"]: case["content_type"] for case in json.loads(results.read_text())["cases"]}


@pytest.mark.parametrize("server", [OURS, REAL])
def test_scenarios(server: list[str], tmp_path: Path) -> None:
    """Versions and configurations that change while the server runs are followed as recorded."""
    suite("--write-config", tmp_path)
    config = tmp_path / "dynamic" / "model_config.txt"
    flags = [f"--model_config_file={config}", *POLLING]
    judge(server, flags, "--dynamic", tmp_path, log=tmp_path / "log")
