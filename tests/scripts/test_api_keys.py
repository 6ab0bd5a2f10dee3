"""Keys made and revoked on the command line."""

from __future__ import annotations

import re
import subprocess
import sys
from typing import TYPE_CHECKING

import pytest

from flask_server.api_keys import KeyRing, load_keys, new_key, save_keys
from tests.processes import ROOT
from tests.scripts.running import assert_one_sentence, run_script

if TYPE_CHECKING:
    from pathlib import Path

pytestmark = pytest.mark.slow


def test_life_of_a_key(tmp_path: Path) -> None:
    """A key is printed once, found by the router, listed without its secret, and gone when revoked."""
    env = {"API_KEYS_FILE": str(tmp_path / "keys.json")}
    made = run_script(
        "api_keys", "create", "web", "--rate", "10/s", "--daily-quota", "9", cwd=tmp_path, env=env
    )
    text = made.stdout.strip()
    found = KeyRing(tmp_path / "keys.json").find(text)
    assert found
    assert (found.name, found.rate, found.daily_quota, found.models) == ("web", "10/s", 9, ("*",))
    listed = run_script("api_keys", "list", cwd=tmp_path, env=env).stdout
    assert re.match(r"web +kfd_[0-9a-f]{8}_…", listed)
    assert text not in listed
    run_script("api_keys", "revoke", "web", cwd=tmp_path, env=env)
    assert load_keys(tmp_path / "keys.json") == ()


def test_scopes(tmp_path: Path) -> None:
    """A key may be for certain models of the models file, or for the metrics."""
    (tmp_path / "models.toml").write_text('[a]\ninput_size = [4, 4]\nlabels = ["x"]\n')
    common = ("--file", tmp_path / "keys.json", "--models", tmp_path / "models.toml")
    run_script("api_keys", "create", "one", "--only", "a", *common, cwd=tmp_path)
    run_script("api_keys", "create", "prometheus", "--metrics", *common, cwd=tmp_path)
    one, prometheus = load_keys(tmp_path / "keys.json")
    assert (one.models, one.metrics) == (("a",), False)
    assert (prometheus.models, prometheus.metrics) == ((), True)
    wrong = run_script("api_keys", "create", "two", "--only", "b", *common, cwd=tmp_path)
    assert_one_sentence(wrong, "[b]")


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (["create", "a b"], ["name"]),
        (["create", "x", "--rate", "10"], ["10/s"]),
        (["create", "x", "--daily-quota", "0"], ["quota"]),
        (["revoke", "nobody"], ["nobody"]),
        (["create", "there"], ["there", "revoke"]),
    ],
)
def test_mistakes(tmp_path: Path, arguments: list[str], words: list[str]) -> None:
    """A mistake is one sentence, and the file stays as it is."""
    file = ("--file", tmp_path / "keys.json")
    save_keys(tmp_path / "keys.json", [new_key("there")[1]])
    before = (tmp_path / "keys.json").read_bytes()
    assert_one_sentence(run_script("api_keys", *arguments, *file, cwd=tmp_path), *words)
    assert (tmp_path / "keys.json").read_bytes() == before


def test_a_key_for_metrics_is_for_no_model(tmp_path: Path) -> None:
    """--metrics and --only contradict each other; neither is dropped in silence."""
    file = ("--file", tmp_path / "keys.json")
    process = run_script(
        "api_keys", "create", "a", "--metrics", "--only", "digits", *file, cwd=tmp_path
    )
    assert process.returncode == 2
    assert "not allowed with argument --metrics" in process.stderr
    assert not (tmp_path / "keys.json").exists()


def test_no_file_named(tmp_path: Path) -> None:
    """Without a file the sentence says how to name one; so it does without its folder."""
    process = run_script("api_keys", "list", cwd=tmp_path, env={"API_KEYS_FILE": ""})
    assert_one_sentence(process, "--file", "API_KEYS_FILE")
    process = run_script("api_keys", "create", "a", "--file", tmp_path / "no" / "k", cwd=tmp_path)
    assert_one_sentence(process, "no folder")


def test_two_at_once(tmp_path: Path) -> None:
    """Keys made at the same time are all kept."""
    command = [sys.executable, ROOT / "scripts" / "api_keys.py", "create"]
    file = ["--file", tmp_path / "keys.json"]
    making = [
        subprocess.Popen([*command, f"k{number}", *file], stdout=subprocess.DEVNULL)
        for number in range(4)
    ]
    assert [process.wait(timeout=60) for process in making] == [0] * 4
    assert len(load_keys(tmp_path / "keys.json")) == 4
