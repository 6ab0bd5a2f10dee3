"""Versions and version labels under a base path, and the keys that share out traffic between labels."""

from __future__ import annotations

import json
import threading
from typing import TYPE_CHECKING

import pytest

from model_config import (
    ConfigError,
    changed_version_labels,
    load_deployment,
    read_version_labels,
    version_folders,
)

if TYPE_CHECKING:
    from pathlib import Path

    from model_config import ModelConfig

TABLE = "[m]\ninput_size = [8, 8]\n"


def test_versions_are_numbered_folders_with_a_saved_model(tmp_path: Path) -> None:
    """Only folders named by digits that hold a SavedModel count, in the order of their numbers."""
    for name in ("10", "00000009", "2", ".export-1", "x", "²", "٣"):
        (tmp_path / name).mkdir()
        (tmp_path / name / "saved_model.pb").touch()
    (tmp_path / "11").mkdir()
    assert list(version_folders(tmp_path)) == [2, 9, 10]
    assert version_folders(tmp_path)[9].name == "00000009"


def test_a_version_that_cannot_be_looked_at_hides_no_other(tmp_path: Path) -> None:
    """A folder into which the system lets nobody look is no version; those beside it are."""
    (tmp_path / "1").mkdir()
    (tmp_path / "1" / "saved_model.pb").touch()
    (tmp_path / "2").symlink_to("name too long" * 100)
    assert list(version_folders(tmp_path)) == [1]


def test_labels_are_remembered_in_order(tmp_path: Path) -> None:
    """What was written is read again; at most ten versions of a label are kept."""
    for version in range(1, 13):
        with changed_version_labels(tmp_path) as labels:
            labels.setdefault("stable", []).append(version)
    assert read_version_labels(tmp_path) == {"stable": list(range(3, 13))}


def test_concurrent_changes_all_count(tmp_path: Path) -> None:
    """Twenty programs that change labels at once lose none of their changes."""

    def change(number: int) -> None:
        with changed_version_labels(tmp_path) as labels:
            labels[f"label{number}"] = [number]

    threads = [threading.Thread(target=change, args=(number,)) for number in range(20)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(read_version_labels(tmp_path)) == 20


def test_a_failed_change_changes_nothing(tmp_path: Path) -> None:
    """An exception within the block leaves the file as it was."""

    def fail() -> None:
        with changed_version_labels(tmp_path) as labels:
            labels["stable"] = [1]
            raise RuntimeError

    with pytest.raises(RuntimeError):
        fail()
    assert read_version_labels(tmp_path) == {}


@pytest.mark.parametrize(
    "content", ["{", "[]", '{"stable": 1}', '{"stable": []}', '{"a/b": [1]}', '{"s": ["1"]}']
)
def test_a_damaged_labels_file_is_named(tmp_path: Path, content: str) -> None:
    """Whatever else stands in the file is refused with a sentence that names it."""
    (tmp_path / "version_labels.json").write_text(content)
    with pytest.raises(ConfigError, match=r"version_labels\.json"):
        read_version_labels(tmp_path)


def load(tmp_path: Path, line: str) -> ModelConfig:
    """The model of a table with one more line."""
    path = tmp_path / "models.toml"
    path.write_text(TABLE + line)
    return load_deployment(path, env={}).models["m"]


def test_traffic_keys_are_read(tmp_path: Path) -> None:
    """Shares, sticky header, shadow and support_set arrive as written."""
    model = load(
        tmp_path,
        'traffic = { stable = 90, canary = 10.5 }\nsticky_header = "X-User"\nshadow = "next"\n'
        "support_set = true\n",
    )
    assert model.traffic == {"stable": 90, "canary": 10.5}
    assert (model.sticky_header, model.shadow, model.support_set) == ("X-User", "next", True)


@pytest.mark.parametrize(
    "line",
    [
        "traffic = 1",
        "traffic = { stable = 0 }",
        "traffic = { stable = -1, canary = 2 }",
        "traffic = { stable = inf }",
        "traffic = { stable = true }",
        'traffic = { "a/b" = 1 }',
        'shadow = "a:b"',
        "sticky_header = 1",
        'support_set = "yes"',
    ],
)
def test_wrong_traffic_keys_are_named(tmp_path: Path, line: str) -> None:
    """A value that is not allowed is refused with the key's name."""
    with pytest.raises(ConfigError, match=line.partition(" ")[0]):
        load(tmp_path, line)


def test_the_labels_file_is_for_people_too(tmp_path: Path) -> None:
    """The file is plain JSON: label -> versions, the present one last."""
    with changed_version_labels(tmp_path) as labels:
        labels["stable"] = [1, 2]
    assert json.loads((tmp_path / "version_labels.json").read_text()) == {"stable": [1, 2]}
