from __future__ import annotations

import json
from typing import TYPE_CHECKING

import pytest

from flask_server.api_keys import new_key, save_keys
from tests.processes import ROOT, free_port, running
from tests.scripts.answering import answering
from tests.scripts.running import assert_one_sentence, run_script

if TYPE_CHECKING:
    from pathlib import Path

pytestmark = pytest.mark.slow

DIGIT = ROOT / "test_images" / "digit_3.png"


def test_labels_are_printed_best_first(tmp_path: Path) -> None:
    """One line a label: score, name, id."""
    with answering(200, json.dumps([["3", "three", 0.99], ["8", "eight", 0.01]])) as url:
        process = run_script("flask_sample_request", "-i", DIGIT, "--url", url, cwd=tmp_path)
    assert process.stdout.splitlines() == ["0.990000  three  (3)", "0.010000  eight  (8)"]
    assert process.returncode == 0


@pytest.mark.parametrize("answer", ['{"grade": 2, "certainty": 0.9}', '[["a", 1], "ä"]'])
def test_what_is_no_list_of_labels_is_printed_as_it_is(tmp_path: Path, answer: str) -> None:
    """A model with a `decode` of its own answers any JSON."""
    with answering(200, answer) as url:
        process = run_script("flask_sample_request", "-i", DIGIT, "--url", url, cwd=tmp_path)
    assert process.stdout == f"{answer}\n"
    assert process.returncode == 0


def test_a_refused_connection_is_one_sentence(tmp_path: Path) -> None:
    """Where nobody listens, the sentence says how to start the router."""
    url = f"http://127.0.0.1:{free_port()}"
    process = run_script("flask_sample_request", "-i", DIGIT, "--url", url, cwd=tmp_path)
    assert_one_sentence(process, url, "make run", "--url")


def test_a_missing_image_is_one_sentence(tmp_path: Path) -> None:
    """An image that cannot be read is named before anything is asked."""
    process = run_script("flask_sample_request", "-i", "none.png", cwd=tmp_path)
    assert_one_sentence(process, "none.png", "No such file")


@pytest.mark.parametrize(
    ("status", "body", "words"),
    [
        (404, '{"title": "Not Found", "detail": "There is no model x."}', "There is no model x."),
        (503, '{"title": "Service Unavailable"}', "Service Unavailable"),
        (400, '{"error": "Malformed request"}', "Malformed request"),
        (500, "<html>oops</html>", "without JSON"),
        (200, "<html>another program</html>", "without JSON"),
    ],
)
def test_a_failure_is_told_in_the_servers_own_words(
    tmp_path: Path, status: int, body: str, words: str
) -> None:
    """Problem details and other failures are one sentence and exit status 1."""
    with answering(status, body) as url:
        process = run_script("flask_sample_request", "-i", DIGIT, "--url", url, cwd=tmp_path)
    assert_one_sentence(process, words)
    assert process.returncode == 1


@pytest.mark.parametrize("url", ["localhost:5000", "http://", "ftp://127.0.0.1", "http://[::1"])
def test_a_bad_url_is_one_sentence(tmp_path: Path, url: str) -> None:
    """What is no address of an HTTP server is told, not raised."""
    process = run_script("flask_sample_request", "-i", DIGIT, "--url", url, cwd=tmp_path)
    assert_one_sentence(process, url, "write http://HOST:PORT")
    assert "make run" not in process.stderr


def test_the_key_is_sent_where_there_is_one(tmp_path: Path) -> None:
    """API_KEY of the environment opens a router that asks for keys."""
    text, key = new_key("script")
    save_keys(tmp_path / "keys.json", [key])
    (tmp_path / "models.toml").write_text("[a]\ninput_size = [4, 4]\n")
    port = free_port()
    url = f"http://127.0.0.1:{port}"
    names = {"MODELS_FILE": "models.toml", "API_KEYS_FILE": "keys.json", "STATE_DIR": "state"}
    env = {name: str(tmp_path / value) for name, value in names.items()} | {"PORT": str(port)}
    ask = ("flask_sample_request", "-i", DIGIT, "--model", "a", "--url", url)
    with running("-m", "flask_server", log=tmp_path / "log", env=env) as program:
        program.wait_for(f"{url}/livez")
        assert_one_sentence(run_script(*ask, cwd=tmp_path), "401", "API key")
        opened = run_script(*ask, cwd=tmp_path, env={"API_KEY": text})
    assert_one_sentence(opened, "503", "'a' has no model server")
