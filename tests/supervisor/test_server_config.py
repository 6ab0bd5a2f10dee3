"""What is written into a model server's configuration file, and when labels move in it."""

from __future__ import annotations

import json
import os
import re
import threading
import time
from dataclasses import replace
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import TYPE_CHECKING, ClassVar

import pytest

from model_config import ModelConfig, changed_version_labels
from serving.config_file import served_models
from serving.flags import parse_flags
from supervisor import readiness
from supervisor.damaged_versions import RETRY_SECONDS
from supervisor.readiness import VersionState
from supervisor.server_config import ServerConfig, entry, model_config_list, settled

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

NOWHERE = "http://127.0.0.1:9"


def model_with(base_path: Path, *versions: int, servable: str = "m") -> ModelConfig:
    """A model whose base path holds these versions."""
    for version in versions:
        (base_path / str(version)).mkdir(parents=True)
        (base_path / str(version) / "saved_model.pb").touch()
    return ModelConfig(name="m", servable=servable, base_path=base_path)


def label(model: ModelConfig, name: str, version: int) -> None:
    """Move a label as scripts/versions.py does."""
    with changed_version_labels(model.base_path) as labels:
        labels.setdefault(name, []).append(version)


class _Status(BaseHTTPRequestHandler):
    """A model server that has some versions loaded."""

    available: tuple[int, ...] = ()
    failed: ClassVar[dict[int, str]] = {}
    asked: ClassVar[list[str]] = []

    def do_GET(self) -> None:
        type(self).asked.append(self.path)
        rows: list[dict[str, object]]
        rows = [{"version": str(v), "state": "AVAILABLE"} for v in type(self).available]
        for number, error in type(self).failed.items():
            status = {"error_code": "DATA_LOSS", "error_message": error}
            rows.append({"version": str(number), "state": "END", "status": status})
        body = json.dumps({"model_version_status": rows}).encode()
        self.send_response(200)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, *_: object) -> None:
        """Say nothing."""


@pytest.fixture
def status_url() -> Iterator[str]:
    """Where a model server tells the versions in `_Status.available`."""
    _Status.available, _Status.failed, _Status.asked = (), {}, []
    server = ThreadingHTTPServer(("127.0.0.1", 0), _Status)
    threading.Thread(target=server.serve_forever, args=(0.01,), daemon=True).start()
    yield f"http://127.0.0.1:{server.server_address[1]}"
    server.shutdown()
    server.server_close()


def test_an_entry_is_tensorflow_servings(tmp_path: Path) -> None:
    """The entry names servable, base path and platform, quotes and all."""
    text = entry('q"uote', str(tmp_path))
    assert text == (
        f'  config {{ name: "q\\"uote" base_path: "{tmp_path}" model_platform: "tensorflow" }}\n'
    )


def test_an_entry_is_read_as_it_was_meant(tmp_path: Path) -> None:
    """The embedded model server finds a base path again, whichever characters are in it."""
    folder = tmp_path / 'Füchse 🦊 "grau" \\ braun'
    path = tmp_path / "models.config"
    path.write_text(model_config_list([entry("m", str(folder))]), encoding="utf-8")
    (served,) = served_models(parse_flags([f"--model_config_file={path}"]))
    assert served.base_path == folder


def test_tables_of_one_servable_get_one_entry(tmp_path: Path) -> None:
    """Two tables that share a servable are one entry, since TensorFlow Serving refuses two."""
    model = model_with(tmp_path / "m", 1)
    config = ServerConfig(tmp_path / "c", NOWHERE, print)
    config.serve([model, model])
    assert config.path.read_text().count("config {") == 1


def test_without_labels_the_default_policy_stays(tmp_path: Path) -> None:
    """A model to which nobody gave a label is served in its newest version, by TensorFlow Serving's default."""
    config = ServerConfig(tmp_path / "c", NOWHERE, print)
    config.serve([model_with(tmp_path / "m", 1, 2)])
    assert "model_version_policy" not in config.path.read_text()


def test_labelled_and_newest_versions_are_loaded(tmp_path: Path) -> None:
    """With labels, exactly the labelled versions, those before them and the newest are asked for."""
    model = model_with(tmp_path / "m", 1, 2, 3, 4, 5)
    label(model, "stable", 1)
    label(model, "stable", 3)
    config = ServerConfig(tmp_path / "c", NOWHERE, print)
    config.serve([model])
    text = config.path.read_text()
    assert "specific { versions: 1 versions: 3 versions: 5 }" in text
    assert 'version_labels { key: "stable" value: 3 }' in text


def test_a_label_moves_when_its_version_is_loaded(tmp_path: Path, status_url: str) -> None:
    """A label that moves has its new version loaded first, and follows when the server says that it is available."""
    model = model_with(tmp_path / "m", 1, 2)
    label(model, "stable", 1)
    config = ServerConfig(tmp_path / "c", status_url, print)
    config.serve([model])
    _Status.available = (1,)
    label(model, "stable", 2)
    config.follow()
    assert "versions: 1 versions: 2" in config.path.read_text()
    assert 'key: "stable" value: 1' in config.path.read_text()
    _Status.available = (1, 2)
    config.follow()
    assert 'key: "stable" value: 2' in config.path.read_text()


def test_a_new_label_need_not_wait() -> None:
    """A label that nobody bore yet, and one whose version is loaded, move at once; others stay."""
    wanted = {"new": 3, "moved": 2, "waiting": 3}
    assert settled(wanted, {"moved": 1, "waiting": 1}, {1, 2}) == {
        "new": 3,
        "moved": 2,
        "waiting": 1,
    }


def test_a_new_version_is_asked_for(tmp_path: Path) -> None:
    """A version dropped into the base path of a labelled model is loaded as well."""
    model = model_with(tmp_path / "m", 1)
    label(model, "stable", 1)
    config = ServerConfig(tmp_path / "c", NOWHERE, print)
    config.serve([model])
    model_with(tmp_path / "m", 2)
    config.follow()
    assert "versions: 1 versions: 2" in config.path.read_text()


def test_damage_changes_nothing(tmp_path: Path) -> None:
    """A labels file that is not JSON, or a base path that is gone, leaves the configuration and is said once."""
    model = model_with(tmp_path / "m", 1)
    label(model, "stable", 1)
    said: list[str] = []
    config = ServerConfig(tmp_path / "c", NOWHERE, said.append)
    config.serve([model])
    before = config.path.read_text()
    (model.base_path / "version_labels.json").write_text("{")
    config.follow()
    config.follow()
    assert len(said) == 1
    assert "version_labels.json" in said[0]
    model.base_path.rename(tmp_path / "away")
    config.follow()
    assert config.path.read_text() == before


def test_the_file_is_left_alone_when_nothing_changes(tmp_path: Path) -> None:
    """Following without a change does not touch the file."""
    config = ServerConfig(tmp_path / "c", NOWHERE, print)
    config.serve([model_with(tmp_path / "m", 1)])
    before = config.path.stat()
    config.follow()
    assert config.path.stat().st_ino == before.st_ino


def versions_in(config: ServerConfig) -> list[str]:
    """The versions that the file names; none where it leaves them to the model server."""
    return re.findall(r"versions: (\d+)", config.path.read_text())


class Clock:
    """Time as a test lets it pass."""

    def __init__(self) -> None:
        self.now = 1000.0

    def __call__(self) -> float:
        """What `time.monotonic` tells."""
        return self.now


def test_a_version_that_does_not_load_is_left_out_until_it_changes(
    tmp_path: Path, status_url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It is tried once more, since it may have become whole meanwhile; then whenever it has changed and changes no more."""
    said: list[str] = []
    clock = Clock()
    monkeypatch.setattr(time, "monotonic", clock)
    model = model_with(tmp_path / "m", 1, 2)
    config = ServerConfig(tmp_path / "c", status_url, said.append)

    def versions_after_a_look() -> list[str]:
        config.follow()
        return versions_in(config)

    config.serve([model])
    assert versions_in(config) == []
    _Status.available, _Status.failed = (1,), {2: "half of it"}
    for _ in range(2):
        with (model.base_path / "2" / "saved_model.pb").open("a") as file:
            file.write("more")
        assert versions_after_a_look() == ["1"]
    assert versions_after_a_look() == []
    clock.now += RETRY_SECONDS - 1
    assert versions_after_a_look() == []  # what the server says is what it said before
    clock.now += 1
    assert [versions_after_a_look() for _ in range(3)] == [["1"]] * 3
    (model.base_path / "2" / "saved_model.pb").write_text("whole")
    assert versions_after_a_look() == ["1"]
    assert versions_after_a_look() == []
    _Status.available, _Status.failed = (1, 2), {}
    clock.now += RETRY_SECONDS
    assert [versions_after_a_look() for _ in range(3)] == [[]] * 3
    assert said == ["version 2 of m cannot be loaded, and is left out until it changes: half of it"]


def test_a_version_that_keeps_a_server_from_starting_is_left_out(tmp_path: Path) -> None:
    """It starts with the one before, or without the model."""
    model = model_with(tmp_path / "m", 1, 2)
    alone = replace(model_with(tmp_path / "n", 3), name="n", servable="n")
    config = ServerConfig(tmp_path / "c", NOWHERE, print)
    config.serve([model, alone])
    config.heed(last_lines(("n", 3), ("m", 2)))
    assert versions_in(config) == ["1"]
    assert '"n"' not in config.path.read_text()
    assert config.unloadable == {"n": "Not found: nothing in n"}
    config.serve([alone])
    assert config.unloadable == {}  # who asks for it anew has it tried
    assert '"n"' in config.path.read_text()
    config.heed(last_lines(("n", 3)))
    assert '"n"' not in config.path.read_text()


def test_a_version_that_was_loaded_once_is_watched_again_after_it_was_damaged(
    tmp_path: Path, status_url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It was available, then kept a restart from succeeding, and was mended in two steps."""
    clock = Clock()
    monkeypatch.setattr(time, "monotonic", clock)
    model = model_with(tmp_path / "m", 1, 2)
    config = ServerConfig(tmp_path / "c", status_url, print)
    _Status.available = (2,)
    config.serve([model])
    _Status.available, _Status.failed = (), {}
    config.heed(last_lines(("m", 2)))
    _Status.available, _Status.failed = (1,), {2: "half of it"}
    for text in ("half", "whole"):
        (model.base_path / "2" / "saved_model.pb").write_text(text)
        config.follow()
        config.follow()
        assert versions_in(config) == []
        clock.now += RETRY_SECONDS
        config.follow()
        assert versions_in(config) == ["1"]


def test_a_version_that_is_loaded_is_not_asked_about(tmp_path: Path, status_url: str) -> None:
    """Each look costs no request then."""
    model = model_with(tmp_path / "m", 1)
    config = ServerConfig(tmp_path / "c", status_url, print)
    _Status.available = (1,)
    config.serve([model])
    for _ in range(5):
        config.follow()
    assert len(_Status.asked) == 1


def test_a_server_that_does_not_answer_is_asked_once_a_look(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """However many models it has, known ones between those that are waited for: each question may take seconds."""
    names = ("a", "known", "b", "c")
    models = [replace(model_with(tmp_path / name, 1), name=name, servable=name) for name in names]
    asked: list[str] = []

    def states(_url: str, servable: str) -> dict[int, VersionState]:
        asked.append(servable)
        return {1: VersionState(True, "")} if servable == "known" else {}

    monkeypatch.setattr(readiness, "version_states", states)
    config = ServerConfig(tmp_path / "c", NOWHERE, print)
    config.serve(models[1:2])
    config.serve(models)
    assert asked == ["known", "a"]


def test_a_folder_without_a_saved_model_is_left_out(tmp_path: Path) -> None:
    """A model server would take its number for the newest version, and not start."""
    model = model_with(tmp_path / "m", 1)
    (model.base_path / "2" / "variables").mkdir(parents=True)
    config = ServerConfig(tmp_path / "c", NOWHERE, print)
    config.serve([model])
    assert versions_in(config) == ["1"]
    (model.base_path / "2" / "saved_model.pb").touch()
    config.follow()
    assert versions_in(config) == []


def test_labels_that_cannot_be_read_do_not_bring_a_damaged_version_back(tmp_path: Path) -> None:
    """What has been known of labels counts on."""
    model = model_with(tmp_path / "m", 1, 2)
    config = ServerConfig(tmp_path / "c", NOWHERE, print)
    config.serve([model])
    (model.base_path / "version_labels.json").write_text("{")
    config.heed(last_lines(("m", 2)))
    assert versions_in(config) == ["1"]


def test_a_version_that_became_whole_as_the_server_ended_is_tried_again(tmp_path: Path) -> None:
    """What the server has read is what was there at a look before, not after."""
    model = model_with(tmp_path / "m", 1, 2)
    config = ServerConfig(tmp_path / "c", NOWHERE, print)
    config.serve([model])
    config.follow()
    (model.base_path / "2" / "saved_model.pb").write_text("whole")
    config.heed(last_lines(("m", 2)))
    config.follow()
    assert versions_in(config) == []


def test_a_failed_retry_is_told(tmp_path: Path) -> None:
    """Whoever has mended a version and asks for it anew hears that it still cannot be loaded."""
    said: list[str] = []
    model = model_with(tmp_path / "m", 1, 2)
    config = ServerConfig(tmp_path / "c", NOWHERE, said.append)
    for _ in range(2):
        config.serve([model])
        config.heed(last_lines(("m", 2)))
    assert len(said) == 2


def test_a_folder_that_goes_while_it_is_looked_at_stops_nothing(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Deleting a damaged version is what people do."""
    model = model_with(tmp_path / "m", 1, 2)
    (model.base_path / "2" / "variables").mkdir()
    config = ServerConfig(tmp_path / "c", NOWHERE, print)
    config.serve([model])
    config.heed(last_lines(("m", 2)))
    scandir = os.scandir

    def gone(path: str) -> object:
        if str(path).endswith("variables"):
            raise FileNotFoundError(path)
        return scandir(path)

    monkeypatch.setattr(os, "scandir", gone)
    config.follow()
    assert versions_in(config) == ["1"]


def test_a_label_goes_back_as_far_as_it_has_to(tmp_path: Path, status_url: str) -> None:
    """Also beyond the versions that are kept loaded for a rollback."""
    model = model_with(tmp_path / "m", 1, 2, 3, 4)
    config = ServerConfig(tmp_path / "c", status_url, print)
    _Status.available = (1, 2, 3, 4)
    for version in (1, 2, 3):
        label(model, "stable", version)
    config.serve([model])
    config.heed(last_lines(("m", 2), ("m", 3)))
    config.follow()
    assert versions_in(config) == ["1", "4"]
    assert 'key: "stable" value: 1' in config.path.read_text()


def test_a_label_goes_back_while_its_version_is_damaged(tmp_path: Path, status_url: str) -> None:
    """It is borne by the version that bore it before, and watched, though another one is the newest."""
    model = model_with(tmp_path / "m", 1, 2, 3)
    config = ServerConfig(tmp_path / "c", status_url, print)
    _Status.available = (1, 2, 3)
    for version in (1, 2):
        label(model, "stable", version)
    config.serve([model])
    assert 'key: "stable" value: 2' in config.path.read_text()
    config.heed(last_lines(("m", 2)))
    assert 'key: "stable" value: 1' in config.path.read_text()
    assert versions_in(config) == ["1", "3"]
    (model.base_path / "2" / "saved_model.pb").write_text("mended")
    for _ in range(3):
        config.follow()
    assert 'key: "stable" value: 2' in config.path.read_text()


def last_lines(*failed: tuple[str, int]) -> str:
    """What a model server says that does not start."""
    causes = [
        f"{{{{name: {name} version: {number}}} due to error: Not found: nothing in {name}}}, "
        for name, number in failed
    ]
    return (
        f"Failed to start server. Error: Unknown: {len(failed)} servable(s) did not become available: "
        f"{{{''.join(causes)}}}"
    )


def test_who_moves_a_label_has_a_version_tried_again(tmp_path: Path, status_url: str) -> None:
    """What has made it fail may be no fault of its own."""
    model = model_with(tmp_path / "m", 1, 2)
    config = ServerConfig(tmp_path / "c", status_url, print)
    _Status.available, _Status.failed = (1,), {2: "no memory"}
    config.serve([model])
    assert versions_in(config) == ["1"]
    label(model, "canary", 2)
    config.follow()
    assert versions_in(config) == ["2"]
