"""What scripts/versions.py does to labels and folders, and what it says, without and with a model server."""

from __future__ import annotations

import json
import math
import os
import subprocess
import sys
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import pytest

from model_config import read_version_labels
from scripts.version_comparison import Answer, Pair
from tests.flask_server.conftest import encoded
from tests.flask_server.toy_model_server import ToyModelServer
from tests.processes import ROOT, wait_until

if TYPE_CHECKING:
    from collections.abc import Iterator

pytestmark = pytest.mark.slow


class Versions:
    """scripts/versions.py over a models file with one model, `colours`."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.base_path = folder / "saved_models" / "colours"
        self.write_models("")
        for version in (1, 2, 3):
            self.add(version)

    def write_models(self, more: str) -> None:
        """Write the models file."""
        text = f"[colours]\ninput_size = [4, 6]\nlabels = ['red', 'green', 'blue']\n{more}\n"
        (self.folder / "models.toml").write_text(text)

    def add(self, version: int) -> None:
        """Add a version."""
        (self.base_path / str(version)).mkdir(parents=True)
        (self.base_path / str(version) / "saved_model.pb").write_bytes(b"x" * 150_000)

    def __call__(self, *arguments: str) -> tuple[int, str]:
        """Run it; its exit status and everything it printed."""
        run = subprocess.run(
            [sys.executable, str(ROOT / "scripts" / "versions.py"), *arguments],
            env={
                **os.environ,
                "MODELS_FILE": str(self.folder / "models.toml"),
                "SAVED_MODELS_DIR": str(self.base_path.parent),
                "STATE_DIR": str(self.folder / "state"),
            },
            capture_output=True,
            text=True,
            timeout=60,
            check=False,
        )
        return run.returncode, run.stdout + run.stderr

    def folders(self) -> list[str]:
        """The folders under the base path."""
        return sorted(entry.name for entry in self.base_path.iterdir() if entry.is_dir())


@pytest.fixture
def versions(tmp_path: Path) -> Versions:
    """Three versions, no labels, no server."""
    return Versions(tmp_path)


@pytest.fixture
def toy(versions: Versions) -> Iterator[ToyModelServer]:
    """A model server that serves them."""
    with ToyModelServer() as server:
        server.model.versions = [1, 2, 3]
        versions.write_models(f'upstream = "{server.url}"')
        yield server


def test_labels_move_and_go_back(versions: Versions) -> None:
    """Without a server, labels are written down for the next start; going back follows their history."""
    assert "no model server runs" in versions("promote", "colours", "1", "stable")[1]
    versions("promote", "colours", "2", "stable")
    versions("promote", "colours", "3", "canary")
    assert read_version_labels(versions.base_path) == {"stable": [1, 2], "canary": [3]}
    assert versions("rollback", "colours", "stable")[0] == 0
    assert versions("unlabel", "colours", "canary")[0] == 0
    assert read_version_labels(versions.base_path) == {"stable": [1]}


def test_a_version_that_was_mended_can_be_promoted(versions: Versions, toy: ToyModelServer) -> None:
    """An error from before the label asked for it is an old one: the server tries again."""
    toy.model.versions, toy.model.errors = [1, 3], {2: "half of it was copied"}

    def load_when_asked() -> None:
        wait_until(lambda: read_version_labels(versions.base_path), seconds=20, what="a label")
        time.sleep(1)
        toy.model.errors.clear()
        toy.model.versions, toy.model.labels = [1, 2, 3], {"stable": 2}

    with ThreadPoolExecutor() as pool:
        pool.submit(load_when_asked)
        assert versions("promote", "colours", "2", "stable") == (
            0,
            "colours: 'stable' is version 2\n",
        )


@pytest.mark.parametrize(
    "command", [("promote", "colours", "2", "stable"), ("rollback", "colours", "stable")]
)
def test_a_label_stays_where_it_was_if_a_version_cannot_be_loaded(
    versions: Versions, toy: ToyModelServer, command: tuple[str, ...]
) -> None:
    """Of promote and of rollback that is true in the file, too; the error may be as old as the label, or older."""
    labels = '{"stable": [2, 1]}'
    (versions.base_path / "version_labels.json").write_text(labels)
    toy.model.versions, toy.model.errors = [1, 3], {2: "half of it was copied"}
    toy.model.labels = {"stable": 1}
    status, told = versions(*command)
    assert (status, "stays where it was: half of it was copied" in told) == (1, True)
    assert read_version_labels(versions.base_path) == {"stable": [2, 1]}


def test_the_shares_that_are_proposed_name_every_label(
    versions: Versions, toy: ToyModelServer
) -> None:
    """With one label there is nothing to share out; with two, both have a share."""
    toy.model.labels = {"stable": 1, "canary": 2}
    assert "traffic" not in versions("promote", "colours", "1", "stable")[1]
    told = versions("promote", "colours", "2", "canary")[1]
    assert "traffic = { stable = 90, canary = 10 }" in told


def test_listing(versions: Versions) -> None:
    """Newest first: number, state, labels, size, age."""
    versions("promote", "colours", "2", "stable")
    _, told = versions("list", "colours")
    rows = [line.split() for line in told.splitlines() if line]
    assert rows[1] == ["VERSION", "STATE", "LABELS", "SIZE", "AGE"]
    assert [row[0] for row in rows[2:]] == ["3", "2", "1"]
    assert rows[3] == ["2", "not", "served", "stable", "0.1", "MB", "now"]


def test_listing_asks_the_server(versions: Versions, toy: ToyModelServer) -> None:
    """A version that the server has not loaded is told from one that is AVAILABLE."""
    toy.model.versions = [3]
    told = versions("list")[1]
    assert "3        AVAILABLE" in told
    assert "2        not loaded" in told


def test_pruning_spares_what_is_needed(versions: Versions) -> None:
    """The newest, the labelled and those a rollback returns to stay; the rest goes, or would with --dry-run."""
    for version in (4, 5, 6):
        versions.add(version)
    for version in ("1", "2", "4"):
        versions("promote", "colours", version, "stable")
    assert "would delete 1, 3, 5" in versions("prune", "colours", "--keep", "1", "--dry-run")[1]
    assert len(versions.folders()) == 6
    assert "deleted 1, 3, 5" in versions("prune", "colours", "--keep", "1")[1]
    assert versions.folders() == ["2", "4", "6"]


def test_what_a_killed_prune_has_left_goes_with_the_next_one(versions: Versions) -> None:
    """Half a version that was being deleted is deleted, even if there is nothing else to delete."""
    (versions.base_path / ".pruned-3").mkdir()
    (versions.base_path / ".pruned-3" / "half").touch()
    assert versions("prune", "colours", "--keep", "3") == (0, "colours: deleted nothing\n")
    assert versions.folders() == ["1", "2", "3"]


@pytest.mark.parametrize(
    ("arguments", "sentence"),
    [
        (("promote", "colours", "9", "stable"), "no version 9"),
        (("promote", "colours", "1", "a/b"), "no label"),
        (("promote", "colour", "1", "stable"), "did you mean 'colours'"),
        (("rollback", "colours", "stable"), "had the label 'stable' before"),
        (("unlabel", "colours", "stable"), "no label 'stable'"),
        (
            ("compare", "colours", "1", "2", "nowhere"),
            "'colours' is not served now; start it with `make run`.",
        ),
    ],
)
def test_mistakes_are_sentences(
    versions: Versions, arguments: tuple[str, ...], sentence: str
) -> None:
    """A mistake is one sentence and exit status 1, and changes nothing."""
    status, told = versions(*arguments)
    assert status == 1
    assert sentence in told
    assert "Traceback" not in told
    assert read_version_labels(versions.base_path) == {}


@pytest.mark.parametrize(
    "arguments",
    [
        ("prune", "colours", "--keep", "0"),
        ("promote", "colours", "1", "stable", "--wait", "nan"),
        ("compare", "colours", "1", "2", ".", "--least-agreement", "nan"),
        ("compare", "colours", "1", "2", ".", "--least-agreement", "95"),
    ],
)
def test_odd_numbers_are_refused(versions: Versions, arguments: tuple[str, ...]) -> None:
    """What is no count, no time or no share is named before anything is done: no comparison passes by it."""
    status, told = versions(*arguments)
    assert status == 2
    assert f"'{arguments[-1]}' is not a" in told


def test_a_server_that_does_not_follow(versions: Versions, toy: ToyModelServer) -> None:
    """If the model servers do not move the label in time, it stays where it was, and the command fails."""
    toy.model.labels = {"stable": 1}
    assert versions("promote", "colours", "1", "stable")[0] == 0
    status, told = versions("promote", "colours", "2", "stable", "--wait", "1")
    assert (status, "within 1 s" in told) == (1, True)
    assert read_version_labels(versions.base_path) == {"stable": [1]}


@pytest.mark.parametrize("scores", [["red"], [0.1, "red"], [], [[0.1], [0.9]], 7])
def test_comparing_what_gives_no_scores(
    versions: Versions, toy: ToyModelServer, tmp_path: Path, scores: object
) -> None:
    """An answer that is not one number a class ends with a sentence that quotes it."""
    toy.model.answer = (200, json.dumps({"predictions": [scores]}).encode())
    (tmp_path / "a.png").write_bytes(encoded((250, 10, 10)))
    status, told = versions("compare", "colours", "1", "2", str(tmp_path))
    assert (status, "answered no scores: " in told, "Traceback" in told) == (1, True, False)


def test_versions_of_different_classes_differ_infinitely() -> None:
    """A version that knows another class can be compared all the same."""
    before, after = np.array([0.9, 0.1]), np.array([0.1, 0.1, 0.8])
    pair = Pair(Path("a.png"), Answer(before, 1.0), Answer(after, 1.0))
    assert (pair.agree, pair.shift) == (False, math.inf)


def test_comparing(versions: Versions, toy: ToyModelServer, tmp_path: Path) -> None:
    """Agreement, shifts and times over a folder; a damaged image is left out; too little agreement fails."""
    toy.model.labels = {"stable": 1}
    (tmp_path / "images" / "below").mkdir(parents=True)
    (tmp_path / "images" / "a.png").write_bytes(encoded((250, 10, 10)))
    (tmp_path / "images" / "below" / "b.jpg").write_bytes(encoded((10, 250, 10), "JPEG"))
    (tmp_path / "images" / "c.ppm").write_bytes(encoded((10, 10, 250), "PPM"))
    (tmp_path / "images" / "damaged.gif").write_text("no image")
    (tmp_path / "images" / "notes.txt").write_text("no image")
    compare = ("compare", "colours", "stable", "2", str(tmp_path / "images"))
    status, told = versions(*compare, "--least-agreement", "1")
    assert status == 0
    assert "3 images, 100.0% with the same best label" in told
    assert "damaged.gif is left out" in told
    assert "notes.txt" not in told
    toy.model.reversed_version = 2
    status, told = versions(*compare, "--least-agreement", "0.9")
    assert (status, "a.png: red 0.980 -> blue 0.980" in told) == (1, True)
